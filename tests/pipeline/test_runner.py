import dataclasses
import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import artifacts
from pipeline.locks import tried
from pipeline.runner import Component, inspect, needed, run
from preprocessing.errors import DataError

ROOT = Path(__file__).resolve().parents[2]


class Bench:
    """Read ─▶ Count ─▶ Show, and Read ─▶ Other; every execution is noted."""

    def __init__(self, file):
        self.file, self.done = file, []
        self.version, self.greeting, self.fail = 1, "hello", None

    def step(self, name, inputs, output, text):
        self.done.append(name)
        (output / "out.txt").write_text(text)
        if self.fail is not None and name == "Count":
            raise self.fail
        return {"characters": len(text), "inputs": sorted(inputs)}

    def components(self):
        def read(inputs, output):
            return self.step("Read", inputs, output, self.file.read_text())

        def count(inputs, output):
            return self.step("Count", inputs, output, str(len((inputs["Read"] / "out.txt").read_text())))

        def show(inputs, output):
            return self.step("Show", inputs, output, self.greeting + (inputs["Count"] / "out.txt").read_text())

        def other(inputs, output):
            return self.step("Other", inputs, output, "other")

        def files():
            if not self.file.exists():
                raise DataError(f"{self.file}: no such file")
            return {"source[0]": self.file.read_text()}

        return (
            Component(name="Read", version=1, execute=read, external_files=files),
            Component(name="Count", version=self.version, inputs=("Read",), execute=count),
            Component(name="Show", version=1, inputs=("Count",), parameters={"greeting": self.greeting}, execute=show),
            Component(name="Other", version=1, inputs=("Read",), execute=other),
        )

    def run(self, root, until=None):
        self.done.clear()
        result = run(self.components(), root, until)
        return self.done, result


@pytest.fixture
def bench(tmp_path):
    file = tmp_path / "input.txt"
    file.write_text("four")
    return Bench(file)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def states(bench, root):
    return {state.component: state.state for state in inspect(bench.components(), root)}


def test_in_order_and_then_not_again(bench, root, caplog):
    caplog.set_level(logging.INFO, "heliograph")
    done, result = bench.run(root)
    assert done == ["Read", "Count", "Show", "Other"]
    assert (result["Show"].path / "out.txt").read_text() == "hello4"
    assert result["Show"].metrics == {"characters": 6, "inputs": ["Count"]}
    assert result["Show"].path == root / "Show" / result["Show"].id and len(result["Show"].id) == 12
    lines = caplog.messages
    assert lines[:4] == [f"{name:<5}  runs: never executed" for name in result]
    assert lines[4] == "Read   running…" and lines[5].startswith("Read   done in 0.") and len(lines) == 12
    caplog.clear()
    assert bench.run(root) == ([], result)
    assert caplog.messages == [f"{name:<5}  up to date ({artifact.id})" for name, artifact in result.items()]
    # Nothing but artifacts is left: no lock, no file written aside.
    assert {item.name for item in root.rglob("*") if item.is_file()} == {"out.txt", "manifest.json"}


def test_only_what_depends_on_a_change_is_repeated(bench, root):
    _, first = bench.run(root)
    bench.greeting = "bye"
    assert bench.run(root)[0] == ["Show"]
    bench.version = 2
    assert bench.run(root)[0] == ["Count"]  # its output is what it was
    bench.file.write_text("fourty")
    assert bench.run(root)[0] == ["Read", "Count", "Show", "Other"]
    bench.file.write_text("four")
    bench.greeting, bench.version = "hello", 1
    assert bench.run(root) == ([], first)


def test_what_comes_after_a_check_waits_for_it_and_does_not_depend_on_it(bench, root):
    def components():
        read, count, show, other = bench.components()
        return read, count, show, dataclasses.replace(other, after=("Count",))

    assert [component.name for component in needed(components(), "Other")] == ["Read", "Count", "Other"]
    bench.fail = DataError("bad corpus")
    with pytest.raises(DataError, match="bad corpus"):
        run(components(), root, "Other")
    assert "Other" not in bench.done
    bench.fail = None
    run(components(), root, "Other")
    bench.version += 1
    bench.done.clear()
    run(components(), root, "Other")
    assert bench.done == ["Count"]


def test_until_runs_only_what_is_needed(bench, root):
    assert bench.run(root, "Other")[0] == ["Read", "Other"]
    assert bench.run(root, "Show")[0] == ["Count", "Show"]
    assert [component.name for component in needed(bench.components(), "Count")] == ["Read", "Count"]


def test_inspect_executes_nothing(bench, root):
    assert set(states(bench, root).values()) == {"missing"}
    assert not root.exists()
    bench.run(root, "Count")
    assert states(bench, root) == {"Read": "up to date", "Count": "up to date", "Show": "missing", "Other": "missing"}
    bench.run(root)
    bench.file.write_text("other")
    assert set(states(bench, root).values()) == {"outdated"}


def test_what_was_made_of_a_corpus_outlives_it(bench, root):
    def gone():
        raise DataError("no such file")

    bench.run(root)

    def found(**changes):
        read, *others = bench.components()
        components = [dataclasses.replace(read, external_files=gone, **changes), *others]
        return {state.component: state.state for state in inspect(components, root)}

    others = {"Count": "up to date", "Show": "up to date", "Other": "up to date"}
    assert found() == {"Read": "source missing", **others}
    assert set(found(parameters={"another": 1}).values()) == {"outdated"}


@pytest.mark.parametrize("fail", [RuntimeError("broken"), KeyboardInterrupt()])
def test_what_fails_leaves_no_artifact(bench, root, fail):
    bench.fail = fail
    with pytest.raises(type(fail), match=r"broken|Count keeps nothing"):
        bench.run(root)
    assert list(root.rglob("Count/*/out.txt")) and not list(root.rglob("Count/*/manifest.json"))
    assert states(bench, root)["Count"] == "missing"
    bench.fail = None
    assert bench.run(root)[0] == ["Count", "Show", "Other"]


class Steps:
    """A component that does one step of three in each execution, if it finds those that were done."""

    def __init__(self, root, resumes):
        self.root, self.resumes, self.found, self.end = root, resumes, [], None

    def execute(self, inputs, output):
        steps = sorted(path.name for path in output.iterdir())
        self.found.append(steps)
        (output / f"step {len(steps)}").touch()
        if self.end is not None:
            raise self.end
        return {"steps": len(steps) + 1}

    def run(self, end=None, **changes):
        self.end = end
        component = Component(
            name="Steps", version=1, execute=self.execute, resumes_from="scratch" if self.resumes else None
        )
        return run([dataclasses.replace(component, **changes)], self.root)["Steps"]


@pytest.mark.parametrize("end", [RuntimeError("broken"), KeyboardInterrupt("saved"), KeyboardInterrupt()])
@pytest.mark.parametrize("resumes", [False, True])
def test_only_what_resumes_finds_what_was_left(root, end, resumes):
    steps = Steps(root, resumes)
    for _ in range(2):
        with pytest.raises(type(end)):
            steps.run(end)
    artifact = steps.run()
    assert steps.found == ([[], ["step 0"], ["step 0", "step 1"]] if resumes else [[], [], []])
    assert artifact.metrics == {"steps": len(artifact.manifest.outputs)} == {"steps": 3 if resumes else 1}
    assert steps.run() == artifact and len(steps.found) == 3
    steps.run(version=2)
    assert steps.found[3:] == [[]]  # another version's steps are none of its


def test_a_damaged_artifact_is_resumed(root):
    steps = Steps(root, resumes=True)
    with pytest.raises(RuntimeError):
        steps.run(RuntimeError())
    (steps.run().path / "step 1").unlink()
    assert steps.run().metrics == {"steps": 2}
    assert steps.found == [[], ["step 0"], ["step 0"]]


@pytest.mark.parametrize("resumes", [False, True])
def test_a_component_says_itself_where_it_goes_on(root, resumes):
    with pytest.raises(KeyboardInterrupt, match=r"^saved after epoch 3$"):
        Steps(root, resumes).run(KeyboardInterrupt("saved after epoch 3"))


def test_what_resumes_is_not_said_to_start_afresh(root):
    with pytest.raises(KeyboardInterrupt) as caught:  # as after a second Ctrl-C, or one before the first update
        Steps(root, resumes=True).run(KeyboardInterrupt())
    assert "Steps" in str(caught.value) and "keeps nothing" not in str(caught.value)


def test_damage_is_repaired(bench, root, caplog):
    caplog.set_level(logging.INFO, "heliograph")
    _, result = bench.run(root)
    (result["Count"].path / "manifest.json").write_text("{")
    (result["Count"].path / "rubbish").touch()
    assert bench.run(root)[0] == ["Count"]
    assert "Count  runs: " in caplog.text and "not a readable manifest" in caplog.text
    assert not (result["Count"].path / "rubbish").exists()


def test_missing_files_are_told_before_anything_runs(bench, root):
    bench.file.unlink()
    with pytest.raises(DataError, match="no such file"):
        bench.run(root)
    assert bench.done == [] and not root.exists()


SLOW = """
import sys, time
from pathlib import Path
from pipeline import artifacts
from pipeline.runner import Component, run

def execute(inputs, output):
    print("running", flush=True)
    time.sleep(float(sys.argv[2]))
    return {}

run([Component(name="Slow", version=1, execute=execute)], Path(sys.argv[1]))
print("finished", flush=True)
"""


def slow(root, seconds):
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, str(root), str(seconds)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def test_two_processes_execute_once(root):
    processes = [slow(root, 0.5) for _ in range(2)]
    assert sorted(process.communicate()[0] for process in processes) == ["finished\n", "running\nfinished\n"]


def test_a_killed_process_blocks_nobody_and_leaves_no_artifact(root):
    killed = slow(root, 60)
    assert killed.stdout.readline() == "running\n"
    killed.kill()
    killed.communicate()
    assert list(root.rglob("*.lock")) and not list(root.rglob("manifest.json"))
    began = time.monotonic()
    assert slow(root, 0).communicate()[0] == "running\nfinished\n"
    assert time.monotonic() - began < 30
    assert [json.loads(path.read_text())["component"] for path in root.rglob("manifest.json")] == ["Slow"]
    assert not list(root.rglob("*.lock"))


def test_what_is_resolved_is_an_input_like_others(root):
    """A component that reads the artifact which another run left in the same root."""
    executed = []

    def write(output, number):
        (output / "out").write_text(str(number))
        return {}

    def made(number):
        return Component(
            name="Made", version=1, parameters={"number": number}, execute=lambda inputs, output: write(output, number)
        )

    def resolve(where, inputs):
        assert where == root and list(inputs) == ["Made"]
        others = [one for one in artifacts.find_all(where, "Made") if one.id != inputs["Made"].id]
        return {"Made before": others[0]} if others else {}

    def execute(inputs, output):
        executed.append(sorted(inputs))
        for path in inputs.values():  # nobody may remove it meanwhile, not even what was resolved
            with tried(path / "manifest.json", make=False) as alone:
                assert not alone
        return {}

    reader = Component(name="Reader", version=1, inputs=("Made",), execute=execute, resolve=resolve)
    first = run([made(1), reader], root)
    assert run([made(1), reader], root) == first and executed == [["Made"]]
    second = run([made(2), reader], root)
    assert executed[1:] == [["Made", "Made before"]]
    assert second["Reader"].manifest.inputs["Made before"].id == first["Made"].id
    assert [state.state for state in inspect([made(2), reader], root)] == ["up to date"] * 2
    assert [state.state for state in inspect([made(1), reader], root)] == ["up to date", "outdated"]
    assert root.exists() and len(executed) == 2
