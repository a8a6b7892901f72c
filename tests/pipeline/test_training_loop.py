"""The loop: what is done when, and that a training that stops anywhere goes on as if it had not."""

import copy
import dataclasses
import itertools
import math
import os
import signal
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.checkpoints import TrainingState
from pipeline.training_loop import Plan, best_figures, fit
from preprocessing.errors import DataError


class CrashError(Exception):
    """What a process does not survive."""


class Work:
    """A model of one number, which follows from all updates in their order; `disk` is what outlives a crash.

    Args:
        figures: validation figure of each epoch, repeated for more.
        before: called with each call's name and its arguments, before anything is done.
        losses: loss of updates by their number, from 1; 1.0 where nothing is said.
    """

    def __init__(self, figures, before=lambda *call: None, losses=None, norms=None):
        self.figures, self.before, self.losses, self.norms = figures, before, losses or {}, norms or {}
        self.calls, self.done, self.rate, self.batch_count = [], [], 1.0, 100
        self.disk, self.best = None, {}

    def call(self, *call):
        self.before(*call)
        self.calls.append(call)

    @property
    def weight(self):
        return hash(tuple(self.done)) % 1000

    def batches(self, epoch, first):
        self.call("batches", epoch, first)
        return iter([(epoch, number) for number in range(first, self.batch_count)])

    def update(self, batch):
        self.call("update", batch)
        self.done.append((*batch, self.rate))
        return {
            "loss": self.losses.get(len(self.done), 1.0 + self.weight / 1000),
            "tokens": 1.0 + batch[1],
            "gradient_norm": self.norms.get(len(self.done), 2.5),
            "teacher_forcing": 1 / len(self.done),
            "learning_rate": self.rate,
        }

    def validate(self):
        self.call("validate")
        figure = self.figures[(self.done[-1][0]) % len(self.figures)]
        return {"perplexity": figure, "bleu": figure, "weight": self.weight}

    def lower_rate(self):
        self.call("lower_rate")
        self.rate /= 2

    def save(self, state):
        self.call("save", (state.epoch, state.batch, state.update))
        self.disk = copy.deepcopy((state, self.done, self.rate))
        return Path("checkpoint")

    def save_best(self, epoch):
        self.call("save_best", epoch)
        self.best[epoch] = self.weight

    def restore(self):
        state, self.done, self.rate = copy.deepcopy(self.disk or (TrainingState(), [], 1.0))
        return state

    def fit(self, plan, *observers):
        """Goes on from the disk, with the clock that the plan's seconds are told by: one for each update."""
        state = self.restore()
        self.batch_count = plan.batches
        with mock.patch("pipeline.training_loop.time", SimpleNamespace(monotonic=lambda: float(len(self.done)))):
            fit(state, plan, self, observers)
        return state

    def saved(self):
        return [call[1] for call in self.calls if call[0] == "save"]


def plan(epochs=2, batches=3, selection="perplexity", **fields):
    return Plan(epochs=epochs, batches=batches, selection=selection, **fields)


def interrupt_at(*calls, number=signal.SIGINT):
    """Sends a signal from within these calls."""

    def before(*call):
        if call in calls:
            os.kill(os.getpid(), number)

    return before


def ends_at(number, how):
    """Crashes, or is interrupted, at the call of this number, from 0."""
    numbers = itertools.count()

    def before(*call):
        if next(numbers) != number:
            return
        if how == "crash":
            raise CrashError
        os.kill(os.getpid(), signal.SIGINT)

    return before


def test_order_of_calls():
    work = Work([3.0, 4.0])
    seen = SimpleNamespace(
        on_update=lambda state, logs: work.call("on_update", state.update, logs["loss"]),
        on_epoch=lambda state, logs: work.call("on_epoch", state.epoch, logs["val_perplexity"]),
    )
    work.losses = dict.fromkeys(range(1, 5), 2.0)
    work.fit(plan(batches=2, plateau_patience=1), seen)
    assert work.calls == [
        ("batches", 0, 0),
        ("update", (0, 0)),
        ("on_update", 1, 2.0),
        ("update", (0, 1)),
        ("on_update", 2, 2.0),
        ("batches", 1, 0),
        ("validate",),
        ("save_best", 1),
        ("on_epoch", 1, 3.0),
        ("save", (1, 0, 2)),
        ("update", (1, 0)),
        ("on_update", 3, 2.0),
        ("update", (1, 1)),
        ("on_update", 4, 2.0),
        ("validate",),
        ("lower_rate",),
        ("on_epoch", 2, 4.0),
        ("save", (2, 0, 4)),
    ]


def test_what_the_history_keeps():
    work = Work([3.0, 2.0], losses={1: 1.0, 2: 2.0, 3: 4.0, 4: 0.5, 5: 0.5, 6: 0.5})
    running = []
    observer = SimpleNamespace(
        on_update=lambda state, logs: running.append(math.log(logs["perplexity"])), on_epoch=lambda state, logs: None
    )
    state = work.fit(plan(), observer)
    assert running == pytest.approx([1.0, 5 / 3, 17 / 6, 0.5, 0.5, 0.5])  # by tokens: 1, 2 and 3
    assert state.history["perplexity"] == pytest.approx([math.exp(17 / 6), math.exp(0.5)])
    assert state.history["val_perplexity"] == [3.0, 2.0]
    assert state.history["teacher_forcing"] == [1 / 3, 1 / 6] and state.history["learning_rate"] == [1.0, 1.0]
    assert (state.epoch, state.batch, state.update, state.nll, state.tokens) == (2, 0, 6, 0.0, 0.0)
    assert (state.best_epoch, state.since_best) == (2, 0)


def outcome(work, state):
    """All that a training leads to; as text, because NaN is unequal to itself."""
    return repr((state, work.done, work.rate, work.disk, work.best.get(state.best_epoch)))


FIGURES = st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0, math.nan, math.inf]), min_size=1, max_size=5)
# Calls after which a process ends, by an exception or by an interrupt.
ENDS = st.lists(st.tuples(st.integers(0, 25), st.sampled_from(["crash", "interrupt"])), max_size=4)


@settings(deadline=None, max_examples=400)
@given(
    FIGURES,
    st.builds(
        plan,
        st.integers(1, 4),
        st.integers(1, 4),
        st.sampled_from(["perplexity", "bleu"]),
        patience=st.integers(0, 2),
        plateau_patience=st.integers(0, 2),
        checkpoint_seconds=st.sampled_from([0.0, 2.0, 3.0, math.inf]),
    ),
    ENDS,
)
@example([3.0], plan(4, 4, plateau_patience=1, checkpoint_seconds=0.0), [(n, "interrupt") for n in range(4)])
def test_whatever_ends_it_the_training_is_the_same(figures, the_plan, ends):
    straight = Work(figures)
    expected = outcome(straight, straight.fit(the_plan))

    work = Work(figures)
    for calls, how in ends:
        work.before = ends_at(calls, how)
        with suppress(CrashError, KeyboardInterrupt):
            work.fit(the_plan)
    work.before = lambda *call: None
    assert outcome(work, work.fit(the_plan)) == expected


@pytest.mark.parametrize("seconds", [0.0, 2.0, math.inf])
def test_a_crash_at_any_call(seconds):
    the_plan = plan(3, 4, patience=2, plateau_patience=1, checkpoint_seconds=seconds)
    straight = Work([3.0, 4.0, 2.0])
    expected = outcome(straight, straight.fit(the_plan))
    for crashed in range(len(straight.calls)):
        work = Work([3.0, 4.0, 2.0], ends_at(crashed, "crash"))
        with pytest.raises(CrashError):
            work.fit(the_plan)
        if work.disk:
            lost = len(work.done) - work.disk[0].update
            assert lost <= min(seconds + 1, the_plan.batches)
        assert outcome(work, work.fit(the_plan)) == expected


@pytest.mark.parametrize(
    ("figures", "patience", "epochs", "best"),
    [
        ([5.0, 4.0, 4.0, 4.5, 1.0], 2, 4, 2),
        ([5.0, 4.0, 4.0, 3.0, 3.0], 2, 5, 4),
        ([5.0, 6.0, 1.0], 1, 2, 1),
        ([5.0, 6.0, 7.0, 8.0, 9.0], 0, 5, 1),
        ([math.nan] * 5, 3, 3, 0),
    ],
)
def test_patience_stops(figures, patience, epochs, best):
    work = Work(figures)
    state = work.fit(plan(len(figures), 1, patience=patience))
    assert (state.epoch, state.best_epoch, len(work.saved())) == (epochs, best, epochs)
    assert work.fit(plan(len(figures), 1, patience=patience)) == state and len(work.saved()) == epochs


def test_plateaus_lower_the_rate():
    rates = {}
    for patience in (0, 1, 2, 3):
        work = Work([5.0, 6.0, 4.0, 4.0, 4.5, 4.5, math.nan, 3.0, 3.5])
        rates[patience] = work.fit(plan(9, 1, plateau_patience=patience)).history["learning_rate"]
    assert rates == {
        0: [1.0] * 9,
        1: [1.0, 1.0, 1 / 2, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 32],
        2: [1.0, 1.0, 1.0, 1.0, 1.0, 1 / 2, 1 / 2, 1 / 4, 1 / 4],
        3: [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1 / 2, 1 / 2, 1 / 2],
    }


@pytest.mark.parametrize(
    ("selection", "figures", "best"),
    [
        ("bleu", [10.0, 30.0, 20.0], {1: 10.0, 2: 30.0}),
        ("bleu", [0.0, 0.0], {1: 0.0}),
        ("bleu", [math.inf, 1.0, math.nan], {2: 1.0}),
        ("exact_match", [0.1, 0.3, 0.2], {1: 0.1, 2: 0.3}),
        ("word_error_rate", [0.3, 0.3, 0.2, 0.4], {1: 0.3, 3: 0.2}),
        ("perplexity", [10.0, 30.0, 5.0], {1: 10.0, 3: 5.0}),
        ("perplexity", [math.nan, 7.0, math.nan, -math.inf], {2: 7.0}),
        ("free_running_perplexity", [9.0, 8.0], {1: 9.0, 2: 8.0}),
        ("perplexity", [math.nan, math.inf], {}),
    ],
)
def test_the_best_epoch(selection, figures, best):
    work = Work(figures)
    work.validate = lambda: {"perplexity": 1.0, selection: figures[work.done[-1][0]]}
    state = work.fit(plan(len(figures), 1, selection))
    assert list(work.best) == list(best) and state.best_epoch == max(best, default=0)
    assert (best_figures(state) or {}).get(selection) == best.get(state.best_epoch)


@pytest.mark.parametrize(
    ("scores", "perplexities", "best"),
    [
        ([0.02, 0.02, 0.02], [9.0, 7.0, 8.0], 2),
        ([0.02, 0.02, 0.02], [9.0, 7.0, 7.0], 2),
        ([0.02, 0.02, 0.03], [9.0, 7.0, 99.0], 3),
        ([0.02, 0.01, 0.02], [7.0, 1.0, 8.0], 1),
        ([0.02, 0.02, 0.02], [9.0, math.nan, 8.0], 3),
    ],
)
def test_of_equal_epochs_the_better_perplexity_wins(scores, perplexities, best):
    work = Work(scores)
    work.validate = lambda: {"bleu": scores[work.done[-1][0]], "perplexity": perplexities[work.done[-1][0]]}
    assert work.fit(plan(3, 1, "bleu")).best_epoch == best


def test_patience_waits_for_the_selection_not_for_the_perplexity(caplog):
    work = Work([])
    work.validate = lambda: {"bleu": 0.5, "perplexity": 9.0 - work.done[-1][0]}
    with caplog.at_level("INFO", "heliograph.train"):
        state = work.fit(dataclasses.replace(plan(4, 1, "bleu"), patience=2, plateau_patience=2))
    assert (state.epoch, state.best_epoch, state.since_best) == (3, 3, 2) and ("lower_rate",) in work.calls
    assert "validation bleu is not better since epoch 1" in caplog.text


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_ends_it(loss):
    work = Work([3.0], losses={5: loss})
    told = rf"loss is {loss}, gradient norm 2.5 in update 5 \(epoch 2, batch 2 of 3, 2 target tokens\)"
    with pytest.raises(DataError, match=told):
        work.fit(plan(checkpoint_seconds=0.0))
    assert work.calls[-1] == ("update", (1, 1)) and work.saved()[-1] == (1, 1, 4)


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_ends_it_unless_its_update_is_skipped(norm):
    work = Work([3.0], norms={5: norm})
    with pytest.raises(DataError, match=rf"loss is .*, gradient norm {norm} in update 5 "):
        work.fit(plan(checkpoint_seconds=0.0))
    assert work.saved()[-1] == (1, 1, 4)
    scaled = Work([3.0], norms={5: norm})
    assert scaled.fit(dataclasses.replace(plan(), skips_overflow=True)).epoch == 2


def test_a_huge_loss_is_none_to_stop_at():
    state = Work([3.0], losses={2: 1e4}).fit(plan())
    assert state.history["perplexity"] == [math.inf, pytest.approx(math.e, rel=1)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("resumed", [False, True])
def test_an_interrupt_saves_after_the_update(caplog, number, resumed):
    caplog.set_level("INFO", "heliograph.train")
    work = Work([3.0], interrupt_at(("update", (1, 1)), number=number))
    if resumed:
        work.before, go_on = interrupt_at(("update", (1, 0))), work.before
        with pytest.raises(KeyboardInterrupt, match="saved after epoch 1, batch 1 of 3 "):
            work.fit(plan())
        work.before = go_on
    told = r"saved after epoch 1, batch 2 of 3 \(checkpoint\); the same command goes on from there"
    with pytest.raises(KeyboardInterrupt, match=told):
        work.fit(plan())
    assert work.calls[-2:] == [("update", (1, 1)), ("save", (1, 2, 5))]
    assert "interrupt again to stop at once" in caplog.text
    work.before = lambda *call: None
    work.fit(plan())
    assert work.calls[-4:] == [("batches", 1, 2), ("update", (1, 2)), ("validate",), ("save", (2, 0, 6))]


@pytest.mark.parametrize("call", [("update", (0, 2)), ("validate",), ("save", (1, 0, 3))])
def test_an_interrupt_at_an_epochs_end_waits_for_it(call):
    work = Work([3.0], interrupt_at(call))
    with pytest.raises(KeyboardInterrupt, match="saved after epoch 1, batch 0 of 3 "):
        work.fit(plan())
    assert work.saved() == [(1, 0, 3)]


@pytest.mark.parametrize("call", [("update", (0, 2)), ("validate",)])
def test_an_interrupt_at_the_very_end_is_not_lost(call):
    work = Work([3.0], interrupt_at(call))
    with pytest.raises(KeyboardInterrupt):
        work.fit(plan(epochs=1))


def test_a_second_interrupt_stops_at_once():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def twice(*call):
        if call == ("update", (1, 0)):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    work = Work([3.0], twice)
    with pytest.raises(KeyboardInterrupt):
        work.fit(plan())
    assert work.saved() == [(1, 0, 3)]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize(
    ("seconds", "saved"),
    [
        (0.0, [(0, 1, 1), (0, 2, 2), (0, 3, 3), (0, 4, 4), (1, 0, 5), (1, 1, 6), (1, 2, 7), (1, 3, 8), (1, 4, 9)]),
        (2.0, [(0, 2, 2), (0, 4, 4), (1, 0, 5), (1, 2, 7), (1, 4, 9)]),
        (2.5, [(0, 3, 3), (1, 0, 5), (1, 3, 8)]),
        (5.0, [(1, 0, 5)]),
        (math.inf, [(1, 0, 5)]),
    ],
)
def test_checkpoints_within_an_epoch(seconds, saved):
    work = Work([3.0])
    work.fit(plan(batches=5, checkpoint_seconds=seconds))
    assert work.saved() == [*saved, (2, 0, 10)]


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        (TrainingState(epoch=2, update=6), {}),
        (TrainingState(epoch=5, update=6), {}),
        (TrainingState(epoch=1, update=3, since_best=2), {"patience": 2}),
    ],
)
def test_a_finished_plan_does_nothing(state, fields):
    work, before = Work([3.0]), copy.deepcopy(state)
    fit(state, plan(**fields), work)
    assert state == before and work.calls == []
