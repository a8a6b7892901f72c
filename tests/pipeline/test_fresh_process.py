import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.fresh_process import call
from preprocessing.errors import DataError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def without_tensorflow(monkeypatch, tmp_path):
    """Children find a TensorFlow that takes no time to load."""
    (tmp_path / "tensorflow.py").write_text(
        "class config:\n    list_physical_devices = staticmethod(lambda: [])\nclass errors:\n    OpError = ()\n"
    )
    (tmp_path / "work.py").write_text(
        "import logging, os, pathlib, sys, time\n"
        "from preprocessing.errors import DataError\n"
        "class Odd(Exception):\n    def __init__(self, a, b): super().__init__(f'{a} {b}')\n"
        "def process(): return os.getpid()\n"
        "def tell():\n    logging.getLogger('heliograph.work').info('progress')\n    logging.warning('chatter')\n"
        "def fail(text): raise DataError(text)\n"
        "def odd(): raise Odd(1, lambda: 2)\n"
        "def end(code): os._exit(code)\n"
        "def write(path):\n"
        "    while True:\n        pathlib.Path(path).write_text(str(time.time()))\n        time.sleep(0.01)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "work", raising=False)


def test_it_returns_or_raises_what_the_function_does():
    assert call("work", "process") not in (os.getpid(), call("work", "process"))
    with pytest.raises(DataError, match=r"^no such file$"):
        call("work", "fail", "no such file")
    with pytest.raises(RuntimeError, match=r"^Odd: 1 <function"):
        call("work", "odd")
    with pytest.raises(RuntimeError, match="end: its process ended with exit code 3"):
        call("work", "end", 3)


def test_its_log_is_ours_alone(capfd):
    call("work", "tell")
    assert capfd.readouterr().err == "progress\n"


def test_it_ends_with_its_parent(tmp_path):
    beat = tmp_path / "beat"
    call_it = f"call('work', 'write', {str(beat)!r})"
    code = f"from pipeline.fresh_process import call\nif __name__ == '__main__':\n    {call_it}\n"
    (tmp_path / "parent.py").write_text(code)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")])
    limit = time.monotonic() + 60
    while not beat.exists():
        assert parent.poll() is None and time.monotonic() < limit
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    time.sleep(1)
    last = beat.read_text()
    time.sleep(0.3)
    assert beat.read_text() == last
