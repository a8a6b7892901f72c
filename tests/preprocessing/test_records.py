"""Files of records: whole or absent, reproducible, and readable by TensorFlow."""

import gzip
import os

import pytest
import tensorflow as tf

from preprocessing.errors import DataError
from preprocessing.records import read_records, write_records, write_whole

RECORDS = [b"", b"a", bytes(range(256)) * 500, "漢".encode()]


def test_tensorflow_reads_what_we_write_and_we_read_what_tensorflow_writes(tmp_path):
    ours, theirs = str(tmp_path / "ours.gz"), str(tmp_path / "theirs.gz")
    write_records(ours, RECORDS)
    assert [record.numpy() for record in tf.data.TFRecordDataset(ours, compression_type="GZIP")] == RECORDS
    with tf.io.TFRecordWriter(theirs, options="GZIP") as writer:
        for record in RECORDS:
            writer.write(record)
    assert list(read_records(theirs)) == RECORDS


def test_bytes_depend_on_the_records_alone(tmp_path):
    for name in ("a.gz", "b.gz"):
        write_records(str(tmp_path / name), RECORDS)
    content = (tmp_path / "a.gz").read_bytes()
    assert content == (tmp_path / "b.gz").read_bytes()
    assert content[3] == 0  # no name in the header
    assert content[4:8] == bytes(4)  # no time


def damage(path, change):
    content = bytearray(gzip.decompress(path.read_bytes()))
    change(content)
    path.write_bytes(gzip.compress(bytes(content)))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.__setitem__(-6, content[-6] ^ 1),  # the record
        lambda content: content.__setitem__(0, 9),  # the length
        lambda content: content.__delitem__(slice(-3, None)),  # cut within a checksum
        lambda content: content.extend(b"\x01"),  # cut within a header
    ],
)
def test_damage_is_found(tmp_path, change):
    path = tmp_path / "x.gz"
    write_records(str(path), [b"first", b"second"])
    damage(path, change)
    with pytest.raises(DataError, match=r"x\.gz: expected whole TFRecords"):
        list(read_records(str(path)))


def test_a_cut_or_foreign_or_missing_file_is_named(tmp_path):
    path = tmp_path / "x.gz"
    write_records(str(path), RECORDS)
    path.write_bytes(path.read_bytes()[:-20])
    (tmp_path / "text.gz").write_text("no gzip")
    for name in ("x.gz", "text.gz", "absent.gz"):
        with pytest.raises(DataError, match=name):
            list(read_records(str(tmp_path / name)))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")

    def fail(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(str(path), fail)
    assert os.listdir(tmp_path) == ["x"]
    assert path.read_text() == "old"


def test_an_impossible_path_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written") as caught:
        write_whole(str(tmp_path / "file" / "x"), lambda file: file.write(b""))
    assert "\n" not in str(caught.value)
