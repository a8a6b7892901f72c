"""A run as the page sees it: its configuration, its artifacts, and the documents in them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts import Artifact
from pipeline.config import Config
from pipeline.plan import State


@dataclass(frozen=True)
class Run:
    """What is shown: of each component the artifact that is up to date, or the newest one, but none if it refused."""

    config: Config
    states: Sequence[State]

    def artifact(self, key: str) -> Artifact | None:
        """A component's artifact, if there is one."""
        return next((state.artifact for state in self.states if state.component == key), None)

    def file(self, key: str, name: str) -> Path | None:
        """An output of a component by the end of its path; None if its artifact, perhaps an older one, has none."""
        artifact = self.artifact(key)
        if artifact is None:
            return None
        found = (path for path in artifact.manifest.outputs if f"/{path}".endswith(f"/{name}"))
        return next((artifact.path / path for path in found), None)

    def document(self, key: str, name: str) -> Any:
        """The content of a JSON file, or None as of `file`."""
        path = self.file(key, name)
        return None if path is None else json.loads(path.read_text(encoding="utf-8"))

    def judgement(self, key: str, name: str) -> Any:
        """The content of a JSON file: of the execution that is called for, though it failed; else as of `document`."""
        left = self._left_behind(key, name)
        return self.document(key, name) if left is None else left

    def _left_behind(self, key: str, name: str) -> Any:
        roots = [state.artifact.path.parents[1] for state in self.states if state.artifact is not None]
        for state in self.states:
            failed = state.state in ("missing", "outdated", "refused")
            if state.component == key and failed and roots and len(state.ids) == 1:
                path = roots[0] / key / state.ids[0] / name
                return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        return None


def anchor(artifact: Artifact) -> str:
    """What links to an artifact's row lead to."""
    return f"{artifact.manifest.component}-{artifact.id}"
