"""The versions of a servable: folders named by numbers. Light: no TensorFlow."""

from pathlib import Path


def versions_of(base_dir: Path) -> list[Path]:
    """The versions of a servable, the newest last; TF Serving takes the highest number for the newest."""
    return sorted((child for child in base_dir.glob("*/") if child.name.isdecimal()), key=lambda child: int(child.name))


def newest_version(directory: Path) -> Path:
    """A version's folder: `directory` itself, or the newest version in it.

    Raises:
        FileNotFoundError: it is neither.
    """
    if (directory / "saved_model.pb").is_file():
        return directory
    versions = versions_of(directory)
    if not versions:
        raise FileNotFoundError(
            f"{directory}: expected the folder of a SavedModel or of its versions, which are named by numbers"
        )
    return versions[-1]


def rename_to_next(aside: Path, base_dir: Path) -> Path:
    """Make a whole folder the next version of a servable, and return that version's folder."""
    while True:
        # Also of files, which are no versions but would be in the way.
        number = max((int(child.name) for child in base_dir.iterdir() if child.name.isdecimal()), default=0) + 1
        final = base_dir / str(number)
        try:
            aside.rename(final)
        except OSError:
            if not final.exists():
                raise
            continue  # another process has just taken that number
        return final
