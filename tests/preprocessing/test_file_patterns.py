"""Which files a pattern means, against Beam's own matching and by examples."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from apache_beam.io.filesystem import FileSystem
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.errors import DataError
from preprocessing.file_patterns import _expression, find_files, matching_files
from tests.remote_files import RemoteFileSystem


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def test_files_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.de", "b.de", "b2.de", "x/a.de", "x/y/c.de", ".a.de", ".x/a.de", "z.en", "[.de")
    assert RemoteFileSystem.scheme() == "remote"
    for pattern, expected in (
        ("*.de", ["[.de", "a.de", "b.de", "b2.de"]),
        ("**.de", ["[.de", "a.de", "b.de", "b2.de", "x/a.de", "x/y/c.de"]),
        ("**/*.de", ["x/a.de", "x/y/c.de"]),
        ("*/*.de", ["x/a.de"]),
        ("?.de", ["[.de", "a.de", "b.de"]),
        ("[!a].de", ["[.de", "b.de"]),
        ("[a-b]*", ["a.de", "b.de", "b2.de"]),
        ("*", ["[.de", "a.de", "b.de", "b2.de", "z.en"]),
        (".*", [".a.de"]),
        (".x/*", [".x/a.de"]),
        ("[.de", ["[.de"]),
        ("none", []),
    ):
        assert find_files(f"{tmp_path}/{pattern}") == [f"{tmp_path}/{name}" for name in expected], pattern
        assert find_files(f"remote://{tmp_path}/{pattern}") == [f"remote://{tmp_path}/{name}" for name in expected]
        monkeypatch.chdir(tmp_path)
        assert find_files(pattern) == expected, pattern


@given(st.text("ab/.-*?[]!^", max_size=8), st.lists(st.text("ab/.-]^!", max_size=8)))
def test_a_remote_pattern_means_what_it_means_to_beam(pattern: str, paths: list[str]) -> None:
    """But for wildcards of one character, which Beam lets stand for a slash."""
    try:
        beams = re.compile(FileSystem.translate_pattern(pattern))
    except (re.error, FutureWarning):  # of "[[" in its expression
        return
    ours = _expression(pattern)
    for path in paths:
        if ours.fullmatch(path):
            assert beams.match(path)
        elif beams.match(path):
            assert "/" in path and re.search(r"[?[]", pattern)


def test_an_exact_name_comes_first_and_mistakes_are_told(tmp_path: Path) -> None:
    write(tmp_path, "a[1].txt", "a1.txt")
    odd = f"{tmp_path}/a[1].txt"
    assert matching_files(odd) == [odd], "a name that looks like a pattern"
    for pattern, told in (
        (f"{tmp_path}/none.txt", "none.txt: no such file"),
        (f"{tmp_path}/*.de", r"\*.de: no file matches this pattern"),
        (f"{tmp_path}/", "found a directory.*/\\*$"),
        (f"{tmp_path}", "found a directory.*/\\*$"),
        (f"{tmp_path}/[z-a]", "cannot be listed"),
        ("nowhere://bucket/file", "nowhere://bucket/file: cannot be listed"),
    ):
        with pytest.raises(DataError, match=told) as caught:
            matching_files(pattern)
        assert "\n" not in str(caught.value)


def test_local_files_are_found_without_beam(tmp_path: Path) -> None:
    write(tmp_path, "a.de", "x/b.de")
    script = "import sys; from preprocessing.file_patterns import find_files; print(len(find_files(sys.argv[1])))"
    script += "; assert 'apache_beam' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", script, f"{tmp_path}/**.de"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "2\n"
