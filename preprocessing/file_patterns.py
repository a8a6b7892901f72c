"""Which files a path or pattern means, on this machine or on any file system Beam knows.

    corpus/**.de    ** is any text, folders included
    corpus/*.de     * is any text within one name, ? one character, [0-9] or [!a] one of some

A wildcard matches no hidden files and no folders. The fingerprint of a run asks the same functions as the reading does;
Beam takes seconds to load, so that is left to remote paths.
"""

import glob
import os
import re
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING

from preprocessing.errors import DataError
from preprocessing.wording import counted

if TYPE_CHECKING:
    from apache_beam.io.filesystems import FileSystems

_WILDCARDS = re.compile(r"((?:\*+|\?|\[!?+\]?+[^\]]*\])+)")
"""One or more wildcards next to each other."""

_WILDCARD = re.compile(r"\*\*+|\*|\?|\[!?+\]?+[^\]]*\]")


def is_remote(path: str) -> bool:
    """Whether a path is like gs://bucket/name: read by Beam alone, and never relative to a folder."""
    return "://" in path


def file_systems() -> "type[FileSystems]":
    """Beam's; where no options were given yet, as by `beam_run.use_file_systems`, with those of the environment."""
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    if FileSystems._pipeline_options is None:  # S3 would refuse to work
        FileSystems.set_options(PipelineOptions([]))
    return FileSystems


def has_wildcards(path: str) -> bool:
    """Whether a path is a pattern."""
    return _WILDCARDS.search(path) is not None


def find_files(pattern: str) -> list[str]:
    """Lists the files a path or pattern matches, sorted by name; there may be none.

    Raises:
      DataError: it names a directory, or the file system is unknown or cannot be listed.
    """
    if pattern.endswith("/") or (not is_remote(pattern) and os.path.isdir(pattern)):
        told = f"{pattern.rstrip('/')}/*"
        raise DataError(f"{pattern}: expected a file, found a directory; name the file, or a pattern such as {told}")
    try:
        # A name such as "corpus[1].txt" is a file before it is a pattern.
        if _exists(pattern):
            return [pattern]
        if not has_wildcards(pattern):
            return []
        matches, start = _expression(pattern).fullmatch, len(_folder(pattern))
        hidden_too = "/." in f"/{pattern[start:]}"
        return sorted(
            path for path in _candidates(pattern) if matches(path) and (hidden_too or "/." not in f"/{path[start:]}")
        )
    except (OSError, ValueError, re.error) as error:  # BeamIOError is an OSError
        raise DataError(f"{pattern}: cannot be listed ({' '.join(str(error).split())})") from error


def matching_files(pattern: str) -> list[str]:
    """Lists the files a path or pattern matches, sorted by name.

    Raises:
      DataError: as `find_files`, and if there is none.
    """
    paths = find_files(pattern)
    if not paths:
        remedy = "no file matches this pattern" if has_wildcards(pattern) else "no such file"
        raise DataError(f"{pattern}: {remedy}; check the path")
    return paths


def list_folder(folder: str) -> list[str]:
    """Names of the files right in a folder, sorted; none if there is no such folder.

    Raises:
      DataError: its file system is unknown or cannot be listed.
    """
    try:
        if not is_remote(folder):  # of Beam's, the name of the folder might be a pattern
            return sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
        return sorted(path.rpartition("/")[2] for path in _candidates(f"{folder.rstrip('/')}/*"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:  # BeamIOError is an OSError
        raise DataError(f"{folder}: cannot be listed ({' '.join(str(error).split())})") from error


def paired_files(source: str, target: str) -> list[tuple[str, str]]:
    """Pairs the files that two patterns match, by what their wildcards stand for; one file of each is a pair anyhow.

    ``de/*.txt`` and ``en/*.txt.gz`` pair de/7.txt with en/7.txt.gz. Of wildcards in several places each is compared
    with the one of the same rank. Where their number differs, all from the first to the last counts as one, so
    ``**.de`` and ``*/*.en`` pair law/7.de with law/7.en.

    Returns:
      The pairs, sorted by the name of the source.

    Raises:
      DataError: a pattern matches nothing, or a file has no partner.
    """
    sources, targets = matching_files(source), matching_files(target)
    if len(sources) == len(targets) == 1:
        return [(sources[0], targets[0])]
    for pattern, found in ((source, sources), (target, targets)):
        if found == [pattern]:  # a single file, be its name like a pattern or not
            raise DataError(
                f"{source} matches {counted(len(sources), 'file')} but {target} matches {len(targets)}; both sides of "
                "a pair need the same number of files, paired by name"
            )
    as_one = len(_WILDCARDS.findall(source)) != len(_WILDCARDS.findall(target))
    by_name = [
        {_name(pattern, path, as_one): path for path in found}
        for pattern, found in ((source, sources), (target, targets))
    ]
    patterns = source, target
    for side, other in ((0, 1), (1, 0)):
        for name, path in by_name[side].items():
            if name not in by_name[other]:
                raise DataError(
                    f"{path}: has no partner: expected {_filled(patterns[other], name, as_one)}, found no such file; "
                    "add it, or give the files of a pair names that differ outside of the wildcards only"
                )
    return [(path, by_name[1][name]) for name, path in by_name[0].items()]


def _name(pattern: str, path: str, as_one: bool) -> tuple[str, ...]:
    """What the wildcards of a pattern stand for in a path that it matches, also as one with what is between them."""
    found = _expression(pattern).fullmatch(path)
    if found is None:
        raise ValueError(f"path must match {pattern}, got {path}")
    return (path[found.start(1) : found.end(found.re.groups)],) if as_one else found.groups()


def _filled(pattern: str, name: tuple[str, ...], as_one: bool) -> str:
    """The path that a pattern matches where its wildcards stand for `name`."""
    fixed = _WILDCARDS.split(pattern)[::2]
    if as_one:
        fixed = [fixed[0], fixed[-1]]
    return "".join(chain.from_iterable(zip(fixed, (*name, ""), strict=True)))


def _exists(path: str) -> bool:
    return bool(file_systems().exists(path)) if is_remote(path) else os.path.exists(path)


def _candidates(pattern: str) -> Iterable[str]:
    """Files among which are those that match."""
    if is_remote(pattern):
        return [found.path for found in file_systems().match([pattern])[0].metadata_list]
    if "**" not in pattern:
        return (path for path in glob.iglob(pattern) if not os.path.isdir(path))
    folder = _folder(pattern)
    walked = os.walk(folder or ".", onerror=_raise)
    found = chain.from_iterable((os.path.join(parent, name) for name in names) for parent, _, names in walked)
    return found if folder else (path.removeprefix("./") for path in found)


def _folder(pattern: str) -> str:
    """The part of a pattern that ends with the last slash before its first wildcard."""
    fixed = _WILDCARDS.split(pattern, maxsplit=1)[0]
    return fixed[: fixed.rfind("/") + 1]


def _expression(pattern: str) -> re.Pattern[str]:
    """What a path has to match, with a group for each place that has wildcards."""
    pieces = _WILDCARDS.split(pattern)  # what is fixed and what is not, in turn
    for place, piece in enumerate(pieces):
        pieces[place] = f"({_WILDCARD.sub(_one_wildcard, piece)})" if place % 2 else re.escape(piece)
    return re.compile("".join(pieces), re.DOTALL)


def _one_wildcard(found: re.Match[str]) -> str:
    wildcard = found[0]
    if wildcard.startswith("**"):
        return ".*"
    if wildcard in ("*", "?"):
        return r"[^/]*" if wildcard == "*" else "[^/]"
    negated = wildcard[1] == "!"
    characters = re.sub(r"[\\^\[&~|]", r"\\\g<0>", wildcard[2 if negated else 1 : -1])
    return f"(?!/)[{'^' * negated}{characters}]"


def _raise(error: OSError) -> None:
    raise error
