"""New groups of alerts told to channels: each once, however often the portal restarts or a receiver is away.

What is to be told is kept before it is sent and forgotten once it was taken: a channel may get a message twice, never
none. A channel that refuses is tried again after a pause that doubles; meanwhile its groups wait and share a message.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from netwarden import logs
from netwarden.errors import HeldError, NetwardenError, NotFoundError, NotifyError
from netwarden.flows.table import content_hash
from netwarden.notify_settings import NotifySettings, WebhookSettings
from netwarden.sources.alert_store import AlertGroup, AlertStore
from netwarden.sources.filters import SHOWN, Range
from netwarden.sources.portal_store import PortalStore
from netwarden.sources.store import Lease
from netwarden.triage.channels import Channel, describe, send
from netwarden.triage.messages import News, example

LEASE = "notify"
_STATE, _ADDED, _TESTED = "notify", "notify channels", "notify tests"
_OVERLAP = timedelta(seconds=60)  # alerts are stored a little after they are raised
_PAGE, _PAGES = 200, 10
_LEASE_S = 30.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 600.0
_MOST_WAITING = 1000  # groups of one channel; beyond it the oldest are only counted
_MOST_TOLD = 20_000
_log = logs.get(__name__)


@dataclass(frozen=True)
class ChannelState:
    """How a channel is doing."""

    name: str
    where: str
    added: bool  # in the portal, not in the settings
    waiting: int
    dropped: int
    told_at: str
    fault: str
    tested_at: str = ""


@dataclass
class _Memory:
    """What is kept: how far the alerts were looked at, what was told when, and what waits for each channel."""

    looked_at: str = ""
    told: dict[str, dict[str, str]] = field(default_factory=dict)
    channels: dict[str, dict[str, Any]] = field(default_factory=dict)


class Notifier:
    """Looks for new groups and tells the channels. `run` is for one process at a time; the rest is for all."""

    def __init__(
        self,
        settings: NotifySettings,
        alerts: AlertStore,
        store: PortalStore,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._alerts = alerts
        self._store = store
        self._clock = clock
        self._sent: dict[str, list[float]] = {}  # channel → when, in this process

    def run(self, lease: Lease, stop: threading.Event) -> None:
        """Look and tell until `stop`, while holding the lease; without it, wait for it."""
        holder = f"{socket.gethostname()} {secrets.token_hex(4)}"
        while not stop.wait(self._settings.every_s):
            if not self.channels():
                continue
            try:
                with lease.hold(LEASE, holder, _LEASE_S):
                    while not stop.is_set() and self.channels():
                        self.look()
                        stop.wait(self._settings.every_s)
            except HeldError:
                continue
            except NetwardenError as error:
                _log.warning("notifying is held up", extra={"cause": str(error)})

    def look(self) -> None:
        """Find groups that are new since the last look, keep them for their channels, and tell what waits."""
        memory = self._recall()
        now = self._clock()
        if not memory.looked_at:
            memory.looked_at = now.isoformat()  # what happened before is not news
        fresh = self._fresh(memory, now)
        channels = self.channels()
        for channel in channels:
            slot = _slot(memory, channel.name)
            slot["waiting"] += [asdict(news) for news in fresh if _wanted(channel, news)]
            over = max(0, len(slot["waiting"]) - _MOST_WAITING)
            slot["waiting"], slot["dropped"] = slot["waiting"][over:], slot["dropped"] + over
        memory.channels = {channel.name: memory.channels[channel.name] for channel in channels}
        memory.looked_at = now.isoformat()
        self._keep(memory)
        for channel in channels:
            if self._tell(channel, memory.channels[channel.name], now):
                self._keep(memory)

    def channels(self) -> list[Channel]:
        """All channels: of the settings, and those added in the portal."""
        settings = self._settings
        return [*settings.webhooks, *settings.syslog, *settings.mail, *self._added()]

    def states(self) -> list[ChannelState]:
        """How each channel is doing, by name."""
        memory = self._recall()
        added = {channel.name for channel in self._added()}
        tested = self._store.note(_TESTED)
        found = []
        for channel in sorted(self.channels(), key=lambda each: each.name):
            slot = _slot(memory, channel.name)
            found.append(
                ChannelState(
                    channel.name,
                    describe(channel),
                    channel.name in added,
                    len(slot["waiting"]),
                    slot["dropped"],
                    slot["told_at"],
                    slot["fault"],
                    tested.get(channel.name, ""),
                )
            )
        return found

    def test(self, name: str, portal_url: str = "") -> str:
        """Send a made-up group to a channel, now; where it went. Raises NotFoundError or NotifyError.

        The message links to the portal: by the address of the settings, else by the one that is given.
        """
        channel = next((each for each in self.channels() if each.name == name), None)
        if channel is None:
            raise NotFoundError(f"no channel {name!r}; is it spelled as in the list?")
        base = (self._settings.portal_url or portal_url).rstrip("/")
        send(channel, [example(self._clock(), f"{base}/alerts" if base else "")], test=True)
        self._store.keep_note(_TESTED, {**self._store.note(_TESTED), name: self._clock().isoformat()})
        return describe(channel)

    def add(self, webhook: WebhookSettings) -> None:
        """Add a webhook. Raises NotifyError where its name is taken."""
        if webhook.name in {channel.name for channel in self.channels()}:
            raise NotifyError(f"there is a channel {webhook.name} already; choose another name")
        kept = {**webhook.model_dump(mode="json"), "secret": webhook.secret.get_secret_value()}
        self._keep_added([*self._store.note(_ADDED).get("webhooks", []), kept])

    def remove(self, name: str) -> None:
        """Remove a channel that was added. Raises NotFoundError for any other."""
        kept = self._store.note(_ADDED).get("webhooks", [])
        if name not in {each["name"] for each in kept}:
            raise NotFoundError(f"no channel {name!r} was added in the portal; those of the settings are removed there")
        self._keep_added([each for each in kept if each["name"] != name])
        self._store.keep_note(_TESTED, {each: at for each, at in self._store.note(_TESTED).items() if each != name})

    def _added(self) -> list[WebhookSettings]:
        return [WebhookSettings.model_validate(each) for each in self._store.note(_ADDED).get("webhooks", [])]

    def _keep_added(self, webhooks: list[dict[str, Any]]) -> None:
        self._store.keep_note(_ADDED, {"webhooks": webhooks})

    def _fresh(self, memory: _Memory, now: datetime) -> list[News]:
        """Groups with an alert since the last look that were not told of lately; noted as told."""
        looked_at = datetime.fromisoformat(memory.looked_at)
        again = (now - timedelta(seconds=self._settings.again_after_s)).isoformat()
        fresh = []
        for group in self._groups(looked_at - _OVERLAP):
            news = self._news(group)
            known = memory.told.get(news.key)
            goes_on = known is not None and known["told_at"] <= again and known["newest"] != news.alert_id
            if known is None or goes_on:
                fresh.append(news)
            told_at = now.isoformat() if known is None or goes_on else known["told_at"]
            memory.told[news.key] = {"told_at": told_at, "newest": news.alert_id, "seen_at": now.isoformat()}
        forgotten = min(again, (looked_at - 2 * _OVERLAP).isoformat())
        recent = [(key, each) for key, each in memory.told.items() if each["seen_at"] > forgotten]
        memory.told = dict(recent[-_MOST_TOLD:])
        return fresh[::-1]  # the oldest first

    def _groups(self, since: datetime) -> list[AlertGroup]:
        where = {**SHOWN, "state": "new", "raised_at": Range(at_least=since)}
        groups: list[AlertGroup] = []
        cursor = None
        for _ in range(_PAGES):
            page = self._alerts.groups(where, _PAGE, cursor)
            groups += page.groups
            cursor = page.cursor
            if cursor is None:
                break
        return groups

    def _news(self, group: AlertGroup) -> News:
        parts = [str(part) for part in (group.source, group.target, group.family, group.verdict)]
        url = f"{self._settings.portal_url.rstrip('/')}/alerts/{group.newest}" if self._settings.portal_url else ""
        return News(
            content_hash(*(part.encode() for part in parts)).hex(),
            group.source,
            group.target,
            group.family,
            group.verdict,
            group.count,
            group.first.isoformat(),
            group.last.isoformat(),
            group.worst,
            group.newest,
            url,
        )

    def _tell(self, channel: Channel, slot: dict[str, Any], now: datetime) -> bool:
        """Send what waits, if anything does and the channel may be tried; whether the slot has changed."""
        if not slot["waiting"] or slot["again_at"] > now.isoformat():
            return False
        changed = False
        while slot["waiting"] and (left := self._left(channel.name)):
            # The last message of this minute takes all that is left.
            pieces = len(slot["waiting"]) if left == 1 else 1
            try:
                send(channel, [News(**each) for each in slot["waiting"][:pieces]])
            except NotifyError as error:
                pause_s = min(_FIRST_PAUSE_S * 2 ** min(slot["failures"], 10), _LONGEST_PAUSE_S)
                again_at = (now + timedelta(seconds=pause_s)).isoformat()
                slot.update(fault=str(error), failures=slot["failures"] + 1, again_at=again_at)
                _log.warning("not told", extra={"channel": channel.name, "cause": str(error), "again_in_s": pause_s})
                return True
            self._sent[channel.name].append(time.monotonic())
            slot.update(waiting=slot["waiting"][pieces:], told_at=now.isoformat(), fault="", failures=0, again_at="")
            changed = True
        return changed

    def _left(self, name: str) -> int:
        """Messages that a channel may still get this minute."""
        lately = [at for at in self._sent.get(name, []) if time.monotonic() - at < 60]
        self._sent[name] = lately
        return max(0, self._settings.per_minute - len(lately))

    def _recall(self) -> _Memory:
        return _Memory(**self._store.note(_STATE))

    def _keep(self, memory: _Memory) -> None:
        self._store.keep_note(_STATE, asdict(memory))


def _slot(memory: _Memory, name: str) -> dict[str, Any]:
    empty = {"waiting": [], "dropped": 0, "told_at": "", "fault": "", "failures": 0, "again_at": ""}
    return memory.channels.setdefault(name, empty)


def _wanted(channel: Channel, news: News) -> bool:
    return news.worst >= channel.min_score and (not channel.families or news.family in channel.families)
