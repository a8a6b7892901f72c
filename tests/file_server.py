"""A local HTTP server, for what would be downloaded."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Serves `pages` and lists what was asked for; pages in `cut` end early."""

    def __init__(self, pages: dict[str, bytes], cut: dict[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages = pages
        self.cut = cut
        self.asked: list[str] = []

    def url(self, page: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{page}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.pages.get(self.path)
        if content is None:
            self.send_error(404, "Not Found")
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: self.server.cut.get(self.path)])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(pages: dict[str, bytes], cut: dict[str, int] | None = None) -> Iterator[FileServer]:
    """Serve `pages` (path to content); of those in `cut` only so many bytes, though all are announced."""
    server = FileServer(pages, cut or {})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
