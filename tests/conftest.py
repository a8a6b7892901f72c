"""What holds for all tests."""

import signal

from pipeline.quiet import set_environment

set_environment()  # before anything imports TensorFlow, as the command does


def pytest_configure() -> None:
    """Lets Ctrl-C interrupt: a job in the background, such as CI, and all it starts inherit that SIGINT is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
