"""What a single feature, an identifier or the look of a host's stack tells about attacks."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from netwarden.errors import InputError
from netwarden.lab.audit_models import BUDGET, Round, auc_of, bins_of, fit_trees, threshold_of
from netwarden.lab.days import Days, Marks, Matrix

SEPARATES = 0.8  # recall at the budget from which one feature counts as telling an attack by itself
STACK = ("*_init_window_bytes", "*_header_bytes_min")
_SHOWN_FEATURES = 3
_US_PER_DAY = 86_400_000_000


class Reason(BaseModel):
    """Why an attack is told by a feature: because the attack is just that."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attacks: tuple[str, ...]
    features: tuple[str, ...]
    why: str

    def covers(self, attack: str, feature: str) -> bool:
        """Whether this is said of an attack and a feature; both are patterns."""
        return any(fnmatchcase(attack, each) for each in self.attacks) and any(
            fnmatchcase(feature, each) for each in self.features
        )


@dataclass(frozen=True)
class Telling:
    """How much one feature tells of one attack, over all days and measured on the rows it was fitted on."""

    attack: str
    feature: str
    auc: float
    recall: float
    why: str = ""

    @property
    def separates(self) -> bool:
        return self.recall >= SEPARATES


@dataclass(frozen=True)
class Identified:
    """What trees on some identifiers alone make of the test day; 0.5 and the budget are chance."""

    what: str
    auc: float
    recall: float


def load_reasons(path: Path) -> tuple[Reason, ...]:
    """The written reasons. Raises InputError that names the fault."""
    try:
        return tuple(Reason.model_validate(each) for each in yaml.safe_load(path.read_text(encoding="utf-8")) or ())
    except (OSError, yaml.YAMLError, ValidationError, TypeError) as error:
        raise InputError(f"{path} is no list of attacks, features and why: {error}") from None


def single_features(days: Days, reasons: Sequence[Reason]) -> list[Telling]:
    """Of each attack the features that tell most, those that separate it first; an upper bound of any threshold."""
    bins = [bins_of(days.matrix[:, place], ~days.attack) for place in range(len(days.features))]
    told: list[Telling] = []
    for attack in np.unique(days.labels[days.attack]).tolist():
        rows = days.labels == attack
        found = [_telling(days, attack, name, each, rows) for name, each in zip(days.features, bins, strict=True)]
        found.sort(key=lambda telling: (-telling.recall, -telling.auc))
        separating = [telling for telling in found if telling.separates]
        told += [_explained(telling, reasons) for telling in separating or found[:1]]
    return told


def _telling(days: Days, attack: str, feature: str, bins: npt.NDArray[np.int64], rows: Marks) -> Telling:
    size = int(bins.max()) + 1
    hits, quiet = np.bincount(bins[rows], minlength=size), np.bincount(bins[~days.attack], minlength=size)
    order = np.lexsort((-hits, quiet / np.maximum(hits, 1e-9)))
    affordable = np.cumsum(quiet[order]) <= BUDGET * quiet.sum()
    recall = hits[order][affordable].sum() / max(1, hits.sum())
    below = np.cumsum(quiet) - quiet / 2
    auc = float((hits * below).sum() / max(1, hits.sum() * quiet.sum()))
    return Telling(attack, feature, max(auc, 1 - auc), float(recall))


def _explained(telling: Telling, reasons: Sequence[Reason]) -> Telling:
    why = next((reason.why for reason in reasons if reason.covers(telling.attack, telling.feature)), "")
    return Telling(telling.attack, telling.feature, telling.auc, telling.recall, why)


def identifiers(days: Days, at: Round) -> list[Identified]:
    """Trees on addresses, ports, protocol and clock alone: fitted on the training days, judged on the test day."""
    columns = _identifier_columns(days)
    groups = {
        "source and target address": ("source", "target"),
        "source port": ("source port",),
        "target port and protocol": ("target port", "protocol"),
        "time of day": ("time of day",),
        "part of the second, of the millisecond": ("of the second", "of the millisecond"),
        "all of these": tuple(columns),
    }
    return [_identified(what, [columns[name] for name in names], days, at) for what, names in groups.items()]


def _identified(what: str, columns: Sequence[npt.NDArray[np.float64]], days: Days, at: Round) -> Identified:
    matrix: Matrix = np.column_stack(columns).astype(np.float32)
    score = fit_trees(matrix[at.fit], days.attack[at.fit], at.seed).score
    told, attack = score(matrix[at.test]), days.attack[at.test]
    alerts = told > threshold_of(score(matrix[at.quiet]))
    return Identified(what, auc_of(attack, told), float(alerts[attack].mean()))


def _identifier_columns(days: Days) -> dict[str, npt.NDArray[np.float64]]:
    arrow = days.table.arrow
    clock = arrow.column("started_at").cast(pa.int64()).to_numpy()
    return {
        "source": _addresses(days, "src_ip"),
        "target": _addresses(days, "dst_ip"),
        "source port": arrow.column("src_port").to_numpy().astype(np.float64),
        "target port": arrow.column("dst_port").to_numpy().astype(np.float64),
        "protocol": arrow.column("protocol").to_numpy().astype(np.float64),
        "time of day": (clock % _US_PER_DAY) / 1e6,
        "of the second": (clock % 1_000_000).astype(np.float64),
        "of the millisecond": (clock % 1000).astype(np.float64),
    }


def _addresses(days: Days, name: str) -> npt.NDArray[np.float64]:
    texts, codes = np.unique(days.texts(name), return_inverse=True)
    # Less the network they share, so that float32 keeps every host apart.
    numbers = np.array([int(ipaddress.ip_address(text)) for text in texts.tolist()], np.float64)
    return np.asarray((numbers - numbers.min())[codes], np.float64)


def stack_features(days: Days) -> list[str]:
    """Features that show whose stack or tool sent the packets, rather than what it did."""
    return [name for name in days.features if any(fnmatchcase(name, pattern) for pattern in STACK)]
