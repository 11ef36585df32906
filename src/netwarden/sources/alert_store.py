"""The contract of alert stores: alerts, what is counted of them, decisions on them and what hides them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from netwarden.flows.alert import Alert, TriageState, Verdict

NOVEL = "novel"  # what a timeline calls alerts without a family


@dataclass(frozen=True)
class AlertPage:
    """Alerts, newest first, and the cursor of the next page (None on the last)."""

    alerts: list[Alert]
    cursor: str | None


@dataclass(frozen=True)
class TimeBin:
    """Alerts raised in the `span_s` seconds from `start`, by family (`novel`: without one).

    `partial`: too many to count them all; there were more.
    """

    start: datetime
    span_s: int
    counts: dict[str, int] = field(default_factory=dict)
    partial: bool = False


@dataclass(frozen=True)
class AlertGroup:
    """Alerts of the same source, target, family and verdict."""

    source: str | None
    target: str | None
    family: str | None
    verdict: Verdict
    count: int
    first: datetime
    last: datetime
    worst: float  # the highest score
    newest: str  # alert id


@dataclass(frozen=True)
class GroupPage:
    """Groups, the one with the newest alert first. `partial`: only the newest alerts that match were grouped."""

    groups: list[AlertGroup]
    cursor: str | None
    partial: bool = False


@dataclass(frozen=True)
class TriageAct:
    """One line of the audit trail: who put which alerts into which state. Lines are only ever appended.

    Ids of later acts are larger. `chosen` says in words which alerts were meant, `changed` how many were put into
    another state. An act that undoes another names it in `undoes`; it has no state of its own.
    """

    act_id: str
    at: datetime
    who: str
    state: TriageState | None
    note: str = ""
    chosen: str = ""
    undoes: str | None = None
    changed: int = 0


@dataclass(frozen=True)
class TriageChange:
    """What an act did to one alert."""

    act: TriageAct
    before: TriageState
    after: TriageState


@dataclass(frozen=True)
class Suppression:
    """What hides alerts: all that meet `where`, those there are and, until it expires or is lifted, those to come.

    `chosen` says in words which alerts are meant, `hidden` how many it hides now.
    """

    suppression_id: str
    owner: str
    reason: str
    created_at: datetime
    expires_at: datetime | None
    where: Mapping[str, Any]
    chosen: str = ""
    lifted_at: datetime | None = None
    lifted_by: str = ""
    hidden: int = 0

    def active(self, at: datetime) -> bool:
        """Whether alerts that come in are hidden."""
        return self.lifted_at is None and (self.expires_at is None or at < self.expires_at)


class AlertStore(Protocol):
    """Alerts by id, one per flow. Adding the same alert twice keeps the first, whatever bundle or redelivery made it.

    An alert of an interim record is early: the flow's final record confirms it (`add`) or takes it back (`withdraw`),
    and the first final record decides. Records may come in any order and any number of times.

    `where` is field → value, or what filters.py knows of: Range, OneOf, Networks, AllOf, and Words under "text". What
    a suppression hides is found as well; `filters.SHOWN` leaves it out.
    """

    def add(self, alerts: Sequence[Alert]) -> int:
        """Store those not there yet; returns how many were new. Active suppressions hide what meets them.

        An alert of a final record takes the place of an early one, keeping when that was raised and its triage. An
        early one whose flow was withdrawn before is not raised again.
        """
        ...

    def withdraw(self, alert_ids: Sequence[str], at: datetime) -> None:
        """Say of flows that had early records that their final ones are below the threshold.

        Early alerts of theirs get `withdrawn_at` and are no longer interim. A late early record counts for a day.
        """
        ...

    def remove(self, where: Mapping[str, Any], at_most: int) -> int:
        """Forget alerts that meet every condition of `where`, the oldest first; returns how many."""
        ...

    def get(self, alert_id: str) -> Alert:
        """Raises NotFoundError."""
        ...

    def find(self, where: Mapping[str, Any] | None = None, limit: int = 100, cursor: str | None = None) -> AlertPage:
        """Alerts, newest first, that meet every condition of `where`."""
        ...

    def count(self, where: Mapping[str, Any] | None = None, at_most: int | None = None) -> int:
        """Alerts that meet every condition of `where`; counting stops at `at_most`."""
        ...

    # --- counted: kept at every change, so that none of these reads a million alerts -------------------------------

    def timeline(
        self,
        where: Mapping[str, Any] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        bins: int = 60,
    ) -> list[TimeBin]:
        """Alerts over time in at most `bins` equal spans of whole minutes, the oldest first, without gap.

        By default from the first alert to the last. The outer spans are counted whole. Kept counts answer for family,
        verdict, state and suppression; with other conditions the newest matches are counted, older spans partial.
        """
        ...

    def top(self, field: str, where: Mapping[str, Any] | None = None, limit: int = 10) -> list[tuple[str, int]]:
        """The most frequent values of a field of alerts that match, most frequent first; None is left out.

        Where kept counts cannot tell, among the newest matches.
        """
        ...

    def groups(self, where: Mapping[str, Any] | None = None, limit: int = 50, cursor: str | None = None) -> GroupPage:
        """Repeats: alerts that match, by source, target, family and verdict."""
        ...

    def loudest(self, where: Mapping[str, Any] | None = None, limit: int = 50, *, by_source: bool = False) -> GroupPage:
        """Repeats with the most alerts, the most first, without further pages.

        `by_source`: those of a source in one family and verdict are one, whatever their targets; it names none.
        """
        ...

    # --- decided ---------------------------------------------------------------------------------------------------

    def triage(self, act: TriageAct, where: Mapping[str, Any] | None) -> TriageAct:
        """Put all that meet every condition of `where` into the act's state; returns the act with what it changed.

        Alerts are changed in pieces, each together with its part of the trail: after a kill, the act stands there with
        as many changes as were made.
        """
        ...

    def undo(self, act: TriageAct) -> TriageAct:
        """Take back what the act `act.undoes` did, except to alerts that others changed since.

        Raises NotFoundError where there is no such act.
        """
        ...

    def acts(self, limit: int = 100, before: str = "") -> list[TriageAct]:
        """The audit trail, newest first; with `before`, an act's id, those older than it."""
        ...

    def changes(self, alert_id: str) -> list[TriageChange]:
        """What was done to one alert, newest first."""
        ...

    # --- hidden ----------------------------------------------------------------------------------------------------

    def suppress(self, suppression: Suppression) -> Suppression:
        """Hide what meets its filter, that which is there and that which comes; returns it with what it hides.

        Alerts that another suppression hides stay with that one.
        """
        ...

    def lift(self, suppression_id: str, who: str, at: datetime) -> Suppression:
        """Show again what a suppression hid, unless another one that is active hides it. Raises NotFoundError."""
        ...

    def suppressions(self, limit: int = 1000, before: str = "") -> list[Suppression]:
        """Newest first, the lifted and expired ones too; with `before`, an id, those older than it."""
        ...

    def close(self) -> None: ...
