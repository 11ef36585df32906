"""What is said of groups of alerts: as JSON, for Slack and PagerDuty, as syslog, as CEF, and as a mail."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import Any

from netwarden import __version__

_SHOWN = 20  # groups that a message for people names
_FACILITY, _ALERT, _WARNING = 4, 1, 4  # RFC 5424: security; severities
_SURE = 0.9  # score from which a group is severe
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class News:
    """A group of alerts that somebody is to be told of; plain values, so that it can be kept."""

    key: str
    source: str | None
    target: str | None
    family: str | None
    verdict: str
    count: int
    first: str
    last: str
    worst: float
    alert_id: str
    url: str = ""

    @property
    def what(self) -> str:
        """The group in a few words."""
        kind = self.family or self.verdict.replace("_", " ")
        repeats = f", {self.count:,} alerts" if self.count > 1 else ""
        return f"{kind}: {self.source or 'unknown source'} to {self.target or 'unknown target'}{repeats}"


def plain_body(news: Sequence[News], test: bool = False) -> dict[str, Any]:
    """For programs of one's own."""
    groups = [{name: value for name, value in asdict(each).items() if name != "key"} for each in news]
    return {
        "event": "test" if test else "alert_groups",
        "product": "netwarden",
        "version": __version__,
        "groups": groups,
    }


def slack_body(news: Sequence[News], test: bool = False) -> dict[str, Any]:
    """For Slack's incoming webhooks, and those that understand them (Mattermost, Rocket.Chat)."""
    lines = [f"• {_slack(each.what)}, score {each.worst:.3f}{_slack_link(each.url)}" for each in news[:_SHOWN]]
    if len(news) > _SHOWN:
        lines.append(f"… and {len(news) - _SHOWN} more groups")
    return {"text": "\n".join([f"*{headline(news, test)}*", *lines])}


def pagerduty_body(news: Sequence[News], routing_key: str, test: bool = False) -> dict[str, Any]:
    """For PagerDuty's Events API v2; repeats of one group are one incident."""
    worst = max(news, key=lambda each: each.worst)
    payload = {
        "summary": f"Netwarden: {headline(news, test) if len(news) != 1 or test else worst.what}"[:1024],
        "source": worst.source or "netwarden",
        "severity": "info" if test else "critical" if worst.worst >= _SURE else "warning",
        "timestamp": worst.last,
        "class": worst.family or worst.verdict,
        "custom_details": plain_body(news[:_SHOWN], test),
    }
    key = worst.key if len(news) == 1 else f"netwarden-{worst.last}"
    body = {"routing_key": routing_key, "event_action": "trigger", "dedup_key": key[:255], "payload": payload}
    return {**body, "links": [{"href": worst.url, "text": "Netwarden"}]} if worst.url else body


def syslog_line(news: News, test: bool = False) -> bytes:
    """RFC 5424 with structured data; 32473 is the number that RFC 5612 sets aside for those who have none."""
    facts = {name: value for name, value in asdict(news).items() if value is not None and name != "key"}
    data = " ".join(f'{name}="{_structured(value)}"' for name, value in facts.items())
    head = f"{_priority(news, test)}1 {news.last} {_host()} netwarden {os.getpid()} {'TEST' if test else 'GROUP'}"
    return f"{head} [netwarden@32473 {data}] {_line(news.what)}".encode()


def cef_line(news: News, test: bool = False) -> bytes:
    """ArcSight's Common Event Format in a line of syslog."""
    kind = news.family or news.verdict
    head = "|".join(_cef_head(part) for part in ("Netwarden", "Netwarden", __version__, kind, news.what))
    facts = {
        "src": news.source,
        "dst": news.target,
        "cnt": news.count,
        "start": news.first,
        "end": news.last,
        "externalId": news.alert_id,
        "cat": kind,
        "cs1Label": "verdict",
        "cs1": news.verdict,
        "cfp1Label": "score",
        "cfp1": f"{news.worst:.4f}",
        "request": news.url or None,
    }
    extension = " ".join(f"{name}={_cef_value(value)}" for name, value in facts.items() if value is not None)
    severity = 0 if test else round(news.worst * 10)
    line = f"{_priority(news, test)}1 {news.last} {_host()} netwarden {os.getpid()} - -"
    return f"{line} CEF:0|{head}|{severity}|{extension}".encode()


def mail(news: Sequence[News], sender: str, to: Sequence[str], test: bool = False) -> EmailMessage:
    """A mail of plain text."""
    message = EmailMessage()
    message["Subject"] = _line(f"Netwarden: {headline(news, test)}")
    message["From"], message["To"] = sender, ", ".join(to)
    lines = [
        f"{each.what}\n  score {each.worst:.3f}, {each.first} to {each.last}\n  {each.url}" for each in news[:_SHOWN]
    ]
    if len(news) > _SHOWN:
        lines.append(f"… and {len(news) - _SHOWN} more groups")
    message.set_content("\n\n".join(lines) + "\n")
    return message


def headline(news: Sequence[News], test: bool) -> str:
    """What a message is about."""
    if test:
        return "a test; nothing has happened"
    return f"{len(news)} new groups of alerts" if len(news) != 1 else f"new alerts, {news[0].what}"


def example(at: datetime, url: str = "") -> News:
    """A made-up group, for tests of a channel."""
    when = at.isoformat()
    return News("test", "192.0.2.7", "198.51.100.4", "probe", "known_attack", 3, when, when, 0.97, "0" * 32, url)


def signed(body: dict[str, Any]) -> bytes:
    """The bytes of a body, as they are sent and signed."""
    return json.dumps(body, separators=(",", ":"), sort_keys=True).encode()


def _priority(news: News, test: bool) -> str:
    severity = 6 if test else _ALERT if news.worst >= _SURE else _WARNING
    return f"<{_FACILITY * 8 + severity}>"


def _host() -> str:
    return re.sub(r"[^\x21-\x7e]", "", socket.gethostname())[:255] or "-"


def _line(text: str) -> str:
    return _CONTROL.sub(" ", text)


def _structured(value: object) -> str:
    return re.sub(r'([\\"\]])', r"\\\1", _line(str(value)))


def _cef_head(text: str) -> str:
    return _line(text).replace("\\", "\\\\").replace("|", "\\|")


def _cef_value(value: object) -> str:
    return _line(str(value)).replace("\\", "\\\\").replace("=", "\\=")


def _slack(text: str) -> str:
    return _line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _slack_link(url: str) -> str:
    return f" <{url}|look>" if url else ""
