"""The hash of our sources changes with any of them, and with nothing else."""

from pipeline.origin import PACKAGES, hash_sources


def sources(folder):
    for name in PACKAGES:
        (folder / name / "sub").mkdir(parents=True)
        (folder / name / "sub" / "code.py").write_text(f"# {name}")
    return folder


def test_any_source_file_counts(tmp_path):
    one, other = sources(tmp_path / "one"), sources(tmp_path / "other")
    hashes = [hash_sources(one)]
    assert hash_sources(other) == hashes[0]
    for path in [*other.rglob("*.py")]:
        before = path.read_text()
        path.write_text(before + "x")
        hashes.append(hash_sources(other))
        path.write_text(before)
    path.rename(path.with_name("other.py"))
    hashes.append(hash_sources(other))
    assert len(set(hashes)) == len(PACKAGES) + 2


def test_what_is_no_source_does_not(tmp_path):
    folder = sources(tmp_path)
    before = hash_sources(folder)
    (folder / PACKAGES[0] / "__pycache__").mkdir()
    (folder / PACKAGES[0] / "__pycache__" / "code.cpython-313.pyc").write_bytes(b"x")
    (folder / "README.md").write_text("x")
    assert hash_sources(folder) == before
