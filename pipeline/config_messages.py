"""What is wrong with a configuration, in one line: where, which key, expected, found, and the nearest known key."""

import difflib
import json
import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config_files import Document
from pipeline.errors import UsageError

_EXPECTED = {
    "bool_type": "true or false",
    "float_type": "a number",
    "int_type": "a whole number",
    "model_type": "a section",
    "string_type": "a string",
    "tuple_type": "an array",
}
_SHOWN_LENGTH = 60  # characters of a wrong value that a message repeats

Location = tuple[int | str, ...]


def explain(error: ValidationError, document: Document, model: type[BaseModel]) -> UsageError:
    """The first problem of a validation as a `UsageError` of one line, with the number of the others."""
    # A default that is computed from another field is only reported because that field is wrong.
    problems = [problem for problem in error.errors() if problem["type"] != "default_factory_not_called"]
    first, more = problems[0], len(problems) - 1
    location, complaint = _problem(first, model)
    text = f"{_where(location, document)}: {'.'.join(map(str, location))}: {complaint}"
    return UsageError(f"{text} (and {more} more)" if more else text)


def _where(location: Location, document: Document) -> str:
    for keys, override in document.overrides.items():
        if location[: len(keys)] == keys:
            return f"--set {override}"
    return document.label


def _problem(problem: ErrorDetails, model: type[BaseModel]) -> tuple[Location, str]:
    """The key path that a problem is about, and the complaint."""
    location, kind = problem["loc"], problem["type"]
    if kind == "extra_forbidden":
        return location, f"unknown key; {_nearest(location, model)}"
    if kind == "missing":
        return location, f"missing; add it ({_description(location, model)})"
    if kind == "value_error":
        # The check of a whole section names the field that it is about.
        text = str(problem["ctx"]["error"])
        field, colon, complaint = text.partition(": ")
        return ((*location, field), complaint) if colon and field.isidentifier() else (location, text)
    expected = _EXPECTED.get(kind) or _expectation(problem["msg"])
    return location, f"expected {expected}, got {_shown(problem['input'])}"


def _expectation(message: str) -> str:
    return re.sub(r"^(Input|String) should (be )?", "", message)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list | tuple):
        return "an array"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"


def _nearest(location: Location, model: type[BaseModel]) -> str:
    """Names the known key nearest to an unknown one: in its own section first, then by its last word in any section."""
    *path, leaf = (str(part) for part in location)
    siblings = list(_model_at(tuple(location[:-1]), model).model_fields)
    near = difflib.get_close_matches(leaf, siblings, n=1)
    if near:
        return f"did you mean {'.'.join([*path, near[0]])}?"
    by_leaf: dict[str, str] = {}
    for dotted in _keys(model):
        by_leaf.setdefault(dotted.rpartition(".")[2], dotted)
    near = difflib.get_close_matches(leaf, by_leaf, n=1)
    if near:
        return f"did you mean {by_leaf[near[0]]}?"
    return f"known keys here: {', '.join(siblings)}"


def _description(location: Location, model: type[BaseModel]) -> str:
    info = _model_at(tuple(location[:-1]), model).model_fields[str(location[-1])]
    return (info.description or "").partition("\n")[0].rstrip(".")


def _model_at(location: Location, model: type[BaseModel]) -> type[BaseModel]:
    for part in location:
        if isinstance(part, str):
            model = _section(model.model_fields[part].annotation) or model
    return model


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, directly or in an array of them."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        yield prefix + name
        section = _section(info.annotation)
        if section is not None:
            yield from _keys(section, f"{prefix}{name}.")
