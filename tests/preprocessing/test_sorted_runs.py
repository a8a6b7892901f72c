"""Sorting through files: the same as sorting in memory, whatever the pieces."""

import itertools
import os
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.errors import DataError
from preprocessing.sorted_runs import merge, write_run

ENTRIES = st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=3), st.binary(max_size=5)), max_size=60)


@settings(deadline=None)
@given(entries=ENTRIES, run=st.integers(1, 30), block_bytes=st.integers(1, 40), fan_in=st.integers(2, 5))
def test_merged_runs_are_the_sorted_entries(tmp_path_factory, entries, run, block_bytes, fan_in):
    folder = tmp_path_factory.mktemp("runs")
    segments = {bucket: [] for bucket in range(4)}
    for number, first in enumerate(range(0, len(entries), run)):
        for bucket, segment in write_run(str(folder / str(number)), entries[first : first + run], block_bytes):
            segments[bucket].append(segment)
    merged = [(bucket, *entry) for bucket, found in segments.items() for entry in merge(found, fan_in)]
    assert merged == sorted(entries)


def test_one_block_of_each_run_is_held(tmp_path):
    """The first entry costs the reading of one block a run, not of the runs."""
    runs = [
        segment
        for number in range(3)
        for _, segment in write_run(str(tmp_path / str(number)), [(0, b"%03d" % n, b"x" * 100) for n in range(500)], 1)
    ]
    merged = merge(runs)
    assert next(merged) == (b"000", b"x" * 100)
    for name in os.listdir(tmp_path):
        os.truncate(tmp_path / name, 10 * runs[0][2][0])
    assert len(list(itertools.islice(merged, 26))) == 26, "the blocks before the cut are read only when they are due"
    with pytest.raises(EOFError):
        list(merged)


def test_memory_does_not_grow_with_the_number_of_runs(tmp_path):
    def peak(runs):
        folder = tmp_path / str(runs)
        folder.mkdir()
        segments = [
            segment
            for number in range(runs)
            for _, segment in write_run(str(folder / str(number)), [(0, b"%d" % n, os.urandom(999)) for n in range(99)])
        ]
        tracemalloc.start()
        try:
            assert sum(1 for _ in merge(segments, fan_in=4)) == 99 * runs
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(128) < 1.5 * peak(32)  # of a quarter of the entries


def test_a_full_disk_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written") as caught:
        write_run(str(tmp_path / "file" / "run"), [(0, b"", b"")])
    assert "\n" not in str(caught.value)
