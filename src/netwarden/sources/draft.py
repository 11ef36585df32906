"""A first schema for a dataset nobody here has seen: types, roles, labels and split, with comments on what to check."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from netwarden.errors import InputError, SchemaError
from netwarden.flows.labels import Families, load_families
from netwarden.flows.schema import RESERVED, FileFormat, FlowSchema, fold_name
from netwarden.settings import Settings
from netwarden.sources.draft_labels import draft_label_rule
from netwarden.sources.draft_times import time_format
from netwarden.sources.draft_trial import try_schema
from netwarden.sources.files import sniff
from netwarden.sources.profile import (
    ALWAYS_MISSING,
    ColumnProfile,
    profile_columns,
    telling_shares,
)

_MOST_LABELS = 200
_MOST_LISTED = 64  # categories that a person would read through
_TELLS = 0.999
_LEAK_NAME = re.compile(r"label|class|attack|categor|threat|malicious|malware|difficulty|severity|target|truth", re.I)
_IDENTIFIER_NAME = re.compile(r"(^|[^a-z])(uid|uuid|guid|id|index|idx|hash|serial|unnamed: \d+)$", re.I)
_PORT_NAME = re.compile(r"ports?$|(orig|resp)_p$", re.I)


@dataclass(frozen=True)
class Draft:
    """A schema on disk, and what a person should look at in it."""

    path: Path
    schema: FlowSchema
    checks: tuple[str, ...]

    def __str__(self) -> str:
        roles = Counter(column.role for column in self.schema.columns)
        counts = ", ".join(f"{number} {role}" for role, number in roles.items())
        checks = "".join(f"  check: {check}\n" for check in self.checks)
        return (
            f"{self.path}: {len(self.schema.columns)} columns ({counts})\n{checks}"
            f"next: python ETL.py FILE --dataset {self.schema.id} --schema {self.schema.id}\n"
            f'then: "dataset": "{self.schema.id}" in the section ingest of params.json, and python main.py'
        )


@dataclass
class _Column:
    """A column entry in the making: the YAML facts and a remark for the reader."""

    facts: dict[str, Any]
    remark: str = ""
    check: str = ""


@dataclass
class _Notes:
    missing: set[str]
    positional: bool  # the file has no header, so every column keeps its place
    checks: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def draft_schema(settings: Settings, file: Path, *, label: str, output: Path | None = None) -> Draft:
    """Schema written for a file with a label column, good enough to train on after a glance.

    It goes to `output`, by default schema/NAME.yaml; an existing file is never overwritten.
    Raises SchemaError where the label column is not there, tells nothing, or the target exists; InputError where it
    cannot be written.
    """
    schema_id = _schema_id(output or file)
    target = output or settings.schema_dir / f"{schema_id}.yaml"
    if not target.parent.is_dir():
        raise InputError(f"{target} cannot be written: there is no folder {target.parent}")
    if target.exists():
        raise SchemaError(f"{target} is there already; name another file with --output, or remove it")
    families = load_families(settings.schema_dir / "families.yaml")
    text, checks = _draft(file, schema_id, label, families)
    schema = FlowSchema.model_validate(yaml.safe_load(text))
    if not schema.features:
        raise SchemaError(f"{file.name} has no column besides {label!r} that a detector could use")
    trial = try_schema(file, schema, families)
    text += trial.as_yaml()
    schema = FlowSchema.model_validate(yaml.safe_load(text))
    checks += trial.checks
    target.write_text(text, encoding="utf-8")
    return Draft(target, schema, tuple(checks))


def _draft(file: Path, schema_id: str, label: str, families: Families) -> tuple[str, list[str]]:
    profiles = profile_columns(file)
    truth = _label_profile(profiles, label, file)
    form = sniff(file)
    notes = _Notes(_missing_texts(profiles, truth), positional=not form.header)
    rule = draft_label_rule({**truth.distinct, **truth.missing}, families)
    notes.checks += rule.checks
    telling = _telling(file, profiles, truth)
    columns = [
        column
        for profile in profiles
        if (column := _label_column(truth) if profile is truth else _column(profile, telling, notes))
    ]
    _keep_one_time(columns)
    notes.checks += [column.check for column in columns if column.check]
    form = form.model_copy(update={"missing": (*ALWAYS_MISSING, *sorted(notes.missing))})
    return _render(schema_id, file, form, rule.facts, columns, notes), notes.checks


def _schema_id(path: Path) -> str:
    stem = re.sub(r"[^a-z0-9]+", "_", path.name.lower().split(".")[0]).strip("_")
    return stem if stem[:1].isalpha() else f"data_{stem}".rstrip("_")


def _label_profile(profiles: list[ColumnProfile], label: str, file: Path) -> ColumnProfile:
    truth = next((profile for profile in profiles if fold_name(profile.name) == fold_name(label)), None)
    if truth is None:
        names = ", ".join(profile.name for profile in profiles)
        raise SchemaError(f"{file.name} has no column {label!r}; its columns: {names}")
    values = len(truth.distinct) + len([text for text in truth.missing if text])
    if values < 2:
        raise SchemaError(
            f"column {label!r} of {file.name} has one value only; a detector needs benign and attack rows"
        )
    if values > _MOST_LABELS:
        raise SchemaError(f"column {label!r} of {file.name} has over {_MOST_LABELS} values; is it really the label?")
    return truth


def _telling(file: Path, profiles: list[ColumnProfile], truth: ColumnProfile) -> dict[str, str]:
    """Columns that may be another form of the label, and why: texts of few values, and numbers with a name like it."""
    suspects = [
        profile.name
        for profile in profiles
        if profile is not truth and not profile.overflowing and len(profile.distinct) + len(profile.missing) > 1
        if not profile.numeric or _LEAK_NAME.search(profile.name)
    ]
    found = telling_shares(file, suspects, truth.name) if suspects else {}
    told = {
        name: f"its value alone tells the label in {up:.1%} of rows" for name, (up, _) in found.items() if up >= _TELLS
    }
    coarser = {
        name: f"the label alone tells its value in {down:.1%} of rows"
        for name, (_, down) in found.items()
        if down >= _TELLS and _LEAK_NAME.search(name)
    }
    return coarser | told


def _missing_texts(profiles: list[ColumnProfile], truth: ColumnProfile) -> set[str]:
    """Texts that stand for a missing value: those between numbers, such as Zeek's `-`."""
    found = {text for profile in profiles if profile is not truth and profile.numeric for text in profile.missing}
    return found - set(ALWAYS_MISSING)


# --- columns ----------------------------------------------------------------------------------------------------


def _label_column(truth: ColumnProfile) -> _Column:
    return _Column({**_names(truth), "type": "string", "role": "label"})


def _column(profile: ColumnProfile, telling: dict[str, str], notes: _Notes) -> _Column | None:
    if profile.present == 0 and notes.positional:
        return _Column({**_names(profile), "type": "string", "role": "identifier"}, "never filled in this file")
    if profile.present == 0:
        notes.ignored.append(profile.name)
        return None
    column = _typed(profile, notes)
    if "role" in column.facts:
        return column
    why = telling.get(profile.name)
    if fold_name(profile.name) == "difficulty":
        why = "in NSL-KDD it is made from the truth"
    if why:
        column.facts["role"] = "leak"
        column.check = f"{profile.name} is kept out as a leak, because {why}; a measured value would be a feature"
    return column


def _typed(profile: ColumnProfile, notes: _Notes) -> _Column:
    time = time_format(profile)
    if time is not None:
        return _Column({**_names(profile), "type": "time", "role": "time", "time": time.facts}, time.remark, time.check)
    if profile.numeric:
        return _number(profile)
    names = _names(profile)
    if profile.addresses >= 0.99 * profile.present:
        return _Column({**names, "type": "ip", "role": "identifier"}, "addresses say which testbed, not which attack")
    if profile.overflowing or profile.hardware_addresses >= 0.99 * profile.present or _row_id(profile):
        return _Column({**names, "type": "string", "role": "identifier"}, "too many values to be a category")
    listed = sorted({*profile.distinct, *profile.missing} - {*ALWAYS_MISSING, *notes.missing})
    facts = {**names, "type": "string", "open": True}
    if len(listed) > _MOST_LISTED:
        return _Column(facts, f"{len(listed)} values; training learns them")
    return _Column(facts | {"categories": listed})


def _number(profile: ColumnProfile) -> _Column:
    facts = {**_names(profile), "type": "int" if profile.whole == profile.numbers else "float"}
    named = profile.whole and _IDENTIFIER_NAME.search(profile.name)
    if named or _row_id(profile) or _PORT_NAME.search(profile.name):
        why = "ports say which host was attacked" if _PORT_NAME.search(profile.name) else "numbers the rows"
        return _Column(facts | {"role": "identifier"}, why)
    low, high = profile.lowest or 0.0, profile.highest or 0.0
    remark = f"{low:g} to {high:g}"
    if low >= 0:
        facts["range"] = [0, None]
    elif low == -1 and profile.whole:
        remark += "; -1 may mean not observed: then sentinels: [-1]"
    return _Column(facts, remark + ("; one value only" if low == high else ""))


def _row_id(profile: ColumnProfile) -> bool:
    """Whether a column gives each row a value of its own: numbers in steps of one, or texts that never recur."""
    if profile.present < 3:
        return False
    if profile.numeric:
        return profile.steps_of_one and profile.numbers == profile.present
    return len(profile.distinct) > 0.9 * profile.present


def _names(profile: ColumnProfile) -> dict[str, Any]:
    """Canonical name; one that Netwarden needs for itself becomes an alias."""
    if profile.name in RESERVED:
        return {"name": f"file_{profile.name}", "aliases": [profile.name]}
    return {"name": profile.name}


def _keep_one_time(columns: list[_Column]) -> None:
    """The first time is the flow's; further ones are kept as identifiers."""
    times = [column for column in columns if column.facts.get("role") == "time"]
    for column in times[1:]:
        column.facts["role"] = "identifier"


# --- YAML -------------------------------------------------------------------------------------------------------


def _render(
    schema_id: str, file: Path, form: FileFormat, rule: dict[str, Any], columns: list[_Column], notes: _Notes
) -> str:
    lines = [
        f"# Drafted from {file.name}, {'; '.join(['a guess to be read through', *_outline(columns)])}.",
        "# Units are not known: add `unit:` where you know them, and `meaning:` for whoever comes after you.",
        *(f"# CHECK: {check}" for check in notes.checks),
        f"id: {schema_id}",
        f"file: {_flow(_non_default(form))}",
        f"label: {_flow(rule)}",
        "# Rows of equal content stay on one side. `policy: time` is the harder and fairer test where every kind of",
        "# attack occurs throughout; often each was run on a day of its own, and training would never see some.",
        "split: {policy: grouped_random}",
    ]
    if notes.ignored:
        lines.append(f"ignore: {_flow(notes.ignored)} # never filled in this file")
    lines.append("columns:")
    lines += [f"  - {_flow(column.facts)}{f' # {column.remark}' if column.remark else ''}" for column in columns]
    return "\n".join(lines) + "\n"


def _outline(columns: list[_Column]) -> list[str]:
    roles = Counter(column.facts.get("role", "feature") for column in columns)
    return [f"{number} {role}" for role, number in roles.items()]


def _non_default(form: FileFormat) -> dict[str, Any]:
    facts = form.model_dump(mode="json", exclude_defaults=True)
    return {key: facts[key] for key in FileFormat.model_fields if key in facts}


def _flow(value: Any) -> str:
    """YAML on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1_000_000, allow_unicode=True)
    return text.strip()
