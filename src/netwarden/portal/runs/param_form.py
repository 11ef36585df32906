"""params.json as a form: one field per parameter with help and bounds from its JSON schema, and the way back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from netwarden.detectors.kinds import KINDS
from netwarden.errors import InputError
from netwarden.flows.schema import schema_ids
from netwarden.params import Params, load_params
from netwarden.sections import first_fault
from netwarden.settings import Settings

Value = bool | int | float | str | None | list[int | float | str]


class Parameter(BaseModel):
    """One parameter of params.json."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(description="By path: `hybrid.trees.max_depth`")
    kind: str = Field(description="integer, number, string, boolean or array")
    help: str
    bounds: str = Field(description="In words, such as `≥ 1`; empty: none")
    choices: list[str] = Field(description="Empty: anything of its kind")
    nullable: bool
    value: Value = Field(description="As params.json has it now")
    default: Value = Field(description="Where params.json leaves it out")

    @property
    def shown(self) -> str:
        """The value as a form field holds it."""
        return as_text(self.value)

    @property
    def title(self) -> str:
        return self.name.partition(".")[2].replace("_", " ").replace(".", " · ")


@dataclass(frozen=True)
class FieldSet:
    """The parameters of one section."""

    name: str
    parameters: tuple[Parameter, ...]
    used: bool  # whether the detector that params.json names reads it


def parameters(settings: Settings) -> list[Parameter]:
    """All parameters, in the order of params.json's sections."""
    present = load_params(settings.workspace / "params.json").model_dump(mode="json", by_alias=True)
    schema = Params.model_json_schema(by_alias=True)
    return [
        each.model_copy(update={"choices": each.choices or _choices(settings, each.name, each.value)})
        for each in _fields(schema, schema, present, ())
    ]


def field_sets(settings: Settings) -> list[FieldSet]:
    """Parameters by section; sections of detector kinds that are not in use come last."""
    found = parameters(settings)
    sections = list(dict.fromkeys(parameter.name.partition(".")[0] for parameter in found))
    detector = next(str(parameter.value) for parameter in found if parameter.name == "train.detector")
    sets = [
        FieldSet(name, tuple(each for each in found if each.name.startswith(f"{name}.")), _is_used(name, detector))
        for name in sections
    ]
    return sorted(sets, key=lambda each: not each.used)


def changed(settings: Settings, given: Mapping[str, Value]) -> dict[str, Value]:
    """Of the values given by path, those that differ from params.json. Raises InputError where they are refused."""
    known = {parameter.name: parameter for parameter in parameters(settings)}
    for name in given:
        if name not in known:
            raise InputError(f"{name!r} is no parameter; GET /api/v1/train/parameters lists them")
    changes = {name: value for name, value in given.items() if value != known[name].value}
    _require_valid(settings, changes)
    return changes


def read_form(settings: Settings, form: Mapping[str, str]) -> dict[str, Value]:
    """Changes of a form whose fields are named by path. Raises InputError that names the field."""
    known = {parameter.name: parameter for parameter in parameters(settings)}
    given = {name: _parsed(known[name], text.strip()) for name, text in form.items() if name in known}
    return changed(settings, given)


def as_text(value: Value) -> str:
    """A value as a form field holds it."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _parsed(parameter: Parameter, text: str) -> Value:
    if not text and parameter.nullable:
        return None
    try:
        match parameter.kind:
            case "integer":
                return int(text)
            case "number":
                return float(text)
            case "boolean":
                return bool(json.loads(text))
            case "array":
                return [_item(item.strip()) for item in text.split(",") if item.strip()]
    except ValueError:
        raise InputError(f"{parameter.name}: {text!r} is no {parameter.kind}") from None
    return text


def _item(text: str) -> int | float | str:
    try:
        return int(text)
    except ValueError:
        return text


def _require_valid(settings: Settings, changes: Mapping[str, Value]) -> None:
    """Raise InputError where params.json would be refused with the changes."""
    values = load_params(settings.workspace / "params.json").model_dump(mode="json", by_alias=True)
    for name, value in changes.items():
        section: Any = values
        *path, last = name.split(".")
        for part in path:
            if section.get(part) is None:
                section[part] = {}
            section = section[part]
        section[last] = value
    try:
        Params.model_validate(values)
    except ValidationError as error:
        raise InputError(first_fault(error)) from None


def _fields(schema: dict[str, Any], node: dict[str, Any], present: Any, path: tuple[str, ...]) -> Iterator[Parameter]:
    for name, stated in node["properties"].items():
        facts = _resolved(schema, stated)
        here = (*path, name)
        value = present.get(name) if isinstance(present, dict) else None
        if "properties" in facts:
            if not facts["nullable"] or value is not None:
                yield from _fields(schema, facts, value, here)
            continue
        yield Parameter(
            name=".".join(here),
            kind=facts.get("type", "string"),
            help=facts.get("description", ""),
            bounds=_bounds(facts),
            choices=[str(choice) for choice in facts.get("enum", ())],
            nullable=facts["nullable"],
            value=value,
            default=facts.get("default"),
        )


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """A node with what it refers to; of `X or null`, X, and that it may be null."""
    options = node.get("anyOf", ())
    nullable = any(option.get("type") == "null" for option in options)
    inner = next((option for option in options if option.get("type") != "null"), node)
    target = schema["$defs"][inner["$ref"].rpartition("/")[2]] if "$ref" in inner else inner
    own = {name: value for name, value in node.items() if name not in ("anyOf", "$ref")}
    return {**target, **own, "nullable": nullable}


_SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _bounds(facts: dict[str, Any]) -> str:
    return " and ".join(f"{sign} {facts[name]:g}" for name, sign in _SIGNS.items() if name in facts)


def _is_used(section: str, detector: str) -> bool:
    """Whether the pipeline reads a section; the hybrid's family head is boosted trees."""
    if section not in {kind.section for kind in KINDS.values()}:
        return True
    mine = KINDS[detector].section if detector in KINDS else ""
    return section == mine or (mine == "hybrid" and section == "xgb_classifier")


def _choices(settings: Settings, name: str, value: Value) -> list[str]:
    """What a parameter of free text may be here."""
    match name:
        case "train.detector":
            found = list(KINDS)
        case "ingest.dataset":
            found = sorted(path.stem for path in settings.manifests_dir.glob("*.json"))
        case "ingest.schema_id":
            found = ["", *schema_ids(settings.schema_dir)]
        case _:
            return []
    return found if value in found else [str(value), *found]
