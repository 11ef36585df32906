"""The sections of config/netwarden.yaml, one class each."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator


class Section(BaseModel):
    """What every section is: fixed once read, and without keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class EtlSettings(Section):
    batch_rows: int = Field(4096, ge=1, description="Rows per store transaction")
    max_bad_share: float = Field(0.01, ge=0, le=1, description="Share of bad rows over which ETL stops")


class ScoringSettings(Section):
    threads: int = Field(0, ge=0, description="Threads of one scorer; 0: all cores")
    chunk_rows: int = Field(16_384, ge=256, description="Rows that a thread transforms and scores at a time")


class PersonSettings(Section):
    """Somebody who may use the portal, with a password, a token or both; `netwarden password` makes the hashes."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.@-]{0,63}$")
    role: Literal["viewer", "analyst", "admin"]
    password: SecretStr = Field(SecretStr(""), description="Hash of the password")
    token: SecretStr = Field(SecretStr(""), description="Hash of the bearer token")


class PortalSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    max_upload_mb: int = Field(512, ge=1)
    page_rows: int = Field(100, ge=1)
    keep_uploads: int = Field(50, ge=1, description="Scored uploads kept for paging and download")
    keep_flows_mb: int = Field(
        4096, ge=0, description="Disk for the flows of uploads, to score them with other bundles"
    )
    allowed_hosts: list[str] = Field(default_factory=list, description="Host headers accepted besides our own")
    trusted_proxies: list[str] = Field(default_factory=list, description="Addresses whose X-Forwarded-* count")
    open_metrics: bool = Field(False, description="Serve /metrics without a token")
    people: list[PersonSettings] = Field(default_factory=list, description="Accounts; none: NETWARDEN_TOKEN alone")
    logins_per_minute: int = Field(10, ge=1, description="Of one address; the same number may come at once")
    uploads_per_minute: int = Field(120, ge=1, description="Of one person, or one address where there are no accounts")
    trainings_per_minute: int = Field(20, ge=1, description="Requests to train of one person or address")
    record_scored: bool = Field(True, description="Store the alerts among flows that the API scores")
    train_silence_s: float = Field(
        50.0, gt=0, description="How long GET /train sends nothing; below the idle timeout of the proxies before it"
    )


class NetworksSettings(Section):
    """What is ours: tells inbound from outbound traffic, and names machines."""

    home: list[str] = Field(
        default_factory=lambda: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
        description="Our networks; the rest is outside",
    )
    assets: dict[str, str] = Field(default_factory=dict, description="Address → name of a machine of ours")

    @field_validator("home")
    @classmethod
    def _networks(cls, home: list[str]) -> list[str]:
        return [str(ip_network(each, strict=False)) for each in home]

    @field_validator("assets")
    @classmethod
    def _addresses(cls, assets: dict[str, str]) -> dict[str, str]:
        return {str(ip_address(address)): name for address, name in assets.items()}


class RetentionSettings(Section):
    """How long things are kept, in days; 0: for ever. The portal clears up once an hour."""

    new_days: int = Field(180, ge=0, description="Alerts that nobody has judged")
    true_positive_days: int = Field(0, ge=0)
    false_positive_days: int = Field(90, ge=0)
    benign_positive_days: int = Field(90, ge=0)
    duplicate_days: int = Field(30, ge=0)
    suppressed_days: int = Field(30, ge=0, description="Alerts that a suppression hides, whatever their state")
    upload_days: int = Field(0, ge=0, description="Scored uploads; portal.keep_uploads bounds them as well")


class TrackingSettings(Section):
    timeout_s: float = Field(10.0, gt=0, description="How long an unreachable tracking server may hold a run up")


class StoreSettings(Section):
    database: str = Field("netwarden", description="MongoDB database, where the URI names none")
    timeout_s: float = Field(10.0, gt=0)


class StreamSettings(Section):
    """The path from sensors to alerts."""

    batch_rows: int = Field(2048, ge=1, description="Flows that a sensor sends at once, at most")
    queue_messages: int = Field(1024, ge=1, description="Unfinished batches that make the queue full")
    queue_mb: int = Field(256, ge=1, description="The same in megabytes")
    when_full: Literal["wait", "drop_oldest"] = Field("wait", description="wait loses nothing; drop_oldest counts")
    max_age_s: float = Field(0.0, ge=0, description="With drop_oldest: batches older than this go too; 0: none do")
    spool_mb: int = Field(1024, ge=0, description="Disk that a sensor fills while the queue is away; then it waits")
    worker_rows: int = Field(16_384, ge=1, description="Flows that a worker scores at once, about")
    claim_after_s: float = Field(5.0, gt=0, description="A worker silent for this long loses its batches to others")
    max_deliveries: int = Field(5, ge=2, description="A batch handed out more often is halved: it may kill workers")
    dead_letters: int = Field(10_000, ge=1, description="Bodies kept that could not be processed")
    learn: str = Field("", description="Learn a new network for 30m, 12h or 7d, or for so many flows; empty: do not")
    learn_rows: int = Field(50_000, ge=1000, description="Flows kept of a network that is learned, at most")
    feed_batches: int = Field(1000, ge=1, description="Scored batches kept for those who follow them")
    prediction_logs: bool = Field(False, description="Also write scored flows as JSON lines under LOG_DIR")
    prediction_log_mb: int = Field(100, ge=1, description="Size at which such a file is rotated")
    prediction_log_files: int = Field(5, ge=1, description="Rotated files of each kind that are kept")
    trace: bool = Field(False, description="OpenTelemetry spans, to OTEL_EXPORTER_OTLP_ENDPOINT; needs netwarden[otel]")
    sensor: str = Field("", description="Name of the sensor; empty: the host's")
    interim_s: float = Field(10.0, ge=0, description="Live: flows still open are reported this often; 0: never")
    recent_packets: str = Field("", description="Live: how much of the latest packets to keep (64MB); empty: none")
    replay_rate: float = Field(100.0, ge=0, description="Replay: flows a second; 0: as fast as they are taken")
    replay_order: Literal["sequential", "shuffled"] = Field("sequential", description="Replay: order of the rows")
    replay_loop: bool = Field(False, description="Replay: begin again at the end")
    host: str = Field("127.0.0.1", description="Address of /health and /metrics of sensors and workers")
    sensor_port: int = Field(9101, ge=0, le=65535, description="0: any free port, which the log names")
    worker_port: int = Field(9102, ge=0, le=65535, description="0: any free port, which the log names")


def first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown key '{where}'; check its spelling against the documentation"
    return f"'{where}': {fault['msg']}" if where else str(fault["msg"])
