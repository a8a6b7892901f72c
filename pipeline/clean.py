"""What may be removed from a root: what killed executions left, and what a configuration no longer uses.

Only what Heliograph itself makes is looked at, by the form of its name; nothing is removed that a running process has
locked, be it an execution that is going on, or an artifact that a run or a server reads. Everything is judged once
more when its lock is held.
"""

import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline import artifacts
from pipeline.blessing import BASELINE
from pipeline.components import CHECKPOINTS
from pipeline.lineage import of_artifact
from pipeline.locks import tried
from pipeline.pusher import PUSH_LOCK, is_published, published_in
from serving.aside import ASIDE, HELD

_ID = rf"[0-9a-f]{{{artifacts.ID_LENGTH}}}"
_ARTIFACT = re.compile(rf"({_ID})")
_ASIDE = re.compile(rf"({_ID})\.aside-[0-9a-f]{{32}}")
_LOCK = re.compile(rf"({_ID})\.lock")
_AGAIN = re.compile(rf"({_ID})(\.old|\.aside-[0-9a-f]{{32}})?")

_UNFINISHED = "left by an execution that did not finish"
_ENDED = "the lock of a process that has ended"
_QUIET_SECONDS = 60.0
"""Age from which on nobody is writing a file, or about to lock a folder."""


@dataclass(frozen=True)
class Verdict:
    """What becomes of something that may be garbage."""

    path: Path
    removed: bool
    """Whether it is removed, or would be."""
    why: str
    bytes: int


@dataclass(frozen=True)
class _Suspect:
    path: Path
    lock: Path | None
    """What an execution that writes it has locked."""
    judge: Callable[[], tuple[bool, str] | None]
    """Whether it is garbage, and why or why not; None if it is none of our business."""


def clean(
    root: Path, dry_run: bool, used: Collection[str] | None = None, servable: Path | None = None
) -> list[Verdict]:
    """Removes what nobody needs.

    Args:
        root: folder of the run.
        dry_run: whether everything stays and is only judged.
        used: ids of the artifacts of a configuration, made, begun or not: others are removed, too, but for the ancestry
            of the newest pushed model, and what the model in use was compared with. None: of complete artifacts none is
            removed, nor of refusals and of trainings that can go on.
        servable: folder of the published versions, if there is one.
    """
    verdicts = []
    for suspect in [*_in_root(root, used), *_in_servable(servable)]:
        verdict = _decide(suspect, dry_run)
        if verdict is not None:
            verdicts.append(verdict)
    return verdicts


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; other processes may be writing and removing some."""
    files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names] if path.is_dir() else [path]
    total = 0
    for file in files:
        with suppress(FileNotFoundError):
            total += file.lstat().st_size
    return total


def _decide(suspect: _Suspect, dry_run: bool) -> Verdict | None:
    path = suspect.path
    with tried(suspect.lock, make=True) if suspect.lock else nullcontext(True) as free:
        judged = suspect.judge() if path.exists() else None
        if judged is None:
            return None
        garbage, why = judged
        if garbage and not free:
            garbage, why = False, "a running process has it"
        with tried(path / artifacts.MANIFEST, make=False) as unread:
            if garbage and not unread:
                garbage, why = False, "a running process reads it"
            verdict = Verdict(path, garbage, why, size(path))
            if garbage and not dry_run:
                artifacts.remove(path) if path.is_dir() else path.unlink()
    return verdict


def _in_root(root: Path, used: Collection[str] | None) -> Iterator[_Suspect]:
    kept = {} if used is None else _compared(root, used) | _made_of(root)
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        for path, artifact_id in _matching(folder, _ARTIFACT):
            yield _Suspect(path, _lock_of(folder, artifact_id), partial(_judge_artifact, path, used, kept))
        for path, artifact_id in _matching(folder, _ASIDE):
            yield _Suspect(path, _lock_of(folder, artifact_id), lambda: (True, _UNFINISHED))
        for path, artifact_id in _matching(folder / artifacts.RERUN, _AGAIN):
            yield _Suspect(path, _lock_of(folder, artifact_id), partial(_judge_rerun, path, used))
        for path, _ in _matching(folder, _LOCK):  # after those whose locks they are
            yield _Suspect(path, path, lambda: (True, _ENDED))
    for path in root.glob(".config.toml.*"):
        yield _Suspect(path, None, partial(_judge_quiet, path))


def _in_servable(servable: Path | None) -> Iterator[_Suspect]:
    for path in sorted(servable.glob(f"{ASIDE}*")) if servable is not None else []:
        lock = path / HELD
        yield _Suspect(path, lock if lock.exists() else None, partial(_judge_quiet, path))
    if servable is not None and (servable / PUSH_LOCK).exists():
        yield _Suspect(servable / PUSH_LOCK, servable / PUSH_LOCK, lambda: (True, _ENDED))


def _judge_artifact(path: Path, used: Collection[str] | None, kept: Mapping[str, str]) -> tuple[bool, str] | None:
    complete = (path / artifacts.MANIFEST).exists()
    refused = artifacts.refusal(path) is not None
    if (complete or refused) and (used is None or path.name in used):
        return None
    if not (complete or refused):
        return _judge_unfinished(path, used, "a run")
    if path.name in kept:
        return False, kept[path.name]
    return True, "the configuration does not use it"


def _judge_rerun(path: Path, used: Collection[str] | None) -> tuple[bool, str]:
    if _ARTIFACT.fullmatch(path.name):
        complete = (path / artifacts.MANIFEST).exists()
        if complete and not (path.parents[1] / path.name).exists():
            return False, "the next run puts it in its place"
        if not complete:
            if used is not None and (path.parents[1] / path.name / artifacts.MANIFEST).exists():
                return True, f"{_UNFINISHED}; the configuration uses the one that is there"
            return _judge_unfinished(path, used, "a run with --rerun")
    return True, _UNFINISHED


def _judge_unfinished(path: Path, used: Collection[str] | None, who: str) -> tuple[bool, str]:
    if not any((path / CHECKPOINTS).glob("*")):
        return True, _UNFINISHED
    if used is None or path.name in used:
        return False, f"{who} can go on from its checkpoints"
    return True, "checkpoints of an interrupted training that the configuration does not go on with"


def _compared(root: Path, used: Collection[str]) -> dict[str, str]:
    """Ids of the evaluations that models in use were compared with, and that the next models will be."""
    verdicts = artifacts.find_all(root, "ModelValidator")
    kept: dict[str, str] = {}
    names = set()
    for verdict in verdicts:
        name = verdict.manifest.parameters["name"]
        if verdict.metrics["blessed"] and name not in names:  # the newest come first
            names.add(name)
            ids = (verdict.id, verdict.manifest.inputs["Evaluator"].id)
            kept |= dict.fromkeys(ids, "the next model will be compared with it")
    for verdict in verdicts:
        if verdict.id in used and BASELINE in verdict.manifest.inputs:
            kept[verdict.manifest.inputs[BASELINE].id] = "the model in use was compared with it"
    return kept


def _made_of(root: Path) -> dict[str, str]:
    """Ids of what the newest published version of each servable was made of."""
    newest: dict[Path, Path] = {}
    ids: dict[str, str] = {}
    for artifact in artifacts.find_all(root, "Pusher"):
        version = published_in(artifact.path)
        if is_published(artifact.path) and newest.setdefault(version.parent, version) == version:
            ids.update({node.id: f"{version} was made of it" for node in of_artifact(artifact).nodes.values()})
    return ids


def _matching(folder: Path, pattern: re.Pattern[str]) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        matched = pattern.fullmatch(path.name)
        if matched:
            yield path, matched[1]


def _lock_of(folder: Path, artifact_id: str) -> Path:
    return folder / f"{artifact_id}.lock"


def _judge_quiet(path: Path) -> tuple[bool, str] | None:
    return (True, _UNFINISHED) if time.time() - path.stat().st_mtime > _QUIET_SECONDS else None
