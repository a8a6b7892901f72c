"""Publishing: whole or not at all, the newest ones kept, back to an older one, and nothing twice."""

import shutil
import threading

import pytest

from serving.push import push, roll_back, same_files


def make(folder, content):
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text(content)
    (folder / "variables" / "data").write_text(content * 1000)
    return folder


def content(version):
    return (version / "saved_model.pb").read_text()


def names(base):
    return sorted(child.name for child in base.iterdir())


def test_versions_count_up_and_the_oldest_go(tmp_path):
    base = tmp_path / "srv" / "demo"
    for number in range(1, 6):
        published = push(make(tmp_path / str(number), f"model {number}"), base, keep=3)
        assert published == base / str(number) and content(published) == f"model {number}"
    assert names(base) == ["3", "4", "5"]
    assert same_files(published, tmp_path / "5")


def test_the_same_model_is_published_once(tmp_path):
    base, model = tmp_path / "demo", make(tmp_path / "1", "a")
    assert push(model, base, 3) == push(model, base, 3) == base / "1"
    (base / "1" / "variables" / "data").write_text("b" * 1000)  # damaged: of the same size, but not the same
    assert push(model, base, 3) == base / "2"


def test_rollback_publishes_the_older_version_again(tmp_path):
    base = tmp_path / "demo"
    for text in "abc":
        push(make(tmp_path / text, text), base, keep=3)
    assert roll_back(base) == base / "4" and content(base / "4") == "b"
    assert roll_back(base) == base / "5" and content(base / "5") == "a"  # further back, not to what was left
    message = (
        "expected a version before the current one, which is 1 again, found 1, 2, 3, 4, 5; name the VERSION to pub"
    )
    with pytest.raises(FileNotFoundError, match=message):
        roll_back(base)
    assert roll_back(base, 3) == base / "6" and content(base / "6") == "c"
    assert roll_back(base) == base / "7" and content(base / "7") == "b"
    assert names(base) == ["1", "2", "3", "4", "5", "6", "7"]  # going back deletes nothing
    with pytest.raises(FileNotFoundError, match="expected version 9, found 1, 2, 3, 4, 5, 6, 7"):
        roll_back(base, 9)
    only = tmp_path / "only"
    push(make(tmp_path / "d", "d"), only, keep=3)
    with pytest.raises(FileNotFoundError, match="expected a version before the current one, found 1"):
        roll_back(only)


def test_what_fails_half_way_is_never_seen(tmp_path, monkeypatch):
    base, copytree = tmp_path / "demo", shutil.copytree
    push(make(tmp_path / "a", "a"), base, 1)

    def full_disk(source, target, *rest, **options):
        copytree(source, target, *rest, **options)
        if not rest:  # not a folder within
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full_disk)
    with pytest.raises(OSError, match="No space left"):
        push(make(tmp_path / "b", "b"), base, 1)
    assert names(base) == ["1"] and content(base / "1") == "a"


def test_two_at_once_get_two_numbers(tmp_path, monkeypatch):
    """The second process takes the number that the first one was about to take."""
    base = tmp_path / "demo"
    models = [make(tmp_path / text, text) for text in "ab"]
    barrier, real = threading.Barrier(2, timeout=20), shutil.copytree

    def together(source, target, *rest, **options):
        real(source, target, *rest, **options)
        if not rest:
            barrier.wait()

    monkeypatch.setattr(shutil, "copytree", together)
    monkeypatch.setattr("os.getpid", threading.get_ident)
    threads = [threading.Thread(target=push, args=(model, base, 5)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(base) == ["1", "2"] and {content(base / name) for name in "12"} == {"a", "b"}


def test_keep_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="keep must be a positive number of versions, got 0"):
        push(tmp_path, tmp_path / "demo", 0)
