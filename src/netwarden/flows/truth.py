"""The truth column: labels as a file spells them to canonical attack names and families."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netwarden.errors import LabelError, SchemaError
from netwarden.flows.convert import Refusal
from netwarden.flows.labels import BENIGN, Families, fold
from netwarden.flows.schema import FlowSchema, LabelRule

ATTACK = "attack"  # label and family of every attack where only benign or attack is known
OTHER = "other"  # family of names that nobody has placed yet


@dataclass(frozen=True)
class Truth:
    """Label and family of each row; both null where the row is refused."""

    labels: Any
    families: Any
    refusals: list[Refusal]


def read_labels(values: Any, schema: FlowSchema, families: Families | None) -> Truth:
    """Canonical labels and families; spellings of the schema's own rule come before the family table.

    A missing or unknown label refuses its row.
    """
    if families is None and not schema.label.binary:
        raise SchemaError(f"labels of schema {schema.id} need the family table, schema/families.yaml")
    codes, spelled = _encoded(values)
    meanings = [_meaning(_tidy(text), schema.label, families) for text in spelled]
    refusals = [
        Refusal(f"unknown label {text!r}" if text.strip() else "label missing", codes == code)
        for code, (text, meaning) in enumerate(zip(spelled, meanings, strict=True))
        if meaning is None
    ]
    label, family = (pa.array([meaning and meaning[part] for meaning in meanings], pa.string()) for part in (0, 1))
    return Truth(label.take(pa.array(codes)), family.take(pa.array(codes)), refusals)


def _encoded(values: Any) -> tuple[npt.NDArray[np.int32], list[str]]:
    """Code of each row and the text of each code; a missing label is an empty text."""
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    encoded = array.cast(pa.string()).fill_null("").dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()


def _tidy(text: str) -> str:
    """Stripped text; a whole number written as a float (`1.0`) reads like the integer."""
    text = text.strip()
    return text.removesuffix(".0") if text.lstrip("+-").removesuffix(".0").isdigit() else text


def _meaning(text: str, rule: LabelRule, families: Families | None) -> tuple[str, str] | None:
    """(label, family), or None where nothing knows the text."""
    if text.casefold() in {spelling.casefold() for spelling in rule.benign}:
        return BENIGN, BENIGN
    if not text:
        return None
    if rule.binary:
        attacks = {spelling.casefold() for spelling in rule.attack}
        return (ATTACK, ATTACK) if not attacks or text.casefold() in attacks else None
    for name, family in rule.families.items():
        if fold(name) == fold(text):
            return name, family
    assert families is not None  # noqa: S101 - read_labels has refused it
    try:
        name = families.canonical(text)
    except LabelError:
        return (text, OTHER) if rule.unknown == "other" else None
    return name, families.family(name)
