import hashlib
from pathlib import Path

import pytest

from pipeline import data_files
from pipeline.artifacts import hash_file
from pipeline.data_config import DataConfig
from pipeline.data_files import cache_folder, external_files, locate
from pipeline.preprocess import pair_sources
from preprocessing.errors import DataError
from tests.remote_files import RemoteFileSystem


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_contents_by_role(tmp_path):
    for name in ("b.de", "a.de", "en.txt", "t[1].tsv"):
        (tmp_path / name).write_text(name)
    data = DataConfig(source=f"{tmp_path}/*.de", target=f"{tmp_path}/en.txt", test_tsv=f"{tmp_path}/t[1].tsv")
    assert external_files(data) == {
        "source[0] a.de": sha256("a.de"),
        "source[1] b.de": sha256("b.de"),
        "target[0] en.txt": sha256("en.txt"),
        "test_tsv[0] t[1].tsv": sha256("t[1].tsv"),
    }
    assert external_files(DataConfig(builtin="dates")) == {}


def test_all_files_of_all_corpora_each_hashed_once(tmp_path, monkeypatch):
    for name in ("a.csv", "b.de", "b.en", "c.po", "v.tsv"):
        (tmp_path / name).write_text(name)
    corpora = [
        {"csv": "a.csv", "columns": [1, 2]},
        {"csv": "*.csv", "columns": [1, 3]},
        {"source": "b.de", "target": "b.en"},
        {"po": "c.po", "split": "test"},
    ]
    data = DataConfig.model_validate({"corpora": corpora, "validation_tsv": "v.tsv", "directory": str(tmp_path)})
    hashed = []
    monkeypatch.setattr(data_files, "hash_file", lambda path: hashed.append(path.name) or hash_file(path))
    assert external_files(data) == {
        "validation_tsv[0] v.tsv": sha256("v.tsv"),
        "corpora.0.csv[0] a.csv": sha256("a.csv"),
        "corpora.1.csv[0] a.csv": sha256("a.csv"),
        "corpora.2.source[0] b.de": sha256("b.de"),
        "corpora.2.target[0] b.en": sha256("b.en"),
        "corpora.3.po[0] c.po": sha256("c.po"),
    }
    assert sorted(hashed) == ["a.csv", "b.de", "b.en", "c.po", "v.tsv"]
    (tmp_path / "c.po").unlink()
    with pytest.raises(DataError, match=r"data\.corpora\.3\.po: no such file: .*c\.po"):
        external_files(data)


def test_remote_files_have_the_checksums_of_their_store(tmp_path):
    for name in ("a.tsv", "b.tsv"):
        (tmp_path / name).write_text(name)
    data = DataConfig(tsv=f"remote://{tmp_path}/*.tsv", directory="/elsewhere")
    assert locate(data, data.tsv) == data.tsv
    checksums = {name: hashlib.md5(name.encode()).hexdigest() for name in ("a.tsv", "b.tsv")}
    assert external_files(data) == {"tsv[0] a.tsv": checksums["a.tsv"], "tsv[1] b.tsv": checksums["b.tsv"]}
    assert RemoteFileSystem.scheme() == "remote"
    for path, told in ((f"remote://{tmp_path}/none", "no such file"), ("nowhere://x/y", "cannot be listed")):
        with pytest.raises(DataError, match=told):
            external_files(DataConfig(tsv=path))


def test_fingerprinted_is_what_is_read(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    for name in ("q.tsv", "x/y/q.tsv", "x/q.txt", ".hidden/q.tsv", ".q.tsv"):
        (tmp_path / name).write_text(name)
    for pattern, expected in (("**.tsv", ["q.tsv", "x/y/q.tsv"]), ("*", ["q.tsv"]), ("x/*", ["x/q.txt"])):
        for scheme in ("", "remote://"):
            data = DataConfig(tsv=f"{scheme}{tmp_path}/{pattern}")
            read = [shard.name for source in pair_sources(data) for shard in source.shards()]
            assert read == [f"{scheme}{tmp_path}/{name}" for name in expected]
            assert len(external_files(data)) == len(read)
        assert list(external_files(DataConfig(tsv=f"{tmp_path}/{pattern}")).values()) == list(map(sha256, expected))


def test_missing_files(tmp_path):
    with pytest.raises(DataError, match=r"data\.tsv: no such file: .*/no\.tsv; .*--set data\.directory=FOLDER"):
        external_files(DataConfig(tsv=f"{tmp_path}/no.tsv"))
    with pytest.raises(DataError, match=r"data\.tsv: no file matches: .*/\*\.tsv"):
        external_files(DataConfig(tsv=f"{tmp_path}/*.tsv"))
    with pytest.raises(DataError, match=r"data\.tsv: .*: expected a file, found a directory"):
        external_files(DataConfig(tsv=str(tmp_path)))


def test_downloads_need_not_be_there_and_a_folder_replaces_them(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "a.tsv").write_text("a")
    download = [{"name": "a.tsv", "url": "http://localhost/a.tsv", "sha256": sha256("a")}]
    fetched = DataConfig.model_validate({"tsv": "a.tsv", "download": download})
    given = DataConfig.model_validate({"tsv": "a.tsv", "download": download, "directory": str(tmp_path)})
    assert external_files(fetched) == external_files(given) == {"tsv[0] a.tsv": sha256("a")}
    assert cache_folder(fetched).parent == tmp_path / "cache" / "heliograph"
    assert locate(fetched, "a.tsv") == str(cache_folder(fetched) / "a.tsv")
    other = [{**download[0], "sha256": sha256("b")}]
    assert cache_folder(DataConfig.model_validate({"tsv": "a.tsv", "download": other})) != cache_folder(fetched)
    assert locate(given, "a.tsv") == str(tmp_path / "a.tsv")
    assert locate(given, "/other.tsv") == "/other.tsv"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder(fetched).parent == Path.home() / ".cache" / "heliograph"
