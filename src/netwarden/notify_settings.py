"""The section `notify` of config/netwarden.yaml: who is told of new groups of alerts, and how often."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from netwarden.sections import Section

PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"


class Wishes(Section):
    """What every channel has: its name, and which groups it wants."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    families: list[str] = Field(default_factory=list, description="Only these; empty: all, also alerts without one")
    min_score: float = Field(0.0, ge=0, le=1, description="Only groups whose worst score is as high")


class WebhookSettings(Wishes):
    """A POST of JSON. `secret` signs the body (plain) or is the routing key (pagerduty)."""

    url: str = ""
    shape: Literal["plain", "slack", "pagerduty"] = "plain"
    secret: SecretStr = SecretStr("")

    @property
    def address(self) -> str:
        """Where it goes; PagerDuty has one address for everybody."""
        return self.url or PAGERDUTY

    @model_validator(mode="after")
    def _can_be_sent(self) -> WebhookSettings:
        parts = urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname or (not self.url and self.shape != "pagerduty"):
            raise ValueError("a webhook needs an address that begins with http:// or https://")
        if self.shape == "pagerduty" and not self.secret.get_secret_value():
            raise ValueError("PagerDuty needs its integration's routing key as the secret")
        return self


class SyslogSettings(Wishes):
    """One message a group, as RFC 5424 or in ArcSight's CEF."""

    host: str
    port: int = Field(514, ge=1, le=65535)
    transport: Literal["udp", "tcp"] = "udp"
    format: Literal["rfc5424", "cef"] = "rfc5424"


class MailSettings(Wishes):
    """One mail for all the groups of a look."""

    host: str
    port: int = Field(587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: SecretStr = SecretStr("")
    sender: str
    to: list[str] = Field(min_length=1)


class NotifySettings(Section):
    """New groups of alerts (source, target, family, verdict), told by one portal process at a time."""

    every_s: float = Field(5.0, gt=0, description="How often somebody looks for new groups")
    again_after_s: float = Field(3600.0, ge=0, description="A group that goes on is told again after so long")
    per_minute: int = Field(20, ge=1, description="Messages of one channel; further groups share one message")
    portal_url: str = Field("", description="Address of the portal, for links")
    webhooks: list[WebhookSettings] = Field(default_factory=list)
    syslog: list[SyslogSettings] = Field(default_factory=list)
    mail: list[MailSettings] = Field(default_factory=list)

    @model_validator(mode="after")
    def _names_are_unique(self) -> NotifySettings:
        names = [each.name for each in (*self.webhooks, *self.syslog, *self.mail)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two channels are named {twice[0]}")
        return self
