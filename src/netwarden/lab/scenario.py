"""Scenarios: hosts, links, services and activities as YAML; who does what, when, and which label it earns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from netwarden.errors import ConfigError

LONGEST_S = 4 * 3600
MOST_HOSTS = 60
_NAME = r"^[a-z0-9][a-z0-9-]{0,23}$"
_PROGRAM = r"^[a-z][a-z0-9_]{0,30}$"

Name = Annotated[str, Field(pattern=_NAME)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def _many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _in_utc(value: datetime) -> datetime:
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)


class Link(_Frozen):
    """The way between a host and the router, the same in both directions.

    `queue_kb` bounds what waits where packets come faster than the rate; what comes on top is dropped.
    """

    delay_ms: float = Field(0.2, ge=0, le=1000)
    jitter_ms: float = Field(0.0, ge=0, le=1000)
    loss: float = Field(0.0, ge=0, lt=1, description="Share of packets that the link loses")
    rate_mbit: float = Field(1000.0, gt=0, le=10_000)
    queue_kb: float = Field(500.0, ge=2, le=100_000)


class Service(_Frozen):
    """A server program that runs on a host from start to end."""

    program: str = Field(pattern=_PROGRAM)
    port: int = Field(ge=1, le=65_535)
    options: dict[str, Any] = Field(default_factory=dict, alias="with")


class Host(_Frozen):
    """A namespace with one address; `link` overrides what its zone's link says."""

    zone: Name
    address: IPv4Address
    link: dict[str, float] = Field(default_factory=dict)
    services: tuple[Service, ...] = ()


class Behalf(_Frozen):
    """Flows that a service's host opens for an activity: `by` from `port` (0: any) to `to` (default: its own host)."""

    by: Name
    port: int = Field(0, ge=0, le=65_535)
    to: Name | None = None


class Activity(_Frozen):
    """What a program does on some hosts, from `from_s` to `until_s` after the start.

    On each host it is a part of its own: one process, one user, one device. Without label it is benign.
    """

    id: Name
    program: str = Field(pattern=_PROGRAM)
    on: Annotated[tuple[Name, ...], BeforeValidator(_many)] = Field(min_length=1)
    from_s: float = Field(0.0, ge=0)
    until_s: float = Field(gt=0)
    options: dict[str, Any] = Field(default_factory=dict, alias="with")
    label: str | None = None
    tool: str = ""
    behalf: tuple[Behalf, ...] = Field((), description="Flows that services open because of this activity")

    @model_validator(mode="after")
    def _has_time(self) -> Self:
        if self.until_s <= self.from_s:
            raise ValueError(f"activity {self.id!r} ends (until_s) before it starts (from_s)")
        return self


class Scenario(_Frozen):
    """What is played: one network, its services, and the activities in it."""

    name: Name
    title: str = ""
    seed: int = Field(1, ge=0)
    starts: Annotated[datetime, AfterValidator(_in_utc)] = Field(description="Clock of the capture at its start")
    hour_s: float = Field(3600.0, gt=0, description="Seconds that one hour of the lab's day lasts")
    length_s: float = Field(gt=0, le=LONGEST_S)
    links: dict[Name, Link]
    hosts: dict[Name, Host] = Field(min_length=2, max_length=MOST_HOSTS)
    activities: tuple[Activity, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for fault in _faults(self):
            raise ValueError(fault)
        return self

    def link_of(self, host: str) -> Link:
        """The link of a host: its zone's, with the host's own values on top."""
        return Link.model_validate({**self.links[self.hosts[host].zone].model_dump(), **self.hosts[host].link})

    @property
    def addresses(self) -> dict[str, str]:
        """Host name → address."""
        return {name: str(host.address) for name, host in self.hosts.items()}

    @property
    def starts_ns(self) -> int:
        return round(self.starts.timestamp()) * 1_000_000_000


def load_scenario(path: Path) -> Scenario:
    """The scenario of a YAML file and of the files that it includes.

    Raises ConfigError that names the file, the place and the fault.
    """
    try:
        return Scenario.model_validate(_read(path, ()))
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_fault(error)}") from None


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown key '{where}'; check its spelling against docs/lab.md"
    return f"{where}: {fault['msg']}" if where else str(fault["msg"]).removeprefix("Value error, ")


def _faults(scenario: Scenario) -> Iterator[str]:
    hosts, addresses = scenario.hosts, [host.address for host in scenario.hosts.values()]
    if len(set(addresses)) < len(addresses):
        yield "two hosts have the same address"
    for name, host in hosts.items():
        if host.zone not in scenario.links:
            yield f"host {name!r} lies in zone {host.zone!r}, for which links has no entry"
        if not host.address.is_private or host.address.is_loopback:
            yield f"host {name!r} has the address {host.address}, which is not private"
        try:
            scenario.link_of(name)
        except ValidationError as error:
            yield f"host {name!r}, link: {_first_fault(error)}"
        ports = [service.port for service in host.services]
        for port in sorted({port for port in ports if ports.count(port) > 1}):
            yield f"host {name!r} has two services at port {port}"
    seen: set[str] = set()
    for activity in scenario.activities:
        if activity.id in seen:
            yield f"two activities have the id {activity.id!r}"
        seen.add(activity.id)
        if activity.until_s > scenario.length_s:
            yield f"activity {activity.id!r} ends at {activity.until_s:g} s, the scenario at {scenario.length_s:g} s"
        named = {*activity.on} | {host for rule in activity.behalf for host in (rule.by, rule.to) if host}
        named |= set(_targets(activity)) - set(scenario.addresses.values())
        for unknown in sorted(named - set(hosts)):
            yield f"activity {activity.id!r} names the host {unknown!r}, which the scenario does not have"


def _targets(activity: Activity) -> tuple[str, ...]:
    """Hosts that the option `to` names, which all programs understand alike."""
    return tuple(str(host) for host in _many(activity.options.get("to", ())))


# --- files and what they include ------------------------------------------------------------------------------


class _Words(yaml.SafeLoader):
    """Safe YAML in which only true and false are booleans, so that `on:` is a key like any other (YAML 1.2)."""


_BOOLEAN = "tag:yaml.org,2002:bool"
_Words.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOLEAN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Words.add_implicit_resolver(_BOOLEAN, re.compile(r"^(?:true|false)$"), ["t", "f"])


def _read(path: Path, including: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in including:
        raise ConfigError(f"{path} includes itself")
    try:
        own = _Words(path.read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; scenarios lie in lab/scenarios") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from None
    if not isinstance(own, dict):
        raise ConfigError(f"{path} holds no mapping; a scenario starts with 'name:'")
    merged: dict[str, Any] = {}
    for name in _many(own.pop("include", ())):
        merged = merge(merged, _read(path.parent / str(name), (*including, path.resolve())))
    return merge(merged, own)


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` on top of `under`: mappings key by key, activities by id, anything else replaced."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if key == "activities" and isinstance(below, list) and isinstance(value, list):
            merged[key] = _merge_by_id(below, value)
        elif isinstance(below, dict) and isinstance(value, dict):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def _merge_by_id(under: list[Any], over: list[Any]) -> list[Any]:
    """Activities of both; where the ids are equal, one activity with the upper one's values on top."""
    merged = {_id_of(item, nth): item for nth, item in enumerate(under)}
    for nth, item in enumerate(over, len(under)):
        name = _id_of(item, nth)
        merged[name] = merge(merged[name], item) if name in merged else item
    return list(merged.values())


def _id_of(item: Any, nth: int) -> Any:
    return item["id"] if isinstance(item, dict) and "id" in item else nth
