"""Lineage and diff, on artifacts that are made by hand."""

import json
import re
import shutil
from datetime import timedelta

import pytest

from pipeline import artifacts
from pipeline.cli import main
from pipeline.diff import differences, of_lineage, of_root
from pipeline.errors import UsageError
from pipeline.lineage import for_card, of_artifact, of_card, resolve
from pipeline.lineage_tree import tree
from serving.model_card import write_card
from tests.pipeline.test_artifacts import NOW


def make(root, component, number, inputs=(), content="x", files=None, outputs=("out.txt",), **options):
    path = root / component / f"{number:012x}"
    artifacts.prepare(path)
    for name in outputs:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content)
    given = {
        "version": 1,
        "external_files": files or {},
        "parameters": {},
        "metrics": {},
        "started": NOW,
        "ended": NOW + timedelta(seconds=90),
        "command": "heliograph run my.toml",
    }
    made = {item.manifest.component: item for item in inputs}
    return artifacts.publish(path, component=component, inputs=made, **{**given, **options})


def chain(root, epochs=10, bleu=20.0, train="1" * 64, content="weights"):
    """ExampleGen ─▶ Trainer ─▶ Evaluator ─▶ Exporter, with a version in its folder."""
    data = make(root, "ExampleGen", 1, files={"source[0] train.de": train}, packages={"babel": "2.17.0"})
    parameters = {"training": {"epochs": epochs, "seed": 1}}
    trainer = make(root, "Trainer", epochs, [data], content, parameters=parameters, metrics={"perplexity": 4.5})
    evaluator = make(root, "Evaluator", 3, [data, trainer], str(bleu), metrics={"bleu": bleu, "seconds": bleu})
    path = root / "Exporter" / f"{4:012x}"
    artifacts.prepare(path)
    version = path / "my" / "1"
    (version / "assets.extra").mkdir(parents=True)
    (version / "saved_model.pb").write_text(content)
    write_card(version, {"lineage": for_card(path.name, [trainer.path, evaluator.path])})
    exporter = artifacts.publish(
        path,
        component="Exporter",
        version=1,
        inputs={"Trainer": trainer, "Evaluator": evaluator},
        external_files={},
        parameters={},
        metrics={},
        started=NOW,
        ended=NOW,
    )
    return exporter, version


def pushed(root, exporter, version, base):
    shutil.copytree(version, base / "7")
    return make(root, "Pusher", 5, [exporter], metrics={"version": 7})


KEYS = [
    "Exporter/000000000004",
    "Trainer/00000000000a",
    "ExampleGen/000000000001",
    "Evaluator/000000000003",
]


def test_all_ancestors_are_known(tmp_path):
    exporter, _ = chain(tmp_path)
    found = of_artifact(exporter)
    assert found.start == KEYS[0] and list(found.nodes) == KEYS
    assert found.nodes[KEYS[2]].external_files == {"source[0] train.de": "1" * 64}
    document = json.loads(json.dumps(found.document()))
    assert document["artifacts"][KEYS[1]]["metrics"] == {"perplexity": 4.5}
    assert document["artifacts"][KEYS[1]]["inputs"]["ExampleGen"]["id"] == KEYS[2].split("/")[1]


def test_what_is_gone_or_replaced_is_said(tmp_path):
    exporter, _ = chain(tmp_path)
    make(tmp_path, "Trainer", 10, content="others")
    assert of_artifact(exporter).nodes[KEYS[1]].note == "made again since, with another output"
    artifacts.remove(tmp_path / KEYS[1])
    found = of_artifact(exporter)
    assert found.nodes[KEYS[1]].note == "no longer there" and KEYS[2] in found.nodes
    assert "Trainer 00000000000a  no longer there" in tree(found, {})


def test_a_published_version_leads_back(tmp_path):
    root, base = tmp_path / "runs" / "my", tmp_path / "srv" / "my"
    exporter, version = chain(root)
    pusher = pushed(root, exporter, version, base)
    found = resolve(str(base / "7"), [tmp_path / "runs" / "none", root])
    assert found.start == f"Pusher/{pusher.id}" and set(KEYS) < set(found.nodes)
    assert resolve(str(version), []).start == KEYS[0]
    # Elsewhere, the card alone tells which data and parameters it was made of, but no times.
    told = resolve(str(base / "7"), [])
    assert list(told.nodes) == KEYS and "told by the model card" in told.nodes[KEYS[0]].note
    assert told.nodes[KEYS[2]].external_files and told.nodes[KEYS[1]].parameters["training"]["epochs"] == 10
    assert told.nodes[KEYS[1]].ended is None and told.nodes[KEYS[1]].command is None
    # Another export of the same id is not its origin.
    (base / "7" / "saved_model.pb").write_text("others")
    assert "told by the model card" in resolve(str(base / "7"), [root]).nodes[KEYS[0]].note


def test_a_card_is_the_same_whenever_it_is_written(tmp_path):
    cards = []
    for number, later in enumerate((NOW, NOW + timedelta(days=1))):
        root = tmp_path / str(number)
        data = make(root, "ExampleGen", 1, ended=later, command=f"run {number}")
        trainer = make(root, "Trainer", 2, [data], ended=later, metrics={"seconds": number})
        cards.append(json.dumps(for_card("4" * 12, [trainer.path])))
    assert cards[0] == cards[1] and str(tmp_path) not in cards[0]
    assert of_card({"lineage": json.loads(cards[0])}).start == f"Exporter/{'4' * 12}"


def test_an_id_or_its_beginning_is_enough(tmp_path):
    exporter, _ = chain(tmp_path)
    make(tmp_path, "Trainer", 0xABCD00000001)
    make(tmp_path, "Trainer", 0xABCD10000001)
    assert resolve(exporter.id, [tmp_path]).start == KEYS[0]
    assert resolve("abcd1", [tmp_path]).start == "Trainer/abcd10000001"
    for name, message in (
        ("abcd", "abcd00000001.*abcd10000001"),
        ("abc", "found none"),
        ("effe", "in .*, found none; give --root DIR"),
        (str(tmp_path), "expected the folder of an artifact"),
    ):
        with pytest.raises(UsageError, match=message):
            resolve(name, [tmp_path])


def test_a_version_that_is_not_there_is_told_those_that_are(tmp_path):
    _, version = chain(tmp_path)
    base = tmp_path / "srv" / "my"
    for number in (10, 7):
        shutil.copytree(version, base / str(number))
    with pytest.raises(UsageError, match=f"{base}/9: no such version; {base} has 7, 10$"):
        resolve(str(base / "9"), [tmp_path])
    with pytest.raises(UsageError, match=f"whose model card tells its lineage; {base} has 7, 10$"):
        resolve(str(base), [tmp_path])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"lineage": ',
            "model_card.json: expected a model card, found something else .*; roll back to another version, or",
        ),
        ("[]", "model_card.json: expected a model card, found something else .a JSON list."),
        ('{"lineage": {"start": "a/b"}}', "model_card.json: its lineage is not one that this version can read"),
        ('{"lineage": {"start": "a/b", "artifacts": {}}}', "its lineage is not one that this version can read"),
        ('{"lineage": []}', "its lineage is not one that this version can read"),
    ],
)
def test_a_broken_card_is_one_line(tmp_path, capsys, content, message):
    card = tmp_path / "my" / "3" / "assets.extra" / "model_card.json"
    card.parent.mkdir(parents=True)
    card.write_text(content)
    assert main(["lineage", str(tmp_path / "my" / "3")]) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line)


def test_the_tree_tells_what_is_not_the_default(tmp_path):
    exporter, _ = chain(tmp_path)
    text = tree(of_artifact(exporter), {"training": {"epochs": 5, "seed": 1}}).splitlines()
    assert text[0].startswith("Exporter 000000000004  2026-01-02 00:00 UTC, took 0 s, code version 1, sources ")
    assert text[1].startswith("├─ Trainer 00000000000a  2026-01-02 00:01 UTC, took 90 s, ")
    assert text[2] == "│  │  command     heliograph run my.toml"
    assert text[3] == "│  │  parameters  training.epochs 10" and text[4] == "│  │  metrics     perplexity 4.5"
    assert text[5].startswith("│  └─ ExampleGen 000000000001  ")
    assert text[6] == "│        packages    babel 2.17.0"
    assert text[7] == f"│        file        source[0] train.de  SHA-256 {'1' * 12}"
    assert text[8].startswith("└─ Evaluator") and text[-1] == "   └─ Trainer 00000000000a  (see above)"


def test_two_runs_differ_in_a_line_each(tmp_path, monkeypatch):
    one, other = tmp_path / "one", tmp_path / "other"
    chain(one)
    assert differences(of_root(one), of_root(one)) == []
    monkeypatch.setattr(artifacts, "code_hash", lambda: "c" * 64)
    monkeypatch.setattr(artifacts, "versions", lambda: {"tensorflow": "9.9"})
    exporter, _ = chain(other, epochs=20, bleu=21.25, train="2" * 64, content="better")
    make(other, "Pusher", 5)
    found = differences(of_root(one), of_root(other))
    components = "Evaluator, ExampleGen, Exporter, Trainer"
    assert {line.split("  ")[0] for line in found if "tensorflow" in line} == {components}
    assert sum("sources " in line and line.endswith("-> cccccccccccc") for line in found) == 1
    assert [line for line in found if not any(word in line for word in ("sources", "(absent)", "tensorflow"))] == [
        "Evaluator  bleu 20 -> 21.25 (+1.25)",
        "ExampleGen  files changed: train.de",
        "Trainer  training.epochs 10 -> 20",
        "Pusher  only in the second",
    ]
    lineages = [of_lineage(of_artifact(item)) for item in (artifacts.find(one, "Exporter", exporter.id), exporter)]
    assert list(lineages[0]) == ["ExampleGen", "Trainer", "Evaluator", "Exporter"]
    assert "Trainer  training.epochs 10 -> 20" in differences(*lineages)


def test_other_outputs_without_a_cause_are_told(tmp_path):
    roots = [tmp_path / name for name in "ab"]
    for root, content in zip(roots, ("one", "other"), strict=True):
        make(root, "Trainer", 1, content=content)
    assert differences(*map(of_root, roots)) == ["Trainer  another output of the same inputs"]


def test_what_a_model_was_compared_with_is_no_ancestor_to_diff(tmp_path):
    """Two pushed versions, the second judged against the first: their own trainings are compared."""
    found = []
    for number, epochs in enumerate((10, 20), start=1):
        trainer = make(tmp_path, "Trainer", epochs, content=str(epochs), parameters={"training": {"epochs": epochs}})
        evaluator = make(tmp_path, "Evaluator", number, [trainer], str(epochs))
        inputs = {"Evaluator": evaluator, **({"Evaluator baseline": found[0][0]} if found else {})}
        path = tmp_path / "ModelValidator" / f"{number:012x}"
        artifacts.prepare(path)
        given = {"version": 1, "external_files": {}, "parameters": {}, "metrics": {}, "started": NOW, "ended": NOW}
        verdict = artifacts.publish(path, component="ModelValidator", inputs=inputs, **given)
        found.append((evaluator, of_lineage(of_artifact(make(tmp_path, "Pusher", number, [verdict])))))
    assert "Trainer  training.epochs 10 -> 20" in differences(found[0][1], found[1][1])
