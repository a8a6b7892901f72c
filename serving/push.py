"""Publishes versions where a server looks for them, and takes them back.

TF Serving polls the servable's folder for names that are integers and serves the highest. So a version is copied under
another name and appears whole, by one rename; and to go back, an older one is published again, as the newest: the
server never sees its current version vanish, and the history stays in order.
"""

import filecmp
import shutil
from pathlib import Path

from serving.aside import folder_aside
from serving.versions import rename_to_next, versions_of


def push(version: Path, base_dir: Path, keep: int) -> Path:
    """Publish a version as the newest one, unless it already is.

    Args:
        version: the folder of a SavedModel that was validated.
        base_dir: the servable's folder, whose name is the model's name; it is created if need be.
        keep: so many of the newest versions stay there, this one included; older ones are deleted.

    Returns:
        The published version's folder.
    """
    if keep < 1:
        raise ValueError(f"keep must be a positive number of versions, got {keep}")
    base_dir.mkdir(parents=True, exist_ok=True)
    published = versions_of(base_dir)
    if not published or not same_files(published[-1], version):
        with folder_aside(base_dir) as folder:
            shutil.copytree(version, folder / version.name)
            published.append(rename_to_next(folder / version.name, base_dir))
    for old in versions_of(base_dir)[:-keep]:
        with folder_aside(base_dir) as folder:
            old.rename(folder / old.name)  # out of sight at once, so that no server loads half of it
    return published[-1]


def roll_back(base_dir: Path, version: int | None = None) -> Path:
    """Publish an older version again, as the newest one.

    Args:
        base_dir: the servable's folder.
        version: which one; `None` for the one before the current one. Right after a rollback that is the one before
            the version that was gone back to, not the one that was left; after a push that one is older like others.

    Returns:
        The published version's folder.

    Raises:
        FileNotFoundError: there is no such version.
    """
    published, hint = versions_of(base_dir), ""
    names = ", ".join(one.name for one in published) or "none"
    if version is not None:
        chosen, wanted = [one for one in published if int(one.name) == version], f"version {version}"
    else:
        first = next((place for place, one in enumerate(published) if same_files(one, published[-1])), 0)
        chosen, wanted = published[:first][-1:], "a version before the current one"
        if published[first:-1]:
            wanted, hint = f"{wanted}, which is {published[first].name} again", "; name the VERSION to publish"
    if not chosen:
        raise FileNotFoundError(f"{base_dir}: expected {wanted}, found {names}{hint}")
    return push(chosen[0], base_dir, keep=len(published) + 1)


def same_files(one: Path, other: Path) -> bool:
    """Whether two versions hold the same files with the same bytes."""
    files = [
        {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()} for folder in (one, other)
    ]
    if files[0].keys() != files[1].keys():
        return False
    pairs = [(files[0][name], files[1][name]) for name in files[0]]
    return all(filecmp.cmp(a, b, shallow=False) for a, b in pairs)
