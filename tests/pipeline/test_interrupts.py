import os
import signal
import threading
import time

import pytest

from pipeline.interrupts import deferred, interruptible


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


@pytest.mark.parametrize("context", [interruptible, lambda: deferred(pytest.fail)])
def test_outside_the_main_thread_nothing_is_touched(context):
    seen = []

    def work():
        with context():
            seen.append(handlers())

    before = handlers()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def send(number):
    os.kill(os.getpid(), number)
    for _ in range(1000):
        pass  # the handler runs before this ends


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_interrupts(first, second):
    before, told = handlers(), []
    reached = False
    with pytest.raises(KeyboardInterrupt), deferred(lambda: told.append("soon")) as noted:
        assert not noted.came and told == []
        send(first)
        assert noted.came and told == ["soon"]
        reached = True
        send(second)
        pytest.fail("not interrupted")
    assert reached and told == ["soon"] and handlers() == before


def test_a_noted_signal_ends_nothing_by_itself():
    before = handlers()
    with deferred(lambda: None) as noted:
        send(signal.SIGTERM)
    assert noted.came and handlers() == before
    with deferred(pytest.fail) as another:
        assert handlers()[0] is not before[0]
    assert not another.came


def test_handlers_come_back_after_an_error():
    before = handlers()
    with pytest.raises(RuntimeError, match="broken"), deferred(pytest.fail):
        raise RuntimeError("broken")
    assert handlers() == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred(pytest.fail) as noted:
            send(signal.SIGINT)
            assert not noted.came
        assert handlers()[0] is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_is_deferred_says_where_it_goes_on():
    with pytest.raises(KeyboardInterrupt, match=r"^saved$"), interruptible():
        with deferred(lambda: None) as noted:
            send(signal.SIGINT)
        if noted.came:
            raise KeyboardInterrupt("saved")
