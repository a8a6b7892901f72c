"""A first look at files: exact counts, and mistakes in words of a person."""

import bz2
import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.corpora import FilePairs, Tsv
from preprocessing.errors import DataError
from preprocessing.survey import _p99, survey


def write(folder, name, lines):
    path = folder / name
    data = b"".join(line if isinstance(line, bytes) else f"{line}\n".encode() for line in lines)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return str(path)


def test_what_is_seen(tmp_path):
    source = write(tmp_path, "a.de.gz", ["Ein Hund!", "Zwei  große Hunde", "हिन्दी में"] * 2)
    target = write(tmp_path, "a.en", ["A dog!", "Two big dogs", "кот"] * 2)
    found = survey(FilePairs(source, target))
    assert (found.pairs, found.sampled) == (6, 6)
    assert found.source.mean_words == pytest.approx((3 + 3 + 2) / 3)  # marks do not split words
    assert found.source.mean_characters == pytest.approx((9 + 16 + 10) / 3)  # two spaces are one
    assert (found.source.p99_words, found.source.p99_characters) == (3, 16)
    assert found.source.running_words == 2 * (3 + 3 + 2)
    assert found.source.distinct_words == len({"ein", "hund", "!", "zwei", "große", "hunde", "हनद", "म"})
    assert found.target.script == "Latin"
    letters = "adogtwobigdogs"
    shared = sum(letter in "einhundzweigroßehunde" for letter in letters)
    assert found.target.shared_letters == pytest.approx(shared / (len(letters) + 3))


def test_all_lines_are_counted_but_only_the_first_looked_at(tmp_path):
    path = write(tmp_path, "a.tsv", ["ein hund\ta dog"] * 10 + ["x\ty"] * 1000)
    found = survey(Tsv(path), sample_bytes=100)
    assert found.pairs == 1010 and found.sampled == 8 and found.source.p99_words == 2


@given(st.lists(st.integers(-50, 50), min_size=1))
def test_the_99th_percentile(values):
    assert _p99(values) == np.percentile(values, 99, method="inverted_cdf")


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (["a", "b"], ["a"], r"a\.de has 2 lines but .*a\.en has 1;"),
        ([], [], r"a\.de and .*a\.en are empty"),
        (
            ["a", b"\x00\x01\n"] * 5,
            ["a", "b"] * 5,
            r"a\.de line 2: a NUL byte: a binary file, or UTF-16.*; 5 of the first 10",
        ),
        (["a", b"\xe4\xf6\n"] * 5, ["a", "b"] * 5, r"a\.de line 2: not UTF-8.*iconv"),
        (["a", ""] * 5, ["a", "b"] * 5, r"a\.de line 2: one side is empty"),
    ],
)
def test_mistakes(tmp_path, source, target, expected):
    paths = write(tmp_path, "a.de", source), write(tmp_path, "a.en", target)
    with pytest.raises(DataError, match=expected) as caught:
        survey(FilePairs(*paths))
    assert "\n" not in str(caught.value)


def test_a_file_without_tabs(tmp_path):
    with pytest.raises(DataError, match=re.escape("line 1: expected two columns, source<TAB>target")):
        survey(Tsv(write(tmp_path, "a.tsv", ["a b", "c d"])))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl.gz", "a.tmx", "a.po.bz2", "a.txt"])
def test_other_formats_have_their_place_in_a_configuration(tmp_path, name):
    plain = write(tmp_path, "plain", ["a b", "\ta"])
    path = tmp_path / name
    packed = {".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)
    path.write_bytes(packed(Path(plain).read_bytes()))
    with pytest.raises(DataError, match="2 of the first 2 lines are like this or worse") as caught:
        survey(Tsv(str(path)))
    told = f"[[data.corpora]] with {name.split('.')[1]} = ..."
    assert (told in str(caught.value)) == (name != "a.txt")
    assert "\n" not in str(caught.value)


def test_empty_files(tmp_path):
    for name in ("a.de", "b.de", "a.en", "b.en"):
        write(tmp_path, name, [])
    with pytest.raises(DataError, match=r"^/\S*/a\.de and 1 more file are empty; expected one sentence a line$"):
        survey(FilePairs(f"{tmp_path}/*.de", f"{tmp_path}/*.en"))


def test_a_few_broken_lines_are_for_the_preprocessing_to_drop(tmp_path):
    found = survey(Tsv(write(tmp_path, "a.tsv", ["a\tb"] * 99 + ["no tab"])))
    assert (found.pairs, found.sampled) == (100, 99)
