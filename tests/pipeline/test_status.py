from datetime import timedelta

from pipeline import artifacts
from pipeline.plan import State
from pipeline.status import headline, numbers, reasons, table, verdict
from tests.pipeline.test_artifacts import NOW


def publish(path, inputs=None, files=None, parameters=None, **metrics):
    artifacts.prepare(path)
    return artifacts.publish(
        path,
        component=path.parent.name,
        version=1,
        inputs=inputs or {},
        external_files=files or {},
        parameters=parameters or {},
        metrics=metrics,
        started=NOW,
        ended=NOW,
    )


def test_table(tmp_path):
    files = {f"source[0] {name}": "0" for name in ("a.de", "b.de", "c.de", "d.de")}
    examples = publish(tmp_path / "ExampleGen" / "0123456789ab", files=files, train=36000)
    trainer = publish(tmp_path / "Trainer" / "ba9876543210", {"ExampleGen": examples}, perplexity=1.23456, best="x")
    builtin = publish(tmp_path / "ExampleGen" / "111111111111", parameters={"builtin": "dates"})
    text = table(
        [
            State("ExampleGen", "up to date", examples),
            State("Trainer", "outdated", trainer),
            State("Builtin", "up to date", builtin),
            State("Exporter", "missing", None),
            State("Pusher", "refused", None, "not blessed", ("0",)),
        ],
        NOW + timedelta(hours=3),
    )
    assert text.splitlines() == [
        "component   state       id            age  from                         metrics",
        "ExampleGen  up to date  0123456789ab  3 h  a.de, b.de, c.de and 1 more  train 36000",
        "Trainer     outdated    ba9876543210  3 h  ExampleGen 0123456789ab      perplexity 1.235",
        "Builtin     up to date  111111111111  3 h  built-in dates               -",
        "Exporter    missing     -             -    -                            -",
        "Pusher      refused     -             -    -                            -",
    ]


def test_the_figures_of_the_test_split_are_one_line(tmp_path):
    figures = {"sentences": 1000, "perplexity": 12.0412, "seconds": 3.5, "bleu": 19.344, "word_error_rate": 0.2205}
    evaluation = publish(tmp_path / "Evaluator" / "0123456789ab", **figures, greedy_bleu=18.0)
    states = [State("Trainer", "missing", None), State("Evaluator", "up to date", evaluation)]
    assert headline(states) == ("test split, 1,000 sources: perplexity 12.041, BLEU 19.34, word error rate 22.05 %")
    assert table(states, NOW).splitlines()[2].endswith(" -")  # the line below says it
    assert headline([State("Evaluator", "outdated", evaluation)]).startswith("test split (outdated), 1,000 sources: ")
    assert headline([State("Evaluator", "missing", None)]) is None and headline(states[:1]) is None


def test_the_verdict_is_one_line(tmp_path):
    refused = publish(tmp_path / "ModelValidator" / "0123456789ab", blessed=False, reason="BLEU 3.00 is not enough")
    assert verdict([State("ModelValidator", "up to date", refused)]) == "not blessed: BLEU 3.00 is not enough"
    assert verdict([State("ModelValidator", "outdated", refused)]).endswith("enough (outdated)")
    assert verdict([State("ModelValidator", "missing", None)]) is None and verdict([]) is None


def test_why_something_is_not_up_to_date_is_one_line(tmp_path):
    trainer = publish(tmp_path / "Trainer" / "0123456789ab")
    states = [
        State("Trainer", "outdated", trainer, "training.epochs 5 -> 1"),
        State("Evaluator", "outdated", trainer, "depends on Trainer", awaits=("Trainer",)),
        State("Exporter", "missing", None, "never executed"),
        State("Pusher", "refused", None, "my: not blessed"),
    ]
    assert reasons(states) == ["Trainer outdated: training.epochs 5 -> 1", "Pusher refused: my: not blessed"]


def test_numbers():
    assert numbers({"bleu": 14.5, "n": 12345678, "ok": True, "signature": "x"}) == {"bleu": "14.5", "n": "12345678"}
