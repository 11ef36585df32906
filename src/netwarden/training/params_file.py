"""Values put into params.json; every other character of it stays as somebody wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from netwarden.params import Params, load_params

Value = bool | int | float | str | None | list[int | float | str]

_BLANKS = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


def write_values(path: Path, values: Mapping[str, Value]) -> Params:
    """The parameters after the change; `values` go by path, `hybrid.trees.max_depth`.

    A key that the file leaves out is added as the last of its section. Where the result would be refused, raises
    ConfigError and leaves the file as it is.
    """
    load_params(path)
    text = path.read_text(encoding="utf-8")
    for name, value in values.items():
        text = with_value(text, name.split("."), value)
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_text(text, encoding="utf-8")
        params = load_params(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return params


def with_value(text: str, names: list[str], value: Value) -> str:
    """The text of a JSON object with one value in place of another, or added."""
    start = _after_blanks(text, 0)
    for depth, name in enumerate(names):
        members = list(_members(text, start))
        found = next((member for member in members if member.name == name), None)
        if found is None:
            rest = json.dumps(_nested(names[depth + 1 :], value))
            return _added(text, start, members, f"{json.dumps(name)}: {rest}")
        start, end = found.start, found.end
    return f"{text[:start]}{json.dumps(value)}{text[end:]}"


@dataclass(frozen=True)
class _Member:
    """Where a member of an object stands: its key begins at `key`, its value lies between `start` and `end`."""

    name: str
    key: int
    start: int
    end: int


def _members(text: str, start: int) -> Iterator[_Member]:
    """Members of the object that begins at `start`; the text is known to be JSON."""
    at = _after_blanks(text, start + 1)
    while text[at] != "}":
        name, colon = _DECODER.raw_decode(text, at)
        value = _after_blanks(text, _after_blanks(text, colon) + 1)
        _, end = _DECODER.raw_decode(text, value)
        yield _Member(name, at, value, end)
        at = _after_blanks(text, end)
        if text[at] == ",":
            at = _after_blanks(text, at + 1)


def _added(text: str, start: int, members: list[_Member], member: str) -> str:
    """After the last member, with as much room between as there is before that one."""
    if not members:
        return f"{text[: start + 1]}{member}{text[start + 1 :]}"
    last = members[-1]
    before = text[: last.key]
    room = before[len(before.rstrip()) :]
    return f"{text[: last.end]},{room or ' '}{member}{text[last.end :]}"


def _nested(names: list[str], value: Value) -> object:
    nested: object = value
    for name in reversed(names):
        nested = {name: nested}
    return nested


def _after_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return found.end() if found else at
