"""What the settings say of addresses: names of machines, our networks, and so which way a flow went."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Literal

from netwarden.sections import NetworksSettings
from netwarden.sources.filters import AllOf, Networks, OneOf, Value, Where, network_bounds

Direction = Literal["inbound", "outbound", "lateral", "external"]
# Whether the source and the target are ours.
_ENDS: dict[Direction, tuple[bool, bool]] = {
    "inbound": (False, True),
    "outbound": (True, False),
    "lateral": (True, True),
    "external": (False, False),
}
DIRECTIONS = tuple(_ENDS)


class KnownNetworks:
    """Answers for one deployment's settings."""

    def __init__(self, settings: NetworksSettings) -> None:
        self._home = tuple(settings.home)
        self._networks = [ipaddress.ip_network(each) for each in settings.home]
        self._names = settings.assets
        self._is_ours = lru_cache(maxsize=65_536)(self._look)

    def name_of(self, address: str | None) -> str:
        """The name of a machine; empty where none is known."""
        return self._names.get(address or "", "")

    def direction(self, source: str | None, target: str | None) -> Direction | None:
        """Which way a flow went; None where an end is not known."""
        if source is None or target is None:
            return None
        ends = (self._is_ours(source), self._is_ours(target))
        return next((name for name, both in _ENDS.items() if both == ends), None)

    def endpoint(self, text: str) -> Value | OneOf | Networks:
        """What a filter looks for where somebody writes a machine's name, a network or an address."""
        named = tuple(address for address, name in self._names.items() if name.lower() == text.strip().lower())
        if named:
            return OneOf(named)
        if "/" in text:
            network_bounds(text)  # says what is wrong with it
            return Networks((text,))
        return text.strip()

    def ends(self, direction: Direction) -> Where:
        """The filter of a direction."""
        source, target = (Networks(self._home, outside=not ours) for ours in _ENDS[direction])
        return {"source": source, "target": target}

    def _look(self, address: str) -> bool:
        try:
            known = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(known in network for network in self._networks)


def joined(first: Where, second: Where) -> Where:
    """A filter that meets both."""
    both = {name: AllOf((first[name], second[name])) for name in first.keys() & second.keys()}  # type: ignore[arg-type] # neither holds words
    return {**first, **second, **both}
