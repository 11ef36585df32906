"""Messages on their way: webhooks over HTTP, syslog over UDP or TCP, mail over SMTP. Each raises NotifyError."""

from __future__ import annotations

import hashlib
import hmac
import smtplib
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from netwarden import __version__
from netwarden.errors import NotifyError
from netwarden.notify_settings import MailSettings, SyslogSettings, WebhookSettings
from netwarden.triage import messages
from netwarden.triage.messages import News

Channel = WebhookSettings | SyslogSettings | MailSettings
_TIMEOUT_S = 10.0
_KEY_LENGTH = 16  # a part of a path as long as this may be a key, as those of Slack, Mattermost and Teams are


def send(channel: Channel, news: Sequence[News], test: bool = False) -> None:
    """Tell a channel of groups. Returns once it has taken them. Raises NotifyError, in one sentence."""
    try:
        if isinstance(channel, WebhookSettings):
            _post(channel, news, test)
        elif isinstance(channel, SyslogSettings):
            _log(channel, news, test)
        else:
            _mail(channel, news, test)
    except (OSError, smtplib.SMTPException, ValueError) as error:  # ValueError: an address that cannot be one
        raise NotifyError(f"{channel.name}: {describe(channel)} does not take messages: {_cause(error)}") from None


def describe(channel: Channel) -> str:
    """Where a channel leads, fit to be shown: what may be secret in a webhook's address is left out."""
    if isinstance(channel, WebhookSettings):
        return f"{channel.shape} webhook at {_shown(channel.address)}"
    if isinstance(channel, SyslogSettings):
        return f"{channel.format} syslog at {channel.host}:{channel.port} over {channel.transport}"
    return f"mail to {', '.join(channel.to)} by {channel.host}:{channel.port}"


def _shown(address: str) -> str:
    """Host, port and path. Hooks carry keys in their query, before their host, and as long parts of their path."""
    parts = urlsplit(address)
    path = "/".join("…" if len(part) >= _KEY_LENGTH else part for part in parts.path.split("/"))
    return f"{parts.netloc.rpartition('@')[2]}{path}{'?…' if parts.query else ''}"


def signature(secret: str, stamp: str, body: bytes) -> str:
    """What the header X-Netwarden-Signature holds: HMAC-SHA-256 over the time stamp, a dot and the body."""
    return "sha256=" + hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _post(channel: WebhookSettings, news: Sequence[News], test: bool) -> None:
    secret = channel.secret.get_secret_value()
    body = messages.signed(_body(channel, secret, news, test))
    headers = {"Content-Type": "application/json", "User-Agent": f"netwarden/{__version__}"}
    if secret and channel.shape != "pagerduty":
        stamp = str(int(time.time()))
        headers |= {"X-Netwarden-Timestamp": stamp, "X-Netwarden-Signature": signature(secret, stamp, body)}
    request = urllib.request.Request(channel.address, body, headers)  # noqa: S310 - the settings allow http(s) alone
    with _OPENER.open(request, timeout=_TIMEOUT_S) as answer:
        answer.read(1024)


def _body(channel: WebhookSettings, secret: str, news: Sequence[News], test: bool) -> dict[str, Any]:
    if channel.shape == "slack":
        return messages.slack_body(news, test)
    if channel.shape == "pagerduty":
        return messages.pagerduty_body(news, secret, test)
    return messages.plain_body(news, test)


def _log(channel: SyslogSettings, news: Sequence[News], test: bool) -> None:
    lines = [
        messages.cef_line(each, test) if channel.format == "cef" else messages.syslog_line(each, test) for each in news
    ]
    if channel.transport == "tcp":
        with socket.create_connection((channel.host, channel.port), _TIMEOUT_S) as connection:
            connection.sendall(b"".join(b"%d %b" % (len(line), line) for line in lines))  # RFC 6587, counted octets
        return
    family, kind, protocol, _, address = socket.getaddrinfo(channel.host, channel.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as datagrams:
        for line in lines:
            datagrams.sendto(line, address)


def _mail(channel: MailSettings, news: Sequence[News], test: bool) -> None:
    secure = ssl.create_default_context()
    if channel.security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(channel.host, channel.port, timeout=_TIMEOUT_S, context=secure)
    else:
        server = smtplib.SMTP(channel.host, channel.port, timeout=_TIMEOUT_S)
    with server:
        if channel.security == "starttls":
            server.starttls(context=secure)
        if channel.user:
            server.login(channel.user, channel.password.get_secret_value())
        server.send_message(messages.mail(news, channel.sender, channel.to, test))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A signed message goes where the settings say, nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _cause(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"it answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        return _cause(error.reason)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
