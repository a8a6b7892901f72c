"""The client against the stand-in, and against servers that misbehave."""

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from serving.client import Client, ClientOptions, EndpointError
from serving.push import push
from tests.serving.server.conftest import options_for, running, upper_version  # noqa: F401

TEXTS = ["a long text of some words", "", "x", "Schön 😀", "b"] * 5


@pytest.fixture(scope="module")
def addresses(request, tmp_path_factory):
    base = tmp_path_factory.mktemp("client") / "upper"
    push(request.getfixturevalue("upper_version"), base, keep=1)
    with running(options_for(base)) as endpoint:
        rest = str(endpoint.http.base_url).rstrip("/")
        yield f"{rest}/v1/models/upper", f"grpc://{endpoint.address}/upper"


@pytest.mark.parametrize("kind", [0, 1], ids=["rest", "grpc"])
def test_texts_come_back_in_order(addresses, kind):
    with Client(addresses[kind], ClientOptions(batch_size=4)) as client:
        assert client.translate(TEXTS) == [text.encode().upper().decode() for text in TEXTS]
        assert client.translate([]) == []


@pytest.mark.parametrize("kind", [0, 1], ids=["rest", "grpc"])
def test_refusals_say_who_and_why(addresses, kind):
    address = addresses[kind].replace("upper", "absent")
    with Client(address) as client, pytest.raises(EndpointError, match=r"absent: .*Servable not found for request"):
        client.translate(["x"])


class Moody(BaseHTTPRequestHandler):
    """Answers with what is next in `moods`: a status, and a body, in pieces with pauses between them."""

    moods: ClassVar[list] = []
    pause = 0.05

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = self.moods.pop(0)
        pieces = body if isinstance(body, list) else [body]
        self.send_response(status)
        self.send_header("Content-Length", str(sum(map(len, pieces))))
        self.end_headers()
        try:
            for number, piece in enumerate(pieces):
                time.sleep(self.pause if number else 0.0)
                self.wfile.write(piece)
        except OSError:
            pass  # the client has had enough

    def log_message(self, *_):
        pass


@pytest.fixture
def moody():
    server = HTTPServer(("127.0.0.1", 0), Moody)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/models/demo"
    server.shutdown()
    thread.join()
    server.server_close()


BUSY, GOOD = (503, b'{"error": "full"}'), (200, b'{"predictions": ["X"]}')


def test_a_busy_server_is_asked_again(moody):
    Moody.moods = [BUSY, (429, b""), GOOD]
    with Client(moody, ClientOptions(pause=0.01)) as client:
        assert client.translate(["x"]) == ["X"] and Moody.moods == []


@pytest.mark.parametrize(
    ("moods", "message"),
    [
        ([BUSY, BUSY], "503: full, after 2 attempts"),
        ([(400, b'{"error": "bad"}')], "400: bad"),
        ([(500, b"<html>")], "500: "),
        ([(200, b"<html>")], "expected 1 translation, got something else"),
        ([(200, b'{"predictions": ["X", "Y"]}')], "expected 1 translation, got something else"),
        ([(200, b"[]")], "expected 1 translation, got something else"),
    ],
)
def test_what_cannot_be_mended_is_said(moody, moods, message):
    Moody.moods = list(moods)
    with Client(moody, ClientOptions(pause=0.01, attempts=2)) as client, pytest.raises(EndpointError) as caught:
        client.translate(["x"])
    assert message in str(caught.value) and moody in str(caught.value)


def test_the_deadline_is_of_the_whole_answer(moody):
    """Each piece comes in time, but all of them do not."""
    Moody.moods = [(200, [b" "] * 200)]
    start = time.monotonic()
    with (
        Client(moody, ClientOptions(deadline=0.5)) as client,
        pytest.raises(EndpointError, match=r"no answer in 0\.5 s"),
    ):
        client.translate(["x"])
    assert time.monotonic() - start < 3.0
    Moody.moods = [(200, [b'{"predictions":', b' ["X"]}'])]
    with Client(moody) as client:
        assert client.translate(["x"]) == ["X"]


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9/v1/models/demo", "grpc://127.0.0.1:9/demo"])
def test_nobody_there(endpoint):
    options = ClientOptions(pause=0.01, attempts=2)
    with Client(endpoint, options) as client, pytest.raises(EndpointError, match="after 2 attempts"):
        client.translate(["x"])


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:8501", "http://127.0.0.1:8501", "grpc://127.0.0.1:8500", "ftp://x/v1/models/y"]
)
def test_what_is_no_endpoint(endpoint):
    with pytest.raises(ValueError, match="endpoint must be http://HOST:PORT/v1/models/NAME or grpc://HOST:PORT/NAME"):
        Client(endpoint)


def test_options_out_of_range():
    with pytest.raises(ValueError, match="attempts must be at least 1, got 0"):
        ClientOptions(attempts=0)
