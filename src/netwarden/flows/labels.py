"""Attack names, their families and ATT&CK techniques, from schema/families.yaml."""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from netwarden.errors import LabelError, SchemaError

BENIGN = "benign"


class Family(BaseModel):
    """A family of attacks that analysts treat alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: str
    meaning: str = ""
    technique: str = Field("", description="ATT&CK technique where the attack itself names none")


class Attack(BaseModel):
    """One attack name as datasets spell it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    family: str
    technique: str = ""
    aliases: tuple[str, ...] = ()


class Families(BaseModel):
    """The table of all known labels; `benign` is always its own family."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    benign: tuple[str, ...] = Field(description="Spellings that mean: no attack")
    families: dict[str, Family]
    attacks: dict[str, Attack]

    @cached_property
    def _index(self) -> dict[str, str]:
        index = {fold(spelling): BENIGN for spelling in (BENIGN, *self.benign)}
        for name, attack in self.attacks.items():
            index |= {fold(spelling): name for spelling in (name, *attack.aliases)}
        return index

    def canonical(self, label: str) -> str:
        """Our name of a label in any spelling: `benign` or an attack name.

        Raises LabelError where no family knows it.
        """
        name = self._index.get(fold(label))
        if name is None:
            raise LabelError(f"unknown label {label!r}; add it to schema/families.yaml or to the schema's own labels")
        return name

    def family(self, attack: str) -> str:
        """Family of a canonical name."""
        return BENIGN if attack == BENIGN else self.attacks[attack].family

    def technique(self, attack: str) -> str:
        """ATT&CK technique id of a canonical attack name, empty where none fits."""
        if attack == BENIGN:
            return ""
        entry = self.attacks[attack]
        return entry.technique or self.families[entry.family].technique


def fold(label: str) -> str:
    """Label without the differences that files make: case, blanks, dashes of any encoding, punctuation."""
    return re.sub(r"[^a-z0-9+]+", " ", label.lower()).strip()


@lru_cache(maxsize=8)
def load_families(path: Path) -> Families:
    """The family table of a schema folder.

    Raises SchemaError where an attack names a family that is not there.
    """
    try:
        table = Families.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SchemaError(f"{path} is missing; it lists attack names and their families") from None
    except (ValidationError, yaml.YAMLError) as error:
        raise SchemaError(f"{path}: {error}") from None
    for name, attack in table.attacks.items():
        if attack.family not in table.families:
            raise SchemaError(f"{path}: attack {name!r} names family {attack.family!r}, which is not listed")
    return table
