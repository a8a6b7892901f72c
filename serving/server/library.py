"""Which versions of which models are there, and the life of each: found, loaded, warmed up, served, drained, unloaded.

As TF Serving does: the folder is polled; the newest versions are wanted; a new one is loaded and warm before an old one
goes; and an old one goes when the last request that uses it is answered.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from serving.server.errors import RequestError
from serving.server.servable import Servable
from serving.versions import versions_of

log = logging.getLogger("heliograph.serve")

State = ModelVersionStatus.State


@dataclass
class Version:
    """A version that the library knows of."""

    number: int
    state: int = State.START
    error: RequestError | None = None
    servable: Servable | None = None
    users: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is served under a name."""

    name: str
    base_dir: Path
    latest: int = 1
    """So many of the newest versions are served."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """Names of versions."""


class Library:
    """The versions of all models. All its methods belong to one event loop.

    Args:
        models: what to serve.
        load: makes a servable of a version's folder; called in a thread.
    """

    def __init__(self, models: list[Model], load: Callable[[Path], Servable]) -> None:
        self.models = {model.name: model for model in models}
        self.versions: dict[str, dict[int, Version]] = {model.name: {} for model in models}
        self._load = load
        self._draining: set[asyncio.Task[None]] = set()

    async def refresh(self) -> None:
        """Look at the folders once; load what is new, then let go of what is no longer wanted.

        A version that cannot be loaded is not tried again, unless it goes away and comes back (TF Serving tries five
        times).
        """
        for model in self.models.values():
            known = self.versions[model.name]
            found = {int(path.name): path for path in versions_of(model.base_dir)}
            for number in [one for one, version in known.items() if version.error is not None and one not in found]:
                del known[number]
            wanted = sorted(found)[-model.latest :]
            for number in wanted:
                if number not in known or (known[number].state == State.END and known[number].error is None):
                    known[number] = Version(number)
                    await self._bring_up(model, known[number], found[number])
            served = {number for number, version in known.items() if version.state == State.AVAILABLE}
            # Without a wanted version that can serve, what serves goes on serving.
            if served & set(wanted):
                for number in served - set(wanted):
                    self._let_go(model, known[number])

    async def poll(self, seconds: float) -> None:
        """Refresh for ever."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.refresh()
            except Exception as error:  # the folder may be unreachable for a while
                log.warning("cannot look for new versions: %s", error)

    async def close(self) -> None:
        """Unload everything, once all requests are answered."""
        for model in self.models.values():
            for version in self.versions[model.name].values():
                if version.state == State.AVAILABLE:
                    self._let_go(model, version)
        await asyncio.gather(*self._draining)

    @asynccontextmanager
    async def use(self, name: str, number: int | None = None, label: str = "") -> AsyncIterator[Servable]:
        """A version that stays loaded as long as it is used; by default the newest one.

        Raises:
            RequestError: there is none.
        """
        version = self._find(name, number, label)
        servable = version.servable
        if servable is None:
            raise RequestError(grpc.StatusCode.NOT_FOUND, self._missing(name, number))
        version.users += 1
        version.idle.clear()
        try:
            yield servable
        finally:
            version.users -= 1
            if not version.users:
                version.idle.set()

    def status(self, name: str, number: int | None = None, label: str = "") -> list[Version]:
        """The versions of a model, the newest first.

        Raises:
            RequestError: there is no such model or version.
        """
        if label:
            number = self._labelled(name, label)
        known = self.versions.get(name, {})
        if number is not None:
            if number not in known:
                raise RequestError(grpc.StatusCode.NOT_FOUND, f"Could not find version {number} of model {name}")
            return [known[number]]
        if not known:
            raise RequestError(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {name}")
        return [known[number] for number in sorted(known, reverse=True)]

    async def _bring_up(self, model: Model, version: Version, path: Path) -> None:
        version.state = State.LOADING
        log.info("%s %d: loading", model.name, version.number)
        try:
            version.servable = await asyncio.to_thread(self._load, path)
        except Exception as error:  # whatever it is, the version that serves goes on
            # Made anew: the one that was raised holds on to the frames in which it was, and so to the model.
            code, message = (
                (error.code, error.message)
                if isinstance(error, RequestError)
                else (grpc.StatusCode.UNKNOWN, f"{path}: cannot be loaded: {error}")
            )
            version.state, version.error = State.END, RequestError(code, message)
            log.error("%s %d: %s", model.name, version.number, message)
            return
        version.idle.set()
        version.state = State.AVAILABLE
        log.info("%s %d: available", model.name, version.number)

    def _let_go(self, model: Model, version: Version) -> None:
        version.state = State.UNLOADING

        async def drain() -> None:
            await version.idle.wait()
            servable, version.servable = version.servable, None
            version.state = State.END
            if servable is not None:
                await asyncio.to_thread(servable.close)
            log.info("%s %d: unloaded", model.name, version.number)

        task = asyncio.create_task(drain())
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    def _find(self, name: str, number: int | None, label: str) -> Version:
        if label:
            number = self._labelled(name, label)
        known = self.versions.get(name, {})
        served = [one for one in known.values() if one.state == State.AVAILABLE and number in (None, one.number)]
        if not served:
            raise RequestError(grpc.StatusCode.NOT_FOUND, self._missing(name, number))
        return max(served, key=lambda version: version.number)

    def _labelled(self, name: str, label: str) -> int:
        number = self.models[name].labels.get(label) if name in self.models else None
        if number is None:
            raise RequestError(grpc.StatusCode.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
        return number

    @staticmethod
    def _missing(name: str, number: int | None) -> str:
        which = f"Latest({name})" if number is None else f"Specific({name}, {number})"
        return f"Servable not found for request: {which}"
