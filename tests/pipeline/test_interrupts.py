import os
import signal
import threading
import time

import pytest

from pipeline.interrupts import interruptible


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)  # the handler runs before this ends


def as_beam_does():
    try:
        ctrl_c()
    except KeyboardInterrupt:
        raise RuntimeError("KeyboardInterrupt [while running 'Read']") from None


def swallowed():
    try:
        ctrl_c()
    except KeyboardInterrupt:
        return


@pytest.mark.parametrize("block", [ctrl_c, as_beam_does, swallowed])
def test_an_interrupt_is_an_interrupt(block):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible():
        block()
    assert signal.getsignal(signal.SIGINT) is before


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="broken"), interruptible():
        raise RuntimeError("broken")


def test_outside_the_main_thread_nothing_is_touched():
    seen = []

    def work():
        with interruptible():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
