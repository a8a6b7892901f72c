"""In which order components are executed, and which of them need not be.

A component is identified by a fingerprint of its name, its version, its parameters, the packages it depends on, the
files it reads from outside and the contents of the artifacts it reads. If a complete artifact of that fingerprint
exists, the component is up to date. A component whose inputs come out as they were is not executed again.

Several runs may share a root. An execution has its artifact's lock. A run holds what it has found or made, together
with others, until it ends: nothing is removed or replaced that it may still read.
"""

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline import artifacts
from pipeline.artifacts import Artifact
from pipeline.component import Component, identify, needed
from pipeline.interrupts import interruptible
from pipeline.locks import exclusive, unread
from pipeline.plan import all_inputs, inspect, lines, up_to_date
from preprocessing.errors import RefusedError

_log = logging.getLogger("heliograph")


def run(
    components: Sequence[Component],
    root: Path,
    until: str | Collection[str] | None = None,
    rerun: Collection[str] = (),
    command: str = "",
) -> dict[str, Artifact]:
    """Tells what is going to be executed and why; then executes, in the given order, what is not up to date.

    Args:
        components: In topological order.
        root: Folder of the run.
        until: Keys of the components that are wanted: only they and what they need is executed. None: all components.
        rerun: Keys of those that are executed although they are up to date.
        command: What a person typed, for the manifests.

    Returns:
        Key of a component to its artifact.

    Raises:
        KeyboardInterrupt: With a message that names the interrupted component.
    """
    chosen = components if until is None else needed(components, until)
    wanted = [dataclasses.replace(item, external_files=functools.cache(item.external_files)) for item in chosen]
    for component in wanted:
        component.external_files()  # a missing file is told before anything else
    states = inspect(wanted, root, rerun)
    for line in lines(states):
        _log.info("%s", line)
    width = max(len(component.key) for component in wanted)
    with ExitStack() as held:
        done: dict[str, Artifact] = {}
        for component, state in zip(wanted, states, strict=True):
            label = component.key.ljust(width)
            execution = _Execution.begin(held.enter_context, component, done, root, label, command)
            try:
                artifact = execution.bring_up_to_date(held.enter_context, again=component.key in rerun)
            except KeyboardInterrupt as interrupt:
                afterwards = (
                    "goes on from its last checkpoint, if it has one,"
                    if component.resumes_from
                    else "keeps nothing and starts afresh"
                )
                raise KeyboardInterrupt(str(interrupt) or f"{component.key} {afterwards} in the next run") from None
            if state.awaits and not execution.executed:
                _log.info("%s  up to date (%s)", execution.label, artifact.id)
            done[component.key] = artifact
    return done


class _Execution:
    """One component's turn in a run.

    Args:
        component: Whose.
        done: Key of each component before it to its artifact.
        root: Folder of the run.
        label: What its lines of progress begin with.
        command: What a person typed.
    """

    def __init__(
        self, component: Component, done: Mapping[str, Artifact], root: Path, label: str, command: str
    ) -> None:
        self.component, self.label, self.command, self.root = component, label, command, root
        self.inputs = all_inputs(component, done, root)
        self.files = component.external_files()
        fingerprints = {name: artifact.fingerprint for name, artifact in self.inputs.items()}
        self.path = root / component.name / identify(component, fingerprints, self.files)
        self.executed = False

    @classmethod
    def begin(cls, hold: Callable[..., object], component: Component, *arguments: Any) -> "_Execution":
        """With what the component resolved held, too; what another process removes before is resolved again."""
        while True:
            execution = cls(component, *arguments)
            try:
                for name, artifact in execution.inputs.items():
                    if name not in component.inputs:
                        hold(artifacts.reading(artifact))
            except FileNotFoundError:
                continue
            return execution

    def bring_up_to_date(self, hold: Callable[..., object], again: bool) -> Artifact:
        """Its artifact, executed if need be, or in any case; it is held from then on."""
        while True:
            artifact = None if again and not self.executed else self._find()
            if artifact is None:
                artifact = self._execute_alone(again)
            try:
                hold(artifacts.reading(artifact))
            except FileNotFoundError:
                continue  # another process has removed it since, or made it once more
            return artifact

    def _find(self) -> Artifact | None:
        return up_to_date(self.component, self.root, self.path.name)

    def _execute_alone(self, again: bool) -> Artifact:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(self.path.with_name(f"{self.path.name}.lock"), self._on_wait):
            if again and not self.executed and self._find() is not None:
                # What is there stays readable until the new one is whole, and then until nobody reads it.
                self._execute(self.path.parent / artifacts.RERUN / self.path.name)
                with unread(self.path / artifacts.MANIFEST, self._on_readers):
                    artifacts.replace(self.path)
            elif self._find() is None:
                artifacts.replace(self.path)  # if a process was killed while it did
            artifact = self._find()  # another process may have finished it
            return artifact if artifact is not None else self._execute(self.path)

    def _execute(self, path: Path) -> Artifact:
        component = self.component
        _log.info("%s  running…", self.label)
        artifacts.prepare(path, keep=component.resumes_from is not None)
        started, clock = datetime.now(UTC), time.monotonic()
        try:
            with interruptible():
                metrics = component.execute({name: artifact.path for name, artifact in self.inputs.items()}, path)
        except RefusedError as error:
            artifacts.write_whole(path / artifacts.REFUSAL, " ".join(str(error).split()) + "\n")
            raise
        artifact = artifacts.publish(
            path,
            component=component.name,
            version=component.version,
            packages=component.packages,
            inputs=self.inputs,
            external_files=self.files,
            parameters=component.parameters,
            metrics=metrics,
            started=started,
            ended=datetime.now(UTC),
            command=self.command,
            scratch=component.resumes_from,
            timed=component.timed,
        )
        self.executed = True
        _log.info("%s  done in %.1f s (%s)", self.label, time.monotonic() - clock, artifact.id)
        return artifact

    def _on_wait(self, process: str) -> None:
        _log.info("%s  waiting for process %s, which is executing it", self.label, process)

    def _on_readers(self) -> None:
        _log.info("%s  done again; waiting for the processes that read the old artifact", self.label)
