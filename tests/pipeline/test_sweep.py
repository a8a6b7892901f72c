"""The grid, its trials and the table, without training anything."""

import signal
import sys
import textwrap
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import sweep
from pipeline.config import load
from pipeline.errors import UsageError
from pipeline.grid import Trial, check_figure, combinations, parse_grid, trials
from pipeline.sweep import Result, as_json, ranked, table

PYTHON = sys.executable


def test_a_grid_is_read():
    grid = parse_grid(["model.hidden_size=64,128", "model.cell=lstm, gru", "evaluation.metrics=['a,b'],[\"c\", 'd']"])
    assert grid == {
        "model.hidden_size": ["64", "128"],
        "model.cell": ["lstm", "gru"],
        "evaluation.metrics": ["['a,b']", "[\"c\", 'd']"],
    }


@pytest.mark.parametrize("option", ["model.hidden_size", "hidden_size=1", "model.a=1,,2", "model.a=", "model.a=1,1"])
def test_a_malformed_grid(option):
    with pytest.raises(UsageError, match="--grid " + option):
        parse_grid([option])


def test_a_key_twice():
    with pytest.raises(UsageError, match="expected each key and each of its values once"):
        parse_grid(["model.a=1", "model.a=2"])


GRIDS = st.dictionaries(
    st.sampled_from(["a.a", "a.b", "a.c"]), st.lists(st.integers(0, 9).map(str), min_size=1, max_size=4, unique=True)
).filter(bool)


@given(GRIDS, st.integers(1, 70), st.integers(1, 5))
def test_drawn_combinations_are_different_ones_of_all_in_the_same_order(grid, count, seed):
    every = combinations(grid)
    assert len(every) == len({tuple(values.values()) for values in every})
    size = 1
    for values in grid.values():
        size *= len(values)
    assert len(every) == size
    drawn = combinations(grid, count, seed)
    assert len(drawn) == min(count, size) and drawn == combinations(grid, count, seed)
    assert drawn == [values for values in every if values in drawn]


def test_drawings_differ_by_seed():
    grid = {"a.a": list("123456789")}
    assert len({str(combinations(grid, 4, seed)) for seed in range(10)}) > 5


def tried(*grid, overrides=()):
    return trials("dates", overrides, combinations(parse_grid(grid)))


def test_trials_have_their_configurations():
    found = tried("model.hidden_size=8,16", "training.teacher_forcing.start=1,0.5", overrides=["training.epochs=2"])
    assert [trial.configured("model.hidden_size") for trial in found] == [8, 8, 16, 16]
    assert [trial.configured("training.teacher_forcing.start") for trial in found] == [1.0, 0.5] * 2
    assert all(trial.config.training.epochs == 2 for trial in found)
    assert found[1].overrides == ["model.hidden_size=8", "training.teacher_forcing.start=0.5"]


def test_what_the_configuration_refuses_is_a_failed_trial_unless_all_are():
    good, bad = tried("model.hidden_size=8,none")
    assert good.config is not None and bad.config is None and "model.hidden_size" in bad.refusal
    assert bad.configured("model.hidden_size") == "none"
    with pytest.raises(UsageError, match=r"did you mean model\.hidden_size"):
        tried("model.hiden_size=8,16")


@pytest.mark.parametrize(
    ("grid", "overrides", "message"),
    [
        ("search.beam_size=1,5", [], "search.beam_size=1 and search.beam_size=5 train the same model"),
        ("training.batch_size=64,0x40", [], "train the same model"),
        ("model.hidden_size=8,16", ["ensemble.seeds=[1, 2]"], "ensemble.seeds: expected none in a sweep"),
    ],
)
def test_sweeps_that_make_no_sense(grid, overrides, message):
    with pytest.raises(UsageError, match=message):
        tried(grid, overrides=overrides)


def test_the_figure_has_to_be_there_and_to_mean_one_thing(caplog):
    check_figure("perplexity", tried("model.hidden_size=8,16"))
    check_figure("bleu", tried("model.hidden_size=8,16", overrides=["training.selection=bleu"]))
    assert not caplog.messages
    with pytest.raises(UsageError, match=r"--by bleu: .*--set training.selection=bleu"):
        check_figure("bleu", tried("model.hidden_size=8,16"))
    check_figure("perplexity", tried("target.min_count=1,2"))
    check_figure("bleu", tried("target.min_count=1,2", overrides=["training.selection=bleu"]))  # whatever the tokens
    check_figure("bleu", tried("data.dates.count=10,20", overrides=["training.selection=bleu"]))
    assert [message.split()[0] for message in caplog.messages] == ["target.min_count", "data.dates.count"]


def result(size, perplexity=None, **figures):
    trial = Trial({"model.hidden_size": size, "model.cell": "gru"}, load("dates", [f"model.hidden_size={size}"]))
    if perplexity is None:
        return Result(trial, None, "it did not train at all, which takes a long line to say")
    metrics = {"epoch": 3, "perplexity": perplexity, "free_running_perplexity": 9.0, **figures}
    return Result(trial, SimpleNamespace(id=f"id{size}", metrics=metrics))


def test_the_best_comes_first_and_what_failed_last():
    results = [result("8", 3.5, bleu=1.0), result("16"), result("32", 2.25, bleu=9.0), result("64", 3.5, bleu=30.0)]
    assert [one.trial.values["model.hidden_size"] for one in ranked(results, "perplexity")] == ["32", "8", "64", "16"]
    assert [one.trial.values["model.hidden_size"] for one in ranked(results, "bleu")] == ["64", "32", "8", "16"]
    equal = [result("8", 3.5, bleu=0.02), result("32", 2.25, bleu=0.02), result("64", 3.5, bleu=0.02)]
    assert [one.trial.values["model.hidden_size"] for one in ranked(equal, "bleu")] == ["32", "8", "64"]
    assert table(results, "perplexity").splitlines() == [
        "rank  model.hidden_size  model.cell  perplexity  free-running perplexity  epoch  Trainer",
        "1     32                 gru         2.250       9.000                    3      id32",
        "2     8                  gru         3.500       9.000                    3      id8",
        "3     64                 gru         3.500       9.000                    3      id64",
        "-     16                 gru         failed: it did not train at all, which takes a long line to say",
    ]
    assert table(results, "bleu").splitlines()[1].split() == ["1", "64", "gru", "30.00", "3.500", "9.000", "3", "id64"]
    found = as_json(results, "perplexity")
    assert found["by"] == "perplexity" and found["trials"][0] == {
        "values": {"model.hidden_size": 32, "model.cell": "lstm"},  # with their types, as configured
        "failure": None,
        "trainer": "id32",
        "metrics": {"epoch": 3, "perplexity": 2.25, "free_running_perplexity": 9.0, "bleu": 9.0},
    }
    assert found["trials"][3]["failure"].startswith("it did not") and found["trials"][3]["trainer"] is None


def child(monkeypatch, tmp_path, code):
    """Puts a small program in the place of `python -m pipeline train`."""
    program = tmp_path / "program"
    program.write_text(f"#!{PYTHON}\n{textwrap.dedent(code)}")
    program.chmod(0o755)
    monkeypatch.setattr(sweep.sys, "executable", str(program))


def test_a_failure_is_told_in_one_line_and_progress_is_passed_on(monkeypatch, tmp_path, capfd):
    child(
        monkeypatch,
        tmp_path,
        """
        import sys
        assert sys.argv[1:] == ["-m", "pipeline", "train", "my.toml"], sys.argv
        print("a result")
        sys.exit("epoch 1/3\\nheliograph: error: it broke")
        """,
    )
    assert sweep._train(["my.toml"]) == "it broke"
    assert capfd.readouterr() == ("", "epoch 1/3\n")
    child(monkeypatch, tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert sweep._train([]) == "exit code -9"
    child(monkeypatch, tmp_path, "")
    assert sweep._train([]) == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_passed_on_once_and_awaited(monkeypatch, tmp_path, number):
    child(
        monkeypatch,
        tmp_path,
        f"""
        import os, pathlib, signal, time
        came = []
        signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
        os.kill(os.getppid(), {int(number)})
        while not came:
            time.sleep(0.01)
        time.sleep(0.2)
        pathlib.Path({str(tmp_path / "saved")!r}).write_text(str(len(came)))
        """,
    )
    with pytest.raises(KeyboardInterrupt, match="the same command goes on with this trial"):
        sweep._train([])
    assert (tmp_path / "saved").read_text() == "1"
