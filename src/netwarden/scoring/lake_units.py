"""What there is to score in a lake, in units, and which of them earlier runs have finished (see spark.py)."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netwarden.errors import InputError
from netwarden.scoring.lake import Form, Lake, LakeFile
from netwarden.scoring.model import Model

SCORES, QUARANTINE = "scores", "quarantine"
DONE, STAGING = "_netwarden/done", "_netwarden/staging"

_JOB = "_netwarden/job.json"
_UNIT_BYTES = 1 << 30
_TASK_BYTES = 128 << 20  # what Spark reads in one task


@dataclass(frozen=True)
class Unit:
    """Files of one partition, written alike, that are scored and committed together."""

    id: str
    files: tuple[LakeFile, ...]
    form: Form

    @property
    def folder(self) -> str:
        """Partition as folders."""
        return self.files[0].folder


class Done:
    """Finished units: their files, and what was in them."""

    def __init__(self) -> None:
        self.addresses: set[str] = set()
        self.ids: set[str] = set()
        self.verdicts: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.kept = 0  # rows of earlier runs

    def add(self, facts: Mapping[str, Any], *, earlier: bool = False) -> None:
        """Count a unit."""
        self.ids.add(facts["unit"])
        self.addresses.update(identity[0] for identity in facts["files"])
        self.verdicts.update(facts["verdicts"])
        self.rejected.update(facts["rejected"])
        self.kept += sum(facts["verdicts"].values()) if earlier else 0


def require_apart(source: str, target: str) -> None:
    """Raise InputError where the scores would become part of the lake that they are of."""
    if f"{target}/".startswith(f"{source}/"):
        raise InputError(
            f"{target} lies in {source}: its scores would be read as flows next time; choose another place"
        )


def take_up(results: Lake, job: dict[str, str], files: list[LakeFile]) -> Done:
    """What earlier runs of a job have finished; what they had not is removed."""
    known = results.read_json(_JOB)
    if known not in (None, job):
        raise InputError(
            f"{results.address} holds scores of {known['source']} with bundle {known['bundle']}; choose another target"
        )
    if known is None and results.names(SCORES, deep=True):
        raise InputError(f"{results.address}/{SCORES} holds files that are not of this job; choose another target")
    results.write_json(_JOB, job)
    done, scored = Done(), dict[str, list[str | int]]()
    for path in results.names(DONE):
        if not path.endswith(".json"):
            continue
        facts = results.read_json(path)
        done.add(facts, earlier=True)
        scored |= {identity[0]: identity for identity in facts["files"]}
    changed = [file.address for file in files if scored.get(file.address, file.identity) != file.identity]
    if changed:
        raise InputError(f"{changed[0]} has changed since it was scored; score the lake into another target")
    _remove_unfinished(results, done.ids)
    return done


def plan_units(lake: Lake, files: list[LakeFile], model: Model, slots: int) -> list[Unit]:
    """The files in units, large enough to keep all slots busy."""
    largest, units = max(_UNIT_BYTES, 4 * slots * _TASK_BYTES), list[Unit]()
    for alike, form in lake.alike(files, model.schema, one_partition=True):
        together: list[LakeFile] = []
        for file in alike:
            if together and sum(each.bytes for each in together) + file.bytes > largest:
                units.append(_unit(together, form, model))
                together = []
            together.append(file)
        units.append(_unit(together, form, model))
    return units


def _remove_unfinished(results: Lake, finished: set[str]) -> None:
    results.remove(STAGING)
    for kind in (SCORES, QUARANTINE):
        for path in results.names(kind, deep=True):
            if path.rpartition("/")[2].partition("-")[0] not in finished:
                results.remove(path)


def _unit(files: list[LakeFile], form: Form, model: Model) -> Unit:
    facts = [model.bundle.bundle_id, *(file.identity for file in files)]
    return Unit(hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16], tuple(files), form)
