"""Beam's shuffles through files: what the shuffles of the runner would give, of any size and by any worker."""

import os
import random

import apache_beam as beam
import pytest
from apache_beam.coders import FastPrimitivesCoder, StrUtf8Coder
from apache_beam.testing.util import assert_that, equal_to

from preprocessing import grouping
from preprocessing.beam_run import run
from preprocessing.errors import DataError
from preprocessing.grouping import GroupThroughFiles, SortIntoBuckets, SpreadThroughFiles, shuffle_folder
from preprocessing.sorted_runs import merge

THREADS = ["--direct_running_mode=multi_threading", "--direct_num_workers=3"]
RUN_BYTES = 2000  # a dozen entries


@pytest.mark.parametrize("beam_args", [[], THREADS], ids=["one worker", "three threads"])
def test_groups_are_those_of_group_by_key(tmp_path, beam_args):
    chance = random.Random(1)
    pairs = [(b"%d" % chance.randint(0, 20), chance.randint(0, 9)) for _ in range(300)]
    expected = {key: sorted(value for k, value in pairs if k == key) for key, _ in pairs}

    def build(pipeline):
        groups = (
            pipeline
            | beam.Create(pairs)
            | GroupThroughFiles(str(tmp_path), 4, FastPrimitivesCoder(), RUN_BYTES)
            | beam.MapTuple(lambda key, values: (key, list(values), list(values)))  # again and again
        )
        assert_that(groups, equal_to([(key, values, values) for key, values in expected.items()]))

    run(build, beam_args)
    assert len(os.listdir(tmp_path)) > 10, "the runs were to be many"


def test_more_values_than_are_held_can_be_iterated_again(tmp_path, monkeypatch):
    monkeypatch.setattr(grouping, "HELD_VALUES", 7)
    values = [f"value {number:03d}" for number in range(50)]
    pairs = [(b"many", value) for value in values] + [(b"seven", value) for value in values[:7]] + [(b"one", "x")]

    def build(pipeline):
        groups = (
            pipeline
            | beam.Create(pairs)
            | GroupThroughFiles(str(tmp_path), 1, StrUtf8Coder(), RUN_BYTES)
            | beam.MapTuple(lambda key, group: (key, [*group, *group]))
        )
        assert_that(groups, equal_to([(b"many", values * 2), (b"seven", values[:7] * 2), (b"one", ["x", "x"])]))

    run(build)


def test_every_bucket_is_there_once(tmp_path):
    entries = [(2, b"b", b"1"), (0, b"z", b""), (2, b"a", b"2")]

    def build(pipeline):
        sorted_ = pipeline | beam.Create(entries) | SortIntoBuckets(str(tmp_path), 4)
        merged = sorted_ | beam.MapTuple(lambda bucket, segments: (bucket, list(merge(segments))))
        assert_that(merged, equal_to([(0, [(b"z", b"")]), (1, []), (2, [(b"a", b"2"), (b"b", b"1")]), (3, [])]))

    run(build)


@pytest.mark.parametrize("beam_args", [[], THREADS], ids=["one worker", "three threads"])
def test_spreading_loses_and_doubles_nothing(tmp_path, beam_args):
    elements = [f"element {number}" for number in range(200)]

    def build(pipeline):
        batches = (
            pipeline | beam.Create(elements) | SpreadThroughFiles(str(tmp_path), StrUtf8Coder(), 5, run_bytes=RUN_BYTES)
        )
        assert_that(batches | beam.FlatMap(lambda batch: batch), equal_to(elements), label="elements")
        assert_that(batches | beam.Map(len), all_at_most_five, label="sizes")

    run(build, beam_args)
    assert len(os.listdir(tmp_path)) > 10


def all_at_most_five(sizes):
    assert max(sizes) == 5


def test_the_folder_is_gone_even_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), shuffle_folder(str(tmp_path / "new")) as folder:
        assert os.path.isdir(folder)
        raise RuntimeError
    assert os.listdir(tmp_path / "new") == []
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file: cannot be written"), shuffle_folder(str(tmp_path / "file")):
        pass
