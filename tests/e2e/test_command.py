"""The command as a person uses it, in processes of its own."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from pipeline import cli
from tests.file_server import serve
from tests.pipeline.conftest import write_corpus
from tests.pipeline.test_components import NAMES

ROOT = Path(__file__).parents[2]

TOML = """
[data]
source = "words.txt"
target = "figures.txt"
"""

SMALL = (
    "--set=model.hidden_size=16",
    "--set=model.embedding_size=8",
    "--set=model.num_layers=1",
    "--set=training.epochs=1",
    "--set=evaluation.samples=2",
)


def heliograph(*arguments, cwd, environment=None, **options) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **(environment or {}), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        **options,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("person")
    write_corpus(folder, pairs=300)
    (folder / "my.toml").write_text(TOML)
    return folder


@pytest.fixture(scope="module")
def first_run(folder) -> subprocess.CompletedProcess[str]:
    return heliograph("run", "my.toml", *SMALL, cwd=folder)


def test_run_reports_on_standard_output_and_progress_on_standard_error(folder, first_run):
    assert first_run.returncode == 0, first_run.stderr
    for expected in ("perplexity", "free-running perplexity", "exact match", "BLEU", "chrF", "nrefs:1|case:lc"):
        assert expected in first_run.stdout
    assert first_run.stdout.count("  translation  ") == 2
    commands = first_run.stdout.split("Next:\n")[1].splitlines()
    for command, expected in zip(commands, ("translate my.toml", "--logdir runs/my", "status my.toml"), strict=True):
        assert expected in command
    saved_model = re.search(r"^SavedModel +(\S+)$", first_run.stdout, re.MULTILINE)
    assert (folder / saved_model[1] / "saved_model.pb").is_file()
    page = (folder / re.search(r"^Report +(\S+)$", first_run.stdout, re.MULTILINE)[1]).read_text()
    for expected in (
        "pairs read",
        "Length, source",
        "Perplexity, fed the reference",
        "sacrebleu",
        "The worst",
        "Does it",
    ):
        assert expected in page
    for component in NAMES:
        assert re.search(rf"^{component} +done in", first_run.stderr, re.MULTILINE)
        assert f'id="{component}-' in page
    assert "Traceback" not in first_run.stderr and "Warning" not in first_run.stderr


def test_a_second_run_repeats_nothing_and_says_the_same(folder, first_run):
    again = heliograph("run", "my.toml", *SMALL, cwd=folder)
    assert again.returncode == 0 and again.stdout == first_run.stdout
    assert again.stderr.count("up to date") == len(NAMES) and "done in" not in again.stderr


def test_status_lists_the_components(folder, first_run):
    answer = heliograph("status", "my.toml", *SMALL, cwd=folder)
    assert answer.returncode == 0 and answer.stdout.count("up to date") == len(NAMES)
    assert re.search("^blessed: BLEU .* no other blessed model", answer.stdout, re.MULTILINE)


def test_report_draws_what_is_there_without_tensorflow(folder, first_run):
    page = folder / "runs" / "my" / "report.html"
    whole = page.read_text()
    page.unlink()
    again = heliograph("report", "my.toml", *SMALL, cwd=folder)
    assert (again.returncode, again.stdout, again.stderr) == (0, "runs/my/report.html\n", "")
    assert page.read_text() == whole
    code = "import sys; from pipeline.cli import main; main(sys.argv[1:]); assert 'tensorflow' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, "report", "my.toml", *SMALL]
    assert subprocess.run(command, cwd=folder, env=environment, capture_output=True).returncode == 0


def test_other_search_options_do_not_train_again(folder, first_run):
    again = heliograph("evaluate", "my.toml", *SMALL, "--set=search.beam_size=2", cwd=folder)
    assert again.returncode == 0
    assert re.search(r"Trainer +up to date", again.stderr) and re.search(r"Evaluator +done in", again.stderr)


def test_an_ensemble_takes_over_what_is_trained_and_translates(folder, first_run):
    ensemble = (*SMALL, "--set=ensemble.seeds=[1, 2]", "--set=search.shortlist=2", "--set=search.shortlist_frequent=5")
    run = heliograph("run", "my.toml", *ensemble, cwd=folder)
    assert run.returncode == 0, run.stderr
    assert re.search(r"Trainer seed 1 +up to date", run.stderr)
    for component in ("Trainer seed 2", "ShortlistGen", "Ensembler", "Evaluator", "Exporter", "InfraValidator"):
        assert re.search(rf"^{component} +done in", run.stderr, re.MULTILINE)
    alone = heliograph("train", "my.toml", *SMALL, "--set=training.seed=2", cwd=folder)
    assert re.search(r"Trainer +up to date", alone.stderr)
    saved_model = re.search(r"^SavedModel +(\S+)$", run.stdout, re.MULTILINE)[1]
    card = json.loads((folder / saved_model / "assets.extra" / "model_card.json").read_text())
    assert card["configuration"]["model"]["hidden_size"] == 16 and card["configuration"]["ensemble"] == {
        "seeds": [1, 2]
    }
    assert any(key.startswith("ShortlistGen/") for key in card["lineage"]["artifacts"])
    lines = "eins zwei.\n\nneun\n"
    answers = [
        heliograph("translate", "my.toml", *options, "-", cwd=folder, input=lines).stdout
        for options in (ensemble, ("--model", saved_model))
    ]
    assert answers[0] == answers[1] and answers[0].count("\n") == 3
    # The ensemble was blessed since: the single model is judged anew, next to it, and nothing else is repeated.
    again = heliograph("run", "my.toml", *SMALL, cwd=folder)
    assert re.search(r"^ModelValidator +done in", again.stderr, re.MULTILINE) and again.stderr.count("done in") == 1
    assert "the last blessed model's (Evaluator" in again.stdout
    assert heliograph("status", "my.toml", *SMALL, cwd=folder).stdout.count("up to date") == len(NAMES)


def test_translate_answers_line_by_line(folder, first_run):
    answer = heliograph("translate", "my.toml", *SMALL, "-", cwd=folder, input="eins zwei.\n\nneun\n")
    assert answer.returncode == 0 and answer.stdout.count("\n") == 3 and answer.stderr == ""


def test_the_exported_model_is_validated_and_says_what_stands_behind_it(folder, first_run):
    saved_model = folder / re.search(r"^SavedModel +(\S+)$", first_run.stdout, re.MULTILINE)[1]
    card = json.loads((saved_model / "assets.extra" / "model_card.json").read_text())
    assert card["name"] == "my" and card["configuration"]["model"]["hidden_size"] == 16
    assert "bleu" in card["metrics"]["figures"] and set(card["vocabularies"]) == {
        f"{side}.vocabulary.tsv" for side in ("source", "target")
    }
    assert str(folder) not in json.dumps(card)
    assert "models.config" in os.listdir(saved_model.parents[1] / "tf_serving")
    answer = heliograph("validate", str(saved_model.parent), cwd=folder)
    assert answer.returncode == 0, answer.stderr
    assert re.match(r"lint +passed +0 findings\nsession +passed +\d+ requests answered alike", answer.stdout)
    (saved_model / "assets.extra" / "tf_serving_warmup_requests").unlink()
    answer = heliograph("validate", str(saved_model), cwd=folder)
    assert answer.returncode == 1 and re.match(r"lint +FAILED +1 finding\n +.*missing", answer.stdout)
    assert "not fit to be served" in answer.stderr and "Traceback" not in answer.stderr


def test_a_model_is_published_once_and_again_if_it_is_gone(folder, first_run):
    command = ["push", "my.toml", *SMALL, "--set=serving.push_to=srv"]
    assert "serving.push_to: expected the folder" in heliograph("push", "my.toml", *SMALL, cwd=folder).stderr
    for state in ("done in", "up to date", "done in"):
        answer = heliograph(*command, cwd=folder)
        assert answer.returncode == 0 and re.search(rf"^Pusher +{state}", answer.stderr, re.MULTILINE), answer.stderr
        assert [path.name for path in (folder / "srv" / "my").iterdir()] == ["1"]
        if state == "up to date":
            shutil.rmtree(folder / "srv")
    (pusher,) = (folder / "runs/my/Pusher").iterdir()
    told = heliograph("lineage", "srv/my/1", "--json", cwd=folder)
    assert told.returncode == 0, told.stderr
    lineage = json.loads(told.stdout)
    assert lineage["start"] == f"Pusher/{pusher.name}"
    components = {name.split("/")[0]: node for name, node in lineage["artifacts"].items()}
    assert components.keys() >= {"ExampleGen", "Transform", "Trainer", "Evaluator", "Exporter", "InfraValidator"}
    digest = hashlib.sha256((folder / "words.txt").read_bytes()).hexdigest()
    assert components["ExampleGen"]["external_files"]["source[0] words.txt"] == digest
    assert components["Pusher"]["command"].startswith("heliograph push my.toml --set=model.hidden_size=16")
    shutil.copytree(folder / "srv/my/1", folder / "elsewhere/1")
    (folder / "elsewhere/1/variables/variables.index").write_bytes(b"")
    told = heliograph("lineage", "elsewhere/1", cwd=folder)
    assert told.returncode == 0 and "told by the model card" in told.stdout and digest[:12] in told.stdout
    answer = heliograph("rollback", "srv/my", cwd=folder)
    assert answer.returncode == 2 and "expected a version before the current one, found 1" in answer.stderr


def test_what_is_not_blessed_is_not_published(folder, first_run, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    options = [*SMALL, "--set=evaluation.bless_minimum=101", "--set=serving.push_to=never"]
    for _ in range(2):
        assert cli.main(["push", "my.toml", *options]) == 1
        answer = capfd.readouterr()
        check_complaint(answer.out, answer.err, "my: not blessed, so not pushed: BLEU")
        assert "is not as good as evaluation.bless_minimum = 101" in answer.err and not (folder / "never").exists()
    assert cli.main(["status", "my.toml", *options]) == 0
    assert re.search("^not blessed: BLEU", capfd.readouterr().out, re.MULTILINE)
    assert re.search("^blessed: BLEU", first_run.stdout, re.MULTILINE)


def test_serve_answers_until_it_is_told_to_stop(folder, first_run):
    command = [sys.executable, "-m", "pipeline", "serve", "my.toml", *SMALL, "--rest-port=0", "--grpc-port=0"]
    command += ["--label=stable=1", "--max-rows=2", "--batching", "--max-enqueued-batches=9"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            lines = []
            while not lines or not lines[-1].startswith("curl "):
                lines.append(process.stderr.readline())
                assert process.poll() is None, lines
            rest, rpc = re.search(r"REST (\S+) +gRPC (\S+)", "".join(lines)).groups()
            text = "eins zwei.\n\nneun\n"
            answers = [
                heliograph("translate", "my.toml", *SMALL, *where, "--batch-size=2", "-", cwd=folder, input=text)
                for where in ((), (f"--endpoint={rest}",), (f"--endpoint={rpc}",))
            ]
            assert [answer.returncode for answer in answers] == [0, 0, 0], answers[1].stderr
            assert answers[0].stdout == answers[1].stdout == answers[2].stdout
            texts = ["eins", "neun"]
            labelled = httpx.post(f"{rest}/labels/stable:predict", json={"instances": texts}, timeout=60)
            assert len(labelled.json()["predictions"]) == 2
            refused = httpx.post(f"{rest}:predict", json={"instances": [*texts, "x"]}, timeout=60)
            assert refused.status_code == 400 and "at most 2 rows" in refused.json()["error"]
            process.send_signal(signal.SIGTERM)
            _, rest_of = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0 and "Traceback" not in rest_of
    gone = heliograph("translate", "my.toml", *SMALL, f"--endpoint={rest}", "-", cwd=folder, input=text)
    assert gone.returncode == 1 and "cannot be reached" in gone.stderr and "Traceback" not in gone.stderr


def test_a_corpus_is_translated_as_its_lines_are(folder, first_run):
    saved_model = re.search(r"^SavedModel +(\S+)$", first_run.stdout, re.MULTILINE)[1]
    (folder / "shard.txt").write_text("eins zwei.\n\nneun\n")
    answer = heliograph("translate-corpus", str(Path(saved_model).parent), "shard.t*", "translated", cwd=folder)
    assert answer.returncode == 0 and "lines\t3" in answer.stdout, answer.stderr
    lines = heliograph("translate", "my.toml", *SMALL, "shard.txt", cwd=folder).stdout
    assert (folder / "translated" / "shard.txt").read_text() == lines


def manifests(folder):
    return sorted((folder / "runs/my/Trainer").glob("*/manifest.json"))


def test_a_sweep_ranks_what_it_trained_and_goes_on_where_something_failed(folder):
    command = ["sweep", "my.toml", *SMALL, "--root=swept", "--grid=data.directory=.,absent", "--json=sweep.json"]
    first = heliograph(*command, "--grid=model.hidden_size=8", cwd=folder)
    assert first.returncode == 1 and "1 of 2 trials failed" in first.stderr and "Traceback" not in first.stderr
    again = heliograph(*command, "--grid=model.hidden_size=8,12", cwd=folder)
    assert again.returncode == 1 and len(re.findall("^Trainer +done in", again.stderr, re.MULTILINE)) == 1
    assert len(list((folder / "swept" / "Trainer").glob("*/manifest.json"))) == 2  # one of them by the first sweep
    assert not (folder / "swept" / "Evaluator").exists()  # the test split plays no part
    found = json.loads((folder / "sweep.json").read_text())
    trained, failed = found["trials"][:2], found["trials"][2:]
    assert found["by"] == "perplexity"
    assert trained[0]["metrics"]["perplexity"] < trained[1]["metrics"]["perplexity"]
    assert {trial["values"]["model.hidden_size"] for trial in trained} == {8, 12}
    assert all("absent" in trial["failure"] for trial in failed) and len(failed) == 2
    rows = again.stdout.splitlines()
    assert rows[1].split()[0] == "1" and rows[1].endswith(trained[0]["trainer"])
    assert sum(" failed: data.source: no such file" in row for row in rows) == 2
    assert f"model.hidden_size={trained[0]['values']['model.hidden_size']}" in again.stdout.split("Next:\n")[1]
    logs = re.search(r"tensorboard --logdir (\S+)", again.stdout)[1]
    assert len(list((folder / logs).glob("*/events.*"))) == 4


def test_ctrl_c_during_training_is_one_line_and_leaves_no_artifact(folder, first_run):
    command = [sys.executable, "-m", "pipeline", "train", "my.toml", *SMALL, "--set=training.epochs=10000"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    before = manifests(folder)
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            while not process.stderr.readline().startswith("epoch 2/"):
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, rest = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in rest and rest.strip().splitlines()[-1].startswith("heliograph: interrupted")
    assert manifests(folder) == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "absent.toml"], 2, "absent.toml"),
        (["run", "my.toml", "--set=model.hiden_size=3"], 2, "hidden_size"),
        (["run", "my.toml", "--set=model.hidden_size=big"], 2, "model.hidden_size"),
        (["run", "my.toml", "--set=data.source=absent.txt"], 1, "absent.txt"),
        (["run", "my.toml", "--set=data.source=empty.txt", "--set=data.target=empty.txt"], 1, "empty.txt"),
        (["run", "my.toml", "--set=data.source=short.txt"], 1, "short.txt"),
        (["run", "my.toml", "--root=words.txt"], 1, "words.txt"),
        (["translate", "my.toml", "--set=training.seed=99"], 2, "heliograph train my.toml"),
        (["validate", "words.txt"], 2, "words.txt"),
        (["translate-corpus", "runs", "words.txt", "out"], 2, "runs: expected the folder of a SavedModel"),
        (["serve", "my.toml", "--set=training.seed=98"], 2, "heliograph export my.toml"),
        (["serve", "my.toml", "--max-batch-size=3"], 2, "--max-batch-size: expected --batching"),
        (["serve", "my.toml", "--label=stable"], 2, "expected NAME=VERSION"),
        (["serve", "runs", "--root=runs"], 2, "runs: a folder of versions: expected neither --set nor --root"),
        (["serve", "runs"], 1, "runs: expected versions, folders named by numbers, found none"),
        (["translate", "my.toml", "--endpoint=localhost", "-"], 2, "--endpoint: endpoint must be http://"),
        (["run", "my.toml", "--", "--no_such_beam_option"], 1, "no_such_beam_option"),
    ],
)
def test_a_mistake_is_one_line(folder, first_run, arguments, code, message, monkeypatch, capfd):
    """In this process: each of its own would take seconds to begin."""
    (folder / "empty.txt").write_bytes(b"")
    (folder / "short.txt").write_text("eins\n")
    before = time.time()
    monkeypatch.chdir(folder)
    returned = cli.main(arguments)
    answer = capfd.readouterr()
    assert returned == code, answer.err
    check_complaint(answer.out, answer.err, message)
    assert not [path for path in (folder / "runs").rglob("manifest.json") if path.stat().st_mtime > before]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [(["run", "absent.toml"], 2, "absent.toml"), (["run", "my.toml", "--set=data.source=absent.txt"], 1, "absent.txt")],
)
def test_a_mistake_is_the_exit_code_of_the_process(folder, arguments, code, message):
    answer = heliograph(*arguments, cwd=folder)
    assert answer.returncode == code
    check_complaint(answer.stdout, answer.stderr, message)


def check_complaint(out, err, message):
    errors = [line for line in err.splitlines() if line.startswith("heliograph: error: ")]
    assert len(errors) == 1 and message in errors[0] and "Traceback" not in err and out == ""


def test_a_corpus_is_downloaded_checked_and_kept(tmp_path):
    (tmp_path / "corpus").mkdir()
    write_corpus(tmp_path / "corpus", pairs=50)
    pages = {f"/{path.name}": path.read_bytes() for path in (tmp_path / "corpus").iterdir()}
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    with serve(pages) as server:
        downloads = "".join(
            f'[[data.download]]\nname = "{page[1:]}"\nurl = "{server.url(page)}"\n'
            f'sha256 = "{hashlib.sha256(content).hexdigest()}"\n'
            for page, content in pages.items()
        )
        (tmp_path / "my.toml").write_text(TOML + downloads)
        first = heliograph("preprocess", "my.toml", cwd=tmp_path, environment=cache)
        assert first.returncode == 0, first.stderr
        assert sorted(server.asked) == sorted(pages)
    again = heliograph("preprocess", "my.toml", "--root", "elsewhere", cwd=tmp_path, environment=cache)
    assert again.returncode == 0, again.stderr
    shutil.rmtree(tmp_path / "cache")
    without = heliograph("preprocess", "my.toml", "--root", "nowhere", cwd=tmp_path, environment=cache)
    assert without.returncode == 1 and without.stdout == ""
    assert "cannot be downloaded" in without.stderr and "Traceback" not in without.stderr
    assert not list((tmp_path / "nowhere").rglob("manifest.json"))
