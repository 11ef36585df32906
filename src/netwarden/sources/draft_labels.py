"""The label rule of a dataset nobody here has seen, guessed from the label's spellings and how often each occurs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netwarden.errors import LabelError
from netwarden.flows.labels import BENIGN, Families, fold

_BENIGN_WORDS = ("benign", "normal", "legitimate", "legit", "good", "clean", "background", "no", "false", "none")
_ATTACK_WORDS = (
    "attack",
    "malicious",
    "anomaly",
    "anomalous",
    "abnormal",
    "intrusion",
    "bad",
    "yes",
    "true",
    "1",
    "-1",
)
# Parts of an attack name that tell its family, the more telling first.
_HINTS = {
    "brute_force": ("brute", "password", "patator", "credential", "dictionary"),
    "web_attack": ("xss", "sql", "web", "injection"),
    "probe": ("scan", "probe", "recon", "sweep", "fingerprint", "discovery"),
    "dos": ("dos", "flood", "slowloris", "amplification", "smurf"),
    "botnet": ("bot", "c&c", "c2", "mirai", "torii", "okiru", "gafgyt"),
    "backdoor": ("backdoor", "trojan"),
    "worm": ("worm",),
    "exploit": ("exploit", "shellcode", "overflow"),
    "fuzzing": ("fuzz",),
    "infiltration": ("infilt",),
}


@dataclass(frozen=True)
class LabelGuess:
    """The label section of a schema, and what to check in it."""

    facts: dict[str, Any]
    checks: list[str]


def draft_label_rule(counts: Mapping[str, int], families: Families) -> LabelGuess:
    """Rule for labels with these spellings and numbers of rows."""
    names = sorted((text for text in counts if text), key=lambda text: (-counts[text], text))
    unlabelled = counts.get("", 0)
    checks = [f"{unlabelled} rows have no label and will be quarantined"] if unlabelled else []
    tidy = {_tidy(name) for name in names}
    if tidy == {"1", "-1"}:
        benign = [name for name in names if _tidy(name) == "1"]
        checks.append("label 1 is taken for benign and -1 for attack; swap them if it is the other way round")
    else:
        benign = [name for name in names if _is_benign(name, families)]
        if not benign:
            benign = ["0"] if "0" in tidy else names[:1]
            checks.append(f"label {benign[0]!r}{_why(benign[0])} is taken for benign; name the right one if it is not")
    attacks = [name for name in names if name not in benign and _tidy(name) not in benign]
    if len(attacks) == 1 and fold(_tidy(attacks[0])).strip() in _ATTACK_FOLDED:
        return LabelGuess({"benign": _tidied(benign), "binary": True, "attack": _tidied(attacks)}, checks)
    placed = {name: _family(name, families) for name in attacks if not _known(name, families)}
    if placed:
        shown = ", ".join(f"{name} → {family}" for name, family in list(placed.items())[:6])
        checks.append(f"attack names that no family listed yet were placed by their spelling: {shown}")
    return LabelGuess({"benign": _tidied(benign)} | ({"families": placed} if placed else {}), checks)


_ATTACK_FOLDED = {fold(word) for word in _ATTACK_WORDS}


def _why(name: str) -> str:
    return "" if name == "0" else ", the most frequent,"


def _is_benign(name: str, families: Families) -> bool:
    if fold(name) in _BENIGN_WORDS or name == "-":
        return True
    return _known(name, families) and families.canonical(name) == BENIGN


def _known(name: str, families: Families) -> bool:
    try:
        families.canonical(name)
    except LabelError:
        return False
    return True


def _family(name: str, families: Families) -> str:
    for family, hints in _HINTS.items():
        if family in families.families and any(hint in name.lower() for hint in hints):
            return family
    return "other"


def _tidied(names: list[str]) -> list[str]:
    return list(dict.fromkeys(_tidy(name) for name in names))


def _tidy(name: str) -> str:
    """A whole number written as a float (`1.0`) reads like the integer, as when labels are read."""
    return name.removesuffix(".0") if name.lstrip("+-").removesuffix(".0").isdigit() else name
