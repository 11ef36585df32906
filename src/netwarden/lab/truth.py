"""Ground truth of a recording: who opened every conversation, and the label of every flow that follows from it.

The truth comes from the scenario and from the devices that packets came in by, never from what traffic looks like.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from netwarden.errors import InputError, LabError
from netwarden.flows.labels import BENIGN
from netwarden.flows.table import FlowTable
from netwarden.lab.runner import Played
from netwarden.lab.scenario import Scenario

FORMAT = 1
_ENDPOINTS = ("source", "source_port", "target", "target_port", "protocol")
_TURNS = (*_ENDPOINTS, "first_us", "last_us", "owner", "packets")
_FLOW_ENDPOINTS = ("src_ip", "src_port", "dst_ip", "dst_port", "protocol")
_SERVICE = "service"


@dataclass(frozen=True)
class Owner:
    """Who opens conversations: an activity on one host, or a host's services and kernel."""

    name: str
    activity: str
    label: str
    tool: str
    host: str
    address: str
    from_s: float
    until_s: float


@dataclass(frozen=True)
class GroundTruth:
    """Of one recording: its clock, its owners, and their turns (Arrow, one row each, see lab.owners)."""

    scenario: str
    seed: int
    starts: datetime
    hour_s: float
    length_s: float
    owners: tuple[Owner, ...]
    turns: Any

    @cached_property
    def starts_us(self) -> int:
        return round(self.starts.timestamp() * 1e6)


@dataclass(frozen=True)
class Labels:
    """Of each flow, in order: its owner's number; and whether someone else spoke in the same flow later on."""

    owners: tuple[Owner, ...]
    owner: Any
    shared: Any

    def column(self, name: str) -> Any:
        """Arrow strings of one field of the owners: label, activity, tool, host or name."""
        return pa.array([getattr(owner, name) for owner in self.owners]).take(pa.array(self.owner))


def ground_truth(scenario: Scenario, played: Played) -> GroundTruth:
    """The truth of what was played."""
    hosts = [
        Owner(f"{_SERVICE}@{name}", _SERVICE, BENIGN, "", name, str(host.address), 0.0, scenario.length_s)
        for name, host in scenario.hosts.items()
    ]
    roles = [
        Owner(
            role.name,
            role.activity.id,
            role.activity.label or BENIGN,
            role.activity.tool or role.activity.program,
            role.host,
            scenario.addresses[role.host],
            role.activity.from_s,
            role.activity.until_s,
        )
        for role in played.roles
    ]
    return GroundTruth(
        scenario.name,
        scenario.seed,
        scenario.starts,
        scenario.hour_s,
        scenario.length_s,
        (*hosts, *roles),
        turn_table(played.turns),
    )


def turn_table(turns: Sequence[Sequence[Any]]) -> Any:
    """Turns (rows as owners.Origin has them) as an Arrow table."""
    columns = zip(*turns, strict=True) if turns else [()] * len(_TURNS)
    return _typed(dict(zip(_TURNS, columns, strict=True)))


def _typed(columns: Mapping[str, Sequence[Any]]) -> Any:
    types = {name: pa.string() if name in ("source", "target") else pa.int64() for name in _TURNS}
    return pa.table({name: pa.array(columns[name], types[name]) for name in _TURNS})


def save_truth(truth: GroundTruth, path: Path) -> None:
    """Write a truth as compressed JSON, the same bytes for the same truth."""
    told = {
        "format": FORMAT,
        "scenario": truth.scenario,
        "seed": truth.seed,
        "starts": truth.starts.isoformat(),
        "hour_s": truth.hour_s,
        "length_s": truth.length_s,
        "owners": [asdict(owner) for owner in truth.owners],
        "turns": truth.turns.to_pydict(),
    }
    path.write_bytes(gzip.compress(json.dumps(told).encode(), 6, mtime=0))


def load_truth(path: Path) -> GroundTruth:
    """A truth that `save_truth` wrote. Raises InputError where it is none."""
    try:
        told = json.loads(gzip.decompress(path.read_bytes()))
        if told["format"] != FORMAT:
            raise InputError(f"{path} has format {told['format']} of a truth; this version reads {FORMAT}")
        return GroundTruth(
            told["scenario"],
            told["seed"],
            datetime.fromisoformat(told["starts"]).astimezone(UTC),
            told["hour_s"],
            told["length_s"],
            tuple(Owner(**owner) for owner in told["owners"]),
            _typed(told["turns"]),
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read as the truth of a recording: {error!r}") from None


def label_flows(flows: FlowTable, truth: GroundTruth) -> Labels:
    """Whose every flow is: of whoever opened the turn that its first packet belongs to.

    Endpoints and times are matched exactly, to the microsecond. Raises LabError where a flow matches no turn: then
    capture and truth are not of one recording.
    """
    table, turns = flows.arrow, truth.turns
    starts = table.column("started_at").cast(pa.int64()).to_numpy() - truth.starts_us
    ends = starts + table.column("flow_duration_us").to_numpy().astype(np.int64)
    firsts, lasts = (turns.column(name).to_numpy() - truth.starts_us for name in ("first_us", "last_us"))
    of_flow, of_turn = _conversations(table.select(_FLOW_ENDPOINTS), turns.select(_ENDPOINTS))
    order = np.lexsort((firsts, of_turn))
    opened = _Opened(of_turn[order], firsts[order])
    at, until = opened.last_before(of_flow, starts), opened.last_before(of_flow, ends)
    rows = order[np.maximum(at, 0)] if len(order) else np.zeros(len(starts), np.int64)
    placed = (at >= 0) & (lasts[rows] >= starts) if len(order) else np.zeros(len(starts), bool)
    if not placed.all():
        _refuse(table, ~placed)
    owner = turns.column("owner").to_numpy()
    return Labels(truth.owners, owner[rows], opened.changes(owner[order], at, until))


class _Opened:
    """Turns in order of conversation and time, to be searched by both at once."""

    def __init__(self, conversation: Any, first_us: Any) -> None:
        self._earliest = int(first_us.min(initial=0))
        self._span = max(int(first_us.max(initial=0)) - self._earliest + 2, 2)
        self._conversation = conversation
        self._keys = conversation * self._span + (first_us - self._earliest)

    def last_before(self, conversation: Any, time_us: Any) -> Any:
        """Position of the last turn of a conversation that was open at a time, −1 where there is none."""
        since = np.clip(time_us - self._earliest, -1, self._span - 1)
        at = np.searchsorted(self._keys, conversation * self._span + since, side="right") - 1
        if not len(self._keys):
            return at
        same = (at >= 0) & (self._conversation[np.maximum(at, 0)] == conversation)
        return np.where(same, at, -1)

    @staticmethod
    def changes(owner: Any, at: Any, until: Any) -> Any:
        """Whether the owner changes between two positions of one conversation."""
        changed = np.concatenate([[0], np.cumsum(np.diff(owner) != 0)])
        return changed[until] != changed[at]


def _conversations(flows: Any, turns: Any) -> tuple[Any, Any]:
    """A number for each pair of endpoints and protocol, whichever way round; equal in both tables."""
    keys = np.concatenate([_keys(flows), _keys(turns)])
    _, numbers = np.unique(keys, axis=0, return_inverse=True)
    numbers = numbers.reshape(-1).astype(np.int64)
    return numbers[: len(flows)], numbers[len(flows) :]


def _keys(table: Any) -> Any:
    """(lower endpoint, higher endpoint and protocol) of each row, as two whole numbers."""
    source, source_port, target, target_port, protocol = table.columns
    ends = [
        _numbers(address) * 65_536 + port.to_numpy().astype(np.int64)
        for address, port in ((source, source_port), (target, target_port))
    ]
    return np.stack([np.minimum(*ends), np.maximum(*ends) * 256 + protocol.to_numpy().astype(np.int64)], axis=1)


def _numbers(addresses: Any) -> Any:
    """IPv4 addresses as numbers; each different one is read once."""
    coded = pc.dictionary_encode(addresses.combine_chunks())
    values = np.array([int(IPv4Address(text)) for text in coded.dictionary.to_pylist()], np.int64)
    return values[coded.indices.to_numpy()] if len(coded) else np.zeros(0, np.int64)


def _refuse(table: Any, lost: Any) -> None:
    row = table.slice(int(np.flatnonzero(lost)[0]), 1).to_pylist()[0]
    source, source_port, target, target_port, protocol = (row[name] for name in _FLOW_ENDPOINTS)
    raise LabError(
        f"{int(lost.sum())} of {len(table)} flows have no known origin, first {source}:{source_port} → "
        f"{target}:{target_port} (protocol {protocol}) at {row['started_at']}; are capture and truth of one recording?"
    )
