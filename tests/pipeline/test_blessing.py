"""Verdicts, and which model they compare with, without TensorFlow."""

import json
from datetime import timedelta

import pytest

from pipeline import artifacts
from pipeline.blessing import BASELINE, Baseline, Incomparable, doubt, find_baseline, is_overtaken, judge
from preprocessing.errors import DataError
from tests.pipeline.test_artifacts import NOW


@pytest.mark.parametrize(
    ("metric", "value", "minimum", "difference", "margin", "blessed", "said"),
    [
        ("bleu", 20.0, None, None, 0.5, True, "BLEU 20.00; there is no other blessed model"),
        ("bleu", 20.0, 20.0, None, 0.5, True, "no other"),
        ("bleu", 19.9, 20.0, None, 0.5, False, "BLEU 19.90 is not as good as evaluation.bless_minimum = 20"),
        ("bleu", 19.9, 20.0, 3.0, 0.5, False, "evaluation.bless_minimum = 20"),  # better, but not good enough
        ("bleu", 20.0, None, 0.0, 0.0, True, "is equal to the last blessed model's (Evaluator 1a)"),
        (
            "bleu",
            20.0,
            None,
            0.3,
            0.0,
            True,
            "is better than the last blessed model's (Evaluator 1a); difference +0.30",
        ),
        ("bleu", 20.0, None, -0.3, 0.5, True, "is worse than the last blessed model's (Evaluator 1a), within"),
        ("bleu", 20.0, None, -0.5, 0.5, True, "within evaluation.bless_margin = 0.5"),
        ("bleu", 20.0, None, -0.51, 0.5, False, "by more than evaluation.bless_margin = 0.5; difference -0.51"),
        ("bleu", 20.0, None, -0.01, 0.0, False, "by more than evaluation.bless_margin = 0;"),
        ("exact_match", 0.795, None, 0.795 - 0.8, 0.5, True, "within"),  # exactly the margin, in per cent
        ("exact_match", 0.79, None, 0.79 - 0.8, 0.5, False, "exact match 79.00 % is worse than"),
        ("exact_match", 0.79, 79.0, None, 0.5, True, "no other"),
        ("word_error_rate", 0.25, None, 0.01, 0.5, False, "word error rate 25.00 % is worse"),  # less is better
        ("word_error_rate", 0.25, None, -0.01, 0.0, True, "is better than"),
        ("word_error_rate", 0.25, 24.0, None, 0.0, False, "is not as good as evaluation.bless_minimum = 24"),
        ("word_error_rate", 0.25, 26.0, None, 0.0, True, "no other"),
    ],
)
def test_verdicts(metric, value, minimum, difference, margin, blessed, said):
    baseline = None
    if difference is not None:
        baseline = Baseline("Evaluator 1a", "", difference, (difference - 0.01, difference + 0.01), 0.25)
    verdict = judge(metric, value, margin, minimum, baseline)
    assert verdict.blessed is blessed and said in verdict.reason and "\n" not in verdict.reason
    assert ("p = 0.250" in verdict.reason) == (baseline is not None and "bless_minimum" not in said)


def test_a_first_model_that_can_do_nothing_is_doubted():
    assert doubt("bleu", 0.02, None, None) == (
        "the first model is blessed with BLEU 0.02, which is next to nothing: train longer, or say with "
        "evaluation.bless_minimum what is good enough"
    )
    for metric, nil, enough in (("bleu", 0.99, 1.0), ("exact_match", 0.009, 0.01), ("word_error_rate", 1.2, 0.99)):
        assert doubt(metric, nil, None, None) and doubt(metric, enough, None, None) is None
    baseline = Baseline("Evaluator 1a", "", 0.0, (0.0, 0.0), 1.0)
    assert doubt("bleu", 0.0, 0.0, None) is doubt("bleu", 0.0, None, baseline) is None


def test_verdicts_on_what_cannot_be_compared():
    other = Incomparable("Evaluator 1a", 3)
    refused = judge("bleu", 20.0, 0.5, None, other)
    assert (
        not refused.blessed and "with which it shares 3 test sentences; set evaluation.bless_minimum" in refused.reason
    )
    blessed = judge("bleu", 20.0, 0.5, 20.0, other)
    assert blessed.blessed and "is at least evaluation.bless_minimum = 20; not compared with" in blessed.reason
    assert "not as good as" in judge("bleu", 19.0, 0.5, 20.0, other).reason
    some = judge("bleu", 20.0, 0.5, None, Baseline("Evaluator 1a", "the 7 of 9", 1.0, (0.5, 1.5), 0.1))
    assert some.blessed and "(Evaluator 1a, on the 7 of 9); difference +1.00" in some.reason


class History:
    """Evaluations and verdicts of a root, one later than the other."""

    def __init__(self, root):
        self.root, self.time = root, NOW

    def publish(self, component, name, text, inputs, parameters, **metrics):
        path = self.root / component / name
        artifacts.prepare(path)
        (path / "out").write_text(text)
        self.time += timedelta(minutes=1)
        return artifacts.publish(
            path,
            component=component,
            version=1,
            inputs=inputs,
            external_files={},
            parameters=parameters,
            metrics=metrics,
            started=self.time,
            ended=self.time,
        )

    def evaluated(self, name):
        return self.publish("Evaluator", name, name, {}, {})

    def judged(self, name, blessed=True, model="m", baseline=None):
        evaluator = self.evaluated(name)
        inputs = {"Evaluator": evaluator} | ({BASELINE: baseline} if baseline else {})
        self.publish("ModelValidator", f"of-{name}", "", inputs, {"name": model}, blessed=blessed, reason="said")
        return evaluator

    def baseline(self, evaluator, published=None):
        found = find_baseline(self.root, evaluator, "m", published)
        return found[BASELINE].id if found else None


@pytest.fixture
def history(tmp_path):
    return History(tmp_path / "root")


def test_the_newest_blessed_model_of_the_same_name(history):
    candidate = history.evaluated("candidate")
    assert history.baseline(candidate) is None
    history.judged("refused", blessed=False)
    history.judged("other-model", model="n")
    assert history.baseline(candidate) is None
    history.judged("first")
    assert history.baseline(candidate) == "first"
    history.judged("second")
    history.judged("refused-again", blessed=False)
    assert history.baseline(candidate) == "second"


def test_a_model_is_not_compared_with_itself(history):
    first, second = history.judged("first"), history.judged("second")
    assert history.baseline(second) == "first" and history.baseline(first) == "second"
    # Another configuration that translates alike is the same model: it meets the baseline that the first one met.
    twin = history.publish("Evaluator", "twin", "second", {}, {})
    assert history.baseline(twin) == "first"


def test_a_verdict_whose_evaluation_is_gone_counts_no_more(history):
    history.judged("first")
    gone = history.judged("second")
    (gone.path / "out").unlink()
    assert history.baseline(history.evaluated("candidate")) == "first"


def push(folder, version, evaluation):
    card = folder / str(version) / "assets.extra" / "model_card.json"
    card.parent.mkdir(parents=True)
    card.write_text(json.dumps({"evaluation": evaluation.fingerprint} if evaluation else {}))


def test_what_is_published_comes_first(history, tmp_path):
    first, second = history.judged("first"), history.judged("second")
    candidate, served = history.evaluated("candidate"), tmp_path / "srv"
    assert history.baseline(candidate, served) == "second"  # nothing is published yet
    push(served, 9, second)
    push(served, 10, first)  # as after a rollback
    assert history.baseline(candidate, served) == "first"
    push(served, 11, candidate)
    assert history.baseline(candidate, served) == "second"
    push(served, 12, None)
    assert history.baseline(candidate, served) == "second"


def test_what_was_published_since_a_verdict_overtakes_it(history, tmp_path):
    """Two candidates were compared with the same model: the first one to be pushed wins."""
    first, served = history.judged("first"), tmp_path / "srv"
    one, other = (history.judged(name, baseline=first) for name in ("one", "other"))
    verdicts = {
        item.manifest.inputs["Evaluator"].id: item.manifest
        for item in artifacts.find_all(history.root, "ModelValidator")
    }

    def overtaken():
        return [is_overtaken(history.root, verdicts[name.id], served) for name in (one, other)]

    assert overtaken() == [False, False]  # nothing is published
    push(served, 1, first)
    assert overtaken() == [False, False]
    push(served, 2, one)
    assert overtaken() == [False, True]
    push(served, 3, None)  # of another root
    assert overtaken() == [False, False]


def test_a_card_that_cannot_be_read_is_told_by_its_file(history, tmp_path):
    push(tmp_path / "srv", 1, None)
    card = tmp_path / "srv" / "1" / "assets.extra" / "model_card.json"
    card.write_text('{"evaluation": ')
    with pytest.raises(DataError, match=rf"{card}: expected a model card, found something else \(Expecting value"):
        history.baseline(history.evaluated("candidate"), tmp_path / "srv")
