import dataclasses
import logging

import pytest

from pipeline.component import Component, keys_of
from pipeline.locks import exclusive
from pipeline.plan import inspect, lines
from pipeline.runner import run
from preprocessing.errors import DataError, RefusedError


class Chain:
    """Read ─▶ Fit ─▶ Judge; Fit's output is what `letters` says of Read's."""

    def __init__(self, root):
        self.root, self.files, self.done = root, {"source[0] train.de": "1", "target[0] train.en": "2"}, []
        self.letters, self.parameters = "abc", {"training": {"epochs": 10, "seed": 1}, "model": {"tied": "none"}}
        self.changes = {}

    def components(self):
        def step(name, text):
            def execute(inputs, output):
                self.done.append(name)
                (output / "out.txt").write_text(text())
                return {}

            return execute

        chain = (
            Component(
                name="Read", version=1, external_files=lambda: self.files, execute=step("Read", lambda: self.letters)
            ),
            Component(
                name="Fit",
                version=3,
                packages={"keras": "3.15"},
                inputs=("Read",),
                parameters=self.parameters,
                execute=step("Fit", str),
                resumes_from="scratch",
            ),
            Component(name="Judge", version=1, inputs=("Read", "Fit"), execute=step("Judge", str)),
        )
        return [dataclasses.replace(item, **self.changes.get(item.name, {})) for item in chain]

    def plan(self, rerun=()):
        planned = lines(inspect(self.components(), self.root, rerun))
        return [line.split("  ", 1)[1].strip() for line in planned]

    def run(self, **options):
        self.done.clear()
        done = run(self.components(), self.root, **options)
        return list(self.done), done


@pytest.fixture
def chain(tmp_path):
    return Chain(tmp_path)


def up_to_date(done):
    return [f"up to date ({artifact.id})" for artifact in done.values()]


def test_it_says_what_is_cached_and_what_was_never_executed(chain):
    assert chain.plan() == ["runs: never executed"] * 3
    _, done = chain.run()
    assert chain.plan() == up_to_date(done)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda chain: chain.parameters["training"].update(epochs=20), "training.epochs 10 -> 20"),
        (
            lambda chain: chain.parameters["training"].update(epochs=20, seed=None),
            "training.epochs 10 -> 20, training.seed 1 -> null",
        ),
        (lambda chain: chain.parameters["model"].update(tied="all"), "model.tied none -> all"),
        (lambda chain: chain.parameters["model"].pop("tied"), "model.tied none -> (absent)"),
        (lambda chain: chain.parameters["model"].update(size=1), "model.size (absent) -> 1"),
        (lambda chain: chain.changes.update(Fit={"version": 4}), "code version 3 -> 4"),
        (lambda chain: chain.changes.update(Fit={"packages": {"keras": "3.16"}}), "keras 3.15 -> 3.16"),
    ],
)
def test_it_names_what_changed(chain, change, reason):
    chain.run()
    change(chain)
    read, fit, judge = chain.plan()
    assert read.startswith("up to date") and judge == "runs if the output of Fit changes"
    assert fit.startswith("runs: ") and reason in fit
    assert chain.run()[0] == ["Fit"]  # with the output that it had


def test_a_long_list_of_reasons_is_cut(chain):
    chain.parameters["model"] = dict.fromkeys("abcdefg", 0)
    chain.run()
    chain.parameters["model"] = dict.fromkeys("abcdefg", 1)
    assert chain.plan()[1] == "runs: model.a 0 -> 1, model.b 0 -> 1, model.c 0 -> 1, model.d 0 -> 1, 3 more changes"


def test_files_and_what_follows_from_them(chain):
    chain.run()
    chain.files = {"source[0] train.de": "9", "target[0] train.en": "2", "test_source[0] test.de": "3"}
    assert chain.plan() == [
        "runs: files changed: train.de, files added: test.de",
        "runs if the output of Read changes",
        "runs if the output of Read or Fit changes",
    ]
    assert chain.run()[0] == ["Read"]
    chain.files, chain.letters = {"source[0] train.de": "9"}, "xyz"
    chain.parameters["training"]["epochs"] = 20
    assert chain.plan()[:2] == ["runs: files removed: train.en, test.de", "runs: training.epochs 10 -> 20"]
    run(chain.components()[:1], chain.root)
    assert chain.plan()[1:] == [
        "runs: training.epochs 10 -> 20, input Read changed",
        "runs: input Read changed",
    ]
    assert chain.run()[0] == ["Fit", "Judge"]


def test_what_was_cached_before_needs_no_reason(chain):
    """An older artifact that has all that is known makes it uncertain, whatever the newest has."""
    chain.run()
    chain.parameters["training"]["epochs"] = 20
    chain.run()
    chain.parameters["training"]["epochs"] = 10
    chain.files = {}
    assert chain.plan() == [
        "runs: files removed: train.de, train.en",
        "runs if the output of Read changes",
        "runs if the output of Read or Fit changes",
    ]


def test_what_a_crash_left_is_told(chain):
    _, done = chain.run()
    (done["Fit"].path / "manifest.json").unlink()
    assert chain.plan()[1:] == ["runs: an execution did not finish", "runs if the output of Fit changes"]
    with exclusive(done["Fit"].path.with_name(f"{done['Fit'].id}.lock"), pytest.fail):
        assert chain.plan()[1] == "runs: another process is executing it"
    (done["Fit"].path / "scratch").mkdir()
    assert chain.plan()[1] == "runs: goes on from an interrupted execution"
    (done["Judge"].path / "out.txt").unlink()
    chain.run(until="Fit")
    assert chain.plan()[2] == f"runs: {done['Judge'].path}/out.txt: lost or truncated since it was written"


def test_an_interrupted_execution_is_of_use_if_its_inputs_may_come_out_as_they_were(chain):
    """As its artifact would be: so its checkpoints stay."""

    def interrupted(inputs, output):
        raise KeyboardInterrupt

    source = Component(name="Source", version=1, execute=lambda inputs, output: {})

    def used():
        return {state.component: state.ids for state in inspect([source, *chain.components()], chain.root)}

    chain.changes["Fit"] = {"execute": interrupted}
    chain.changes["Read"] = {"inputs": ("Source",)}
    with pytest.raises(KeyboardInterrupt):
        run([source, *chain.components()], chain.root)
    (begun,) = (path.name for path in (chain.root / "Fit").iterdir())
    assert used()["Fit"] == (begun,)
    source = dataclasses.replace(source, version=2)  # Read may be up to date nevertheless
    assert used()["Fit"] == (begun,)
    chain.parameters["training"]["epochs"] = 20
    assert begun not in used()["Fit"]
    chain.parameters["training"]["epochs"] = 10
    chain.changes["Read"]["version"] = 2  # what Read leaves now is not used
    assert used()["Fit"] == ()


def test_what_was_refused_is_told_until_it_passes(chain):
    def refuse(inputs, output):
        raise RefusedError("BLEU 3.00 is not enough")

    chain.changes["Judge"] = {"execute": refuse}
    for _ in range(2):
        with pytest.raises(RefusedError):
            chain.run()
        assert chain.plan()[2] == "runs: refused before: BLEU 3.00 is not enough"
    state = inspect(chain.components(), chain.root)[2]
    assert (state.state, state.artifact, len(state.ids)) == ("refused", None, 1)
    assert chain.plan(rerun=["Judge"])[2] == "runs: asked for"
    chain.changes["Judge"] = {"execute": refuse, "parameters": {"enough": 2.0}}
    assert chain.plan()[2] == "runs: never executed"
    chain.changes.clear()
    _, done = chain.run()
    assert chain.plan() == up_to_date(done)


def test_what_is_gone_elsewhere_is_told(chain):
    _, done = chain.run()
    chain.changes["Judge"] = {"still_there": lambda path: False}
    assert chain.plan()[2] == f"runs: what it made is no longer there ({done['Judge'].id})"


def test_a_variant_is_compared_with_the_one_it_resembles(chain):
    chain.changes["Fit"] = {"variant": "seed 1"}
    chain.changes["Judge"] = {"inputs": ("Read", "Fit seed 1")}
    chain.run()
    chain.parameters["training"]["seed"] = 2
    chain.parameters["model"]["tied"] = "all"
    chain.run()
    chain.parameters["training"].update(seed=1, epochs=20)
    chain.parameters["model"]["tied"] = "none"
    assert chain.plan()[1] == "runs: training.epochs 10 -> 20"


def test_a_missing_corpus_is_told_with_what_is_left(chain):
    def gone():
        raise DataError("train.de: no such file")

    _, done = chain.run()
    chain.changes["Read"] = {"external_files": gone}
    assert chain.plan() == [f"source missing ({done['Read'].id})", *up_to_date(done)[1:]]
    chain.changes["Read"]["version"] = 2
    assert chain.plan()[0] == "runs: train.de: no such file"


def test_names_stand_for_their_variants():
    components = [
        Component(name=name, variant=variant, version=1, execute=dict)
        for name, variant in (("Transform", ""), ("Trainer", "seed 1"), ("Trainer", "seed 2"))
    ]
    assert keys_of(components, "Trainer") == ["Trainer seed 1", "Trainer seed 2"]
    assert keys_of(components, "Trainer seed 2") == ["Trainer seed 2"]
    with pytest.raises(ValueError, match=r"^Trainr: no component .*; did you mean Trainer\?"):
        keys_of(components, "Trainr")


def test_a_component_is_executed_again_if_asked_for(chain, caplog):
    caplog.set_level(logging.INFO, "heliograph")
    chain.run()
    assert chain.plan(rerun=["Read"]) == [
        "runs: asked for",
        "runs if the output of Read changes",
        "runs if the output of Read or Fit changes",
    ]
    executed, done = chain.run(rerun=["Read"])
    assert executed == ["Read"] and caplog.messages[-2:] == [
        f"Fit    up to date ({done['Fit'].id})",
        f"Judge  up to date ({done['Judge'].id})",
    ]
    chain.letters = "other"
    executed, again = chain.run(rerun=["Read"])
    assert executed == ["Read", "Fit", "Judge"] and again["Read"].path == done["Read"].path
    assert (again["Read"].path / "out.txt").read_text() == "other"
    assert [path for path in chain.root.glob("*/rerun/*")] == []


def test_the_old_artifact_is_there_until_the_new_one_is(chain):
    _, done = chain.run()
    seen = []

    def execute(inputs, output):
        seen.append((done["Read"].path / "out.txt").read_text())
        assert output.name == done["Read"].id and list(output.iterdir()) == []
        (output / "half.txt").touch()
        if len(seen) == 1:
            raise KeyboardInterrupt
        return {}

    chain.changes["Read"] = {"execute": execute}
    with pytest.raises(KeyboardInterrupt):
        chain.run(rerun=["Read"])
    assert chain.run() == ([], done)
    chain.run(rerun=["Read"])
    assert seen == ["abc", "abc"]
    assert sorted(path.name for path in done["Read"].path.iterdir()) == ["half.txt", "manifest.json"]


def test_killed_between_its_two_renames_it_is_finished_by_the_next_run(chain):
    _, done = chain.run()
    again = done["Fit"].path.parent / "rerun" / done["Fit"].id
    again.parent.mkdir()
    done["Fit"].path.rename(again)
    assert chain.run() == ([], done)
