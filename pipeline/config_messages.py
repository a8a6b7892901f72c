"""What is wrong with a configuration, in one line: where, which key, expected, found, and the nearest known key."""

import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config_files import Document
from pipeline.config_section import KIND_KEY
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
    place, kind = _place(problem["loc"], model), problem["type"]
    location = place.location
    if kind == "extra_forbidden":
        return location, f"unknown key; {_nearest(place, model)}"
    if kind == "missing":
        return location, f"missing; add it ({_description(place)})"
    if kind == "value_error":
        # The check of a whole section names the field that it is about.
        text = str(problem["ctx"]["error"])
        field, colon, complaint = text.partition(": ")
        return ((*location, field), complaint) if colon and field.isidentifier() else (location, text)
    if kind == "union_tag_not_found":
        return location, f"expected a section, got {_shown(problem['input'])}"
    if kind == "union_tag_invalid":
        expected = " or ".join(problem["ctx"]["expected_tags"].rsplit(", ", 1))
        return (*location, KIND_KEY), f"expected {expected}, got {_shown(problem['input'][KIND_KEY])}"
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


class _Place(NamedTuple):
    """Where a problem is."""

    location: Location  # the key path, as a person writes it
    section: type[BaseModel]  # the section that holds its last key
    kind: str  # the section's kind, "" if it has but one
    kinds: Mapping[str, type[BaseModel]]  # all kinds of that section


def _place(found: Location, model: type[BaseModel]) -> _Place:
    """The place of pydantic's location, which names the kind of a section after its key."""
    inside = _Place((), model, "", {"": model})
    place, parts = inside, iter(found)
    for part in parts:
        place = inside = inside._replace(location=(*inside.location, part))
        if part in place.section.model_fields:
            kinds = _kinds(place.section.model_fields[str(part)].annotation)
            kind = "" if "" in kinds or not kinds else str(next(parts, ""))
            if kind in kinds:
                inside = _Place(place.location, kinds[kind], kind, kinds)
    return place


def _nearest(place: _Place, model: type[BaseModel]) -> str:
    """Where an unknown key belongs: to another kind of its section; else the nearest known key, here or elsewhere."""
    *path, leaf = (str(part) for part in place.location)
    for kind, section in place.kinds.items():
        if leaf in section.model_fields:
            return f'it belongs to {KIND_KEY} = "{kind}", here it is "{place.kind}"'
    siblings = list(place.section.model_fields)
    near = _closest(leaf, siblings)
    if near is not None:
        return f"did you mean {'.'.join([*path, near])}?"
    by_leaf: dict[str, str] = {}
    for dotted in _keys(model):
        by_leaf.setdefault(dotted.rpartition(".")[2], dotted)
    near = _closest(leaf, by_leaf)
    if near is not None:
        return f"did you mean {by_leaf[near]}?"
    return f"known keys here: {', '.join(siblings)}"


def _closest(key: str, known: Collection[str]) -> str | None:
    """The most similar key, of those with the same first word if there are any: `max_length` is no `min_length`."""
    near = difflib.get_close_matches(key, known, n=len(known)) if known else []
    alike = [other for other in near if other.partition("_")[0] == key.partition("_")[0]]
    return next(iter(alike or near), None)


def _description(place: _Place) -> str:
    info = place.section.model_fields[str(place.location[-1])]
    return (info.description or "").partition("\n")[0].rstrip(".")


def _kinds(annotation: Any) -> dict[str, type[BaseModel]]:
    """The kinds of section that a field holds, directly or in an array, by their tags; "" where there is but one."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return {"": candidate}
    members = (get_args(member) for member in get_args(annotation) if get_origin(member) is Annotated)
    return {tag.tag: section for section, tag in members if isinstance(tag, Tag)}


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        yield prefix + name
        for section in _kinds(info.annotation).values():
            yield from _keys(section, f"{prefix}{name}.")
