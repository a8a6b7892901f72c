import logging
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from pipeline import cli, commands, lineage_commands
from pipeline.config import load
from pipeline.runner import Component
from preprocessing.errors import DataError
from tests.pipeline.test_components import NAMES
from tests.pipeline.test_summary import METRICS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """The real command with components that only note that they were executed, in an empty folder."""
    noted = []
    real = commands.build

    def fake(component):
        def execute(inputs, output):
            noted.append(component.name)
            (output / "out").write_text(component.name)
            return METRICS[component.name]

        return Component(
            name=component.name,
            version=component.version,
            inputs=component.inputs,
            after=component.after,
            parameters=component.parameters,
            external_files=component.external_files,
            execute=execute,
        )

    def build(config, beam_args=()):
        noted.extend(beam_args)
        return tuple(fake(component) for component in real(config, beam_args))

    monkeypatch.setattr(commands, "build", build)
    monkeypatch.setattr(commands, "load_tensorflow", lambda: None)
    report = types.ModuleType("pipeline.report")
    report.final_report = lambda config, done, again, page: (
        f"report of {config.name} ({' '.join(again)}): {', '.join(done)}, {page.name}"
    )
    monkeypatch.setitem(sys.modules, "pipeline.report", report)
    monkeypatch.chdir(tmp_path)
    return noted


def failing(monkeypatch, error):
    def build(config, beam_args=()):
        raise error

    monkeypatch.setattr(commands, "build", build)


def test_help_and_version(capsys):
    assert cli.main([]) == 0
    out = capsys.readouterr().out
    assert "example: heliograph run dates" in out and "multi30k-de-en-tutorial" in out
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("heliograph ")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_help_has_an_example(name, capsys):
    assert cli.main([name, "--help"]) == 0
    out, err = capsys.readouterr()
    assert "example: " in out and f"heliograph {name}" in out and err == ""


def test_run_reports_and_then_skips(calls, capsys, tmp_path):
    assert cli.main(["run", "dates"]) == 0
    out, err = capsys.readouterr()
    names = NAMES
    assert out == f"report of dates (dates): {', '.join(names)}, report.html\n"
    assert calls == names and (tmp_path / "runs" / "dates" / "report.html").is_file()
    assert err.splitlines()[: len(names)] == [f"{name:<16}  runs: never executed" for name in names]
    assert err.splitlines()[len(names)] == "ExampleGen        running…" and len(err.splitlines()) == 3 * len(names)
    assert load(str(tmp_path / "runs" / "dates" / "config.toml")) == load("dates")
    assert cli.main(["run", "dates"]) == 0
    assert calls == names and "Exporter          up to date (" in capsys.readouterr().err


def test_stages_run_what_they_need_and_print_where_it_is(calls, capsys, tmp_path):
    root = tmp_path / "elsewhere"
    assert cli.main(["export", "dates", "--root", str(root), "--set", "search.beam_size=2"]) == 0
    assert calls == [name for name in NAMES if name not in ("ModelValidator", "InfraValidator")]
    size, folder = capsys.readouterr().out.splitlines()
    assert size == "a SavedModel of 11.5 MB" and Path(folder).parent == root / "Exporter"
    assert cli.main(["preprocess", "dates", "--root", str(root), "--", "--runner=FlinkRunner"]) == 0
    assert calls[7:] == ["--runner=FlinkRunner"]


def test_until_and_rerun_choose_what_is_executed(calls, capsys, monkeypatch):
    monkeypatch.setattr(lineage_commands, "build", commands.build)
    assert cli.main(["run", "dates", "--until", "Transform"]) == 0
    assert calls == ["ExampleGen", "Transform"]
    found, folder = capsys.readouterr().out.splitlines()
    assert found == "5,123 tokens counted; vocabularies of 1,004 and 903; 412 pairs encoded" and "/Transform/" in folder
    assert cli.main(["plan", "dates", "--rerun", "Transform", "--until", "Trainer"]) == 0
    plan, err = capsys.readouterr()
    assert err == "" and "Transform         runs: asked for" in plan.splitlines() and len(plan.splitlines()) == 5
    assert cli.main(["run", "dates", "--rerun", "ExampleGen", "--rerun", "Transform", "--until=Trainer"]) == 0
    assert calls[2:] == ["ExampleGen", "Transform", "StatisticsGen", "ExampleValidator", "Trainer"]
    capsys.readouterr()
    for arguments, message in (
        (["--until", "Trainr"], "--until Trainr: no component of this configuration; did you mean Trainer?"),
        (["--rerun", "trainer seed 1"], "--rerun trainer seed 1: no component"),
        (["--until", "Pusher"], "; set serving.push_to"),
        (["--rerun", "Exporter", "--until", "Trainer"], "--rerun Exporter: expected a component that --until Trainer"),
    ):
        for command in ("run", "plan"):
            assert cli.main([command, "dates", *arguments]) == 2
            assert message in capsys.readouterr().err
    assert len(calls) == 7


def test_status_executes_nothing(calls, capsys, tmp_path):
    assert cli.main(["status", "dates"]) == 0
    assert capsys.readouterr().out.count("missing") == len(NAMES) and list(tmp_path.iterdir()) == []
    assert cli.main(["train", "dates"]) == 0
    capsys.readouterr()
    assert cli.main(["status", "dates", "--set", "training.epochs=1"]) == 0
    rows = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "up to date" in rows["Transform"] and "built-in dates" in rows["ExampleGen"]
    assert "outdated" in rows["Trainer"] and "perplexity 1.5" in rows["Trainer"]
    assert "Trainer outdated: training.epochs 5 -> 1" in rows


def test_report_shows_what_there_is_and_executes_nothing(calls, capsys, tmp_path):
    assert cli.main(["report", "dates"]) == 2
    assert "heliograph run dates" in capsys.readouterr().err and list(tmp_path.iterdir()) == []
    assert cli.main(["preprocess", "dates"]) == 0
    executed = list(calls)
    capsys.readouterr()
    assert cli.main(["report", "dates"]) == 0
    page = Path(capsys.readouterr().out.strip()).absolute()
    assert page == tmp_path / "runs" / "dates" / "report.html" and calls == executed
    text = page.read_text()
    assert "StatisticsGen" in text and "Not there yet: Trainer, Evaluator" in text
    assert cli.main(["report", "dates"]) == 0 and page.read_text() == text


def fake_translate(monkeypatch):
    module = types.ModuleType("pipeline.translate")
    module.trained_translator = lambda config, *trained, n_best: types.SimpleNamespace(
        signatures=lambda: " ".join(path.parent.name for path in trained)
    )
    module.remote_signatures = lambda endpoint, batch_size: f"remote {endpoint}"
    module.load_saved_model = lambda directory: types.SimpleNamespace(signatures=f"saved {directory}")

    def translate_lines(signatures, source, sink, n_best, batch_size):
        sink.writelines(f"{signatures} {n_best} {batch_size} {line.decode()}" for line in source)

    module.translate_lines = translate_lines
    monkeypatch.setitem(sys.modules, "pipeline.translate", module)


def test_translate_never_trains(calls, monkeypatch, capsys, tmp_path):
    fake_translate(monkeypatch)
    (tmp_path / "text").write_bytes(b"one\n\xc3\xa9\n")
    assert cli.main(["translate", "dates", "--set", "name=a b", "text"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and calls == []
    assert err.endswith(
        "no trained model of this configuration (missing); train it: heliograph train dates --set 'name=a b'\n"
    )
    assert cli.main(["train", "dates"]) == 0
    capsys.readouterr()
    assert cli.main(["translate", "dates", "--n-best", "3", "text"]) == 0
    assert capsys.readouterr().out == "Transform Trainer 3 256 one\nTransform Trainer 3 256 é\n"
    assert cli.main(["translate", "dates", "text", "--model", "m", "--batch-size", "2", "--root", "no"]) == 0
    assert capsys.readouterr().out == "saved m None 2 one\nsaved m None 2 é\n"
    assert cli.main(["translate", "dates", "absent"]) == 1
    assert capsys.readouterr().err == "heliograph: error: absent: No such file or directory\n"


def test_translate_counts_a_shortlist_that_is_not_there(calls, monkeypatch, capsys, tmp_path):
    fake_translate(monkeypatch)
    (tmp_path / "text").write_bytes(b"one\n")
    assert cli.main(["train", "dates"]) == 0
    calls.clear()
    capsys.readouterr()
    for made in (["ShortlistGen"], []):
        assert cli.main(["translate", "dates", "--set=search.shortlist=2", "text"]) == 0
        out, err = capsys.readouterr()
        assert out == "Transform Trainer ShortlistGen None 256 one\n" and calls == made
        assert ("ShortlistGen  done in" in err) == bool(made)
        calls.clear()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian", "dates"], "trian: unknown command; did you mean train?"),
        (["run"], "the following arguments are required: CONFIG; see heliograph run --help"),
        (["run", "dates", "--epochs", "3"], "unrecognized arguments: --epochs 3; see heliograph run --help"),
        (["run", "nothing.toml"], "nothing.toml: expected a TOML file or a preset, found neither"),
        (
            ["run", "dates", "--set", "model.cel=x"],
            "--set model.cel=x: model.cel: unknown key; did you mean model.cell?",
        ),
        (["translate", "dates", "--n-best", "0"], "expected a whole number of at least 1, got 0"),
        (["diff", "a", "b", "--", "--runner=X"], "diff runs no Beam pipeline: expected nothing after --"),
    ],
)
def test_wrong_use_is_one_line(calls, capsys, arguments, message):
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("heliograph: error: ") and message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("a.txt: broken\nhere"), 1, "heliograph: error: a.txt: broken here\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "heliograph: error: /x: Permission denied\n"),
        (OSError(28, "No space left on device"), 1, "heliograph: error: [Errno 28] No space left on device\n"),
        (KeyboardInterrupt("Trainer keeps nothing"), 130, "heliograph: interrupted: Trainer keeps nothing\n"),
        (KeyboardInterrupt(), 130, "heliograph: interrupted\n"),
    ],
)
def test_failures_are_one_line(calls, monkeypatch, capsys, error, code, message):
    failing(monkeypatch, error)
    assert cli.main(["status", "dates"]) == code
    assert capsys.readouterr() == ("", message)


def test_a_bug_keeps_its_traceback(calls, monkeypatch):
    failing(monkeypatch, ZeroDivisionError("bug"))
    before = logging.getLogger().handlers[:]
    with pytest.raises(ZeroDivisionError):
        cli.main(["status", "dates"])
    assert logging.getLogger().handlers == before and logging.getLogger("heliograph").handlers == []


def test_a_root_that_beam_would_take_for_a_pattern(calls, capsys):
    assert cli.main(["run", "dates", "--root", "runs[1]"]) == 2
    assert "runs[1]: Beam reads *, ? and [ in a path as wildcards" in capsys.readouterr().err


def test_a_remote_root_is_refused(calls, capsys, tmp_path):
    for command in (["run", "dates"], ["clean"], ["clean", "dates"], ["lineage", "0123"], ["diff", "a", "b"]):
        assert cli.main([*command, "--root", "gs://b/x"]) == 2
        err = capsys.readouterr().err
        assert "--root gs://b/x: expected a folder of this machine" in err and len(err.splitlines()) == 1
    assert not calls and not list(tmp_path.iterdir())


def test_a_root_that_cannot_be_written(calls, capsys, tmp_path):
    (tmp_path / "file").touch()
    assert cli.main(["run", "dates", "--root", "file/below"]) == 1
    assert capsys.readouterr().err == "heliograph: error: file/below: Not a directory\n"


def test_a_closed_pipe_is_quiet():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "pipeline", "--help"]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


LIGHT = """
import sys
from pipeline.cli import main
main([sys.argv[1], "dates", "--root", sys.argv[2]])
print(sorted({"apache_beam", "keras", "tensorflow"} & set(sys.modules)))
"""


def test_status_is_instant_without_tensorflow(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, "status", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]" and done.stderr == ""
