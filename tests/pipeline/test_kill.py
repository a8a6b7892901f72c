"""Whatever moment a run is killed at, the next one completes it; two runs on one root do not harm each other."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.clean import clean

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("mode", "step"), [("run", 13), ("rerun", 13), ("again", 31)])
def test_killed_at_any_file_operation_it_is_completed_to_the_same_bytes(tmp_path, mode, step):
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.killed_runs", str(tmp_path), mode, str(step)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split(", ")[1].split()[0]) >= 10, done.stdout


RUN = """
import sys, time
from pathlib import Path
from pipeline.component import Component
from pipeline.runner import run

def step(name):
    def execute(inputs, output):
        print(name, flush=True)
        for number in range(20):
            (output / str(number)).write_text(name)
            time.sleep(0.005)
        return {"files": sum(len(list(path.iterdir())) for path in inputs.values())}
    return execute

names = [f"Step{letter}" for letter in "ABCD"]
components = [
    Component(name=name, version=1, execute=step(name), inputs=tuple(names[:number]), resumes_from=None)
    for number, name in enumerate(names)
]
rerun = names[1:3] if sys.argv[2] == "rerun" else []
done = run(components, Path(sys.argv[1]), rerun=rerun)
print([artifact.fingerprint for artifact in done.values()], flush=True)
"""


def test_runs_at_once_and_a_clean_beside_them_do_not_harm_each_other(tmp_path):
    (tmp_path / "config.toml").touch()
    runs = [
        subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path), mode], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for mode in ("run", "run", "rerun")
    ]
    removed = 0
    while any(process.poll() is None for process in runs):
        verdicts = clean(tmp_path, dry_run=False, used={path.name for path in tmp_path.glob("Step*/*")})
        removed += sum(verdict.removed and not verdict.path.name.endswith(".lock") for verdict in verdicts)
    lines = [process.communicate()[0].splitlines() for process in runs]
    assert [process.returncode for process in runs] == [0, 0, 0]
    assert len({each[-1] for each in lines}) == 1
    executed = [name for each in lines for name in each[:-1]]
    # Each once, and two of them twice at most, by the run that was told to.
    assert sorted(set(executed)) == [f"Step{letter}" for letter in "ABCD"] and 4 <= len(executed) <= 6
    assert removed == 0
    clean(tmp_path, dry_run=False)
    assert not list(tmp_path.rglob("*.lock")) and len(list(tmp_path.rglob("manifest.json"))) == 4
