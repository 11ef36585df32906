"""Who opened which conversation: the router's side of the truth. Standard library only.

A turn is all that passes between two endpoints (address, port, protocol; either direction) from the packet by which an
activity, or a service, opened it until someone else opens another between the same endpoints. It belongs to its opener.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

ICMP, TCP, UDP, SCTP = 1, 6, 17, 132
_ICMP_PAIRS = ((8, 0), (13, 14), (15, 16), (17, 18), (10, 9))
_ICMP_ANSWERS = {**dict(_ICMP_PAIRS), **{answer: ask for ask, answer in _ICMP_PAIRS}}
_ICMP_ERRORS = (3, 4, 5, 11, 12)
_PORTS_WITHIN = {TCP: 20, UDP: 8, SCTP: 12}  # bytes of transport header without which the meter reads no ports
_PORTS = frozenset({TCP, UDP})
_NO_PORTS = b"\0\0\0\0"
_SYN, _ACK = 0x02, 0x10
_FRAGMENTS_TTL_US = 30_000_000
_MOST_FRAGMENTS = 4096
_SILENCE_US = 120_000_000  # ends a flow of our meter


@dataclass(frozen=True)
class Behalf:
    """What host `by` opens from `port` (0: any) to `to` counts as `owner`'s from `from_us` to `until_us`."""

    by: int
    port: int
    to: bytes
    owner: int
    from_us: int
    until_us: int


class Turn:
    """One turn: `key` as its opener sends it."""

    __slots__ = ("first_us", "key", "last_us", "owner", "packets")

    def __init__(self, key: bytes, owner: int, time_us: int) -> None:
        self.key, self.owner, self.first_us, self.last_us, self.packets = key, owner, time_us, time_us, 1


class Origin(NamedTuple):
    """A turn in readable form."""

    source: str
    source_port: int
    target: str
    target_port: int
    protocol: int
    first_us: int
    last_us: int
    owner: int
    packets: int


class Owners:
    """Takes every packet in order of time and tells whose it is. Owners below `services` are hosts' own."""

    def __init__(self, services: int, behalf: Sequence[Behalf] = ()) -> None:
        self.turns: list[Turn] = []
        self._services, self._behalf = services, behalf
        self._current: dict[bytes, Turn] = {}  # both directions → the turn that goes on
        self._fragments: dict[bytes, tuple[int, bytes]] = {}

    def take(self, packet: bytes, sender: int, time_us: int) -> Turn:
        """The turn that an IPv4 packet of `sender` belongs to, opened by it where need be."""
        protocol = packet[9]
        if packet[0] == 0x45 and not (packet[6] & 0x3F or packet[7]) and protocol in _PORTS and len(packet) >= 40:
            key = packet[9:10] + packet[12:24]
        else:
            key = self._slow_key(packet, time_us)
        turn = self._current.get(key)
        if turn is not None:
            owner = turn.owner
            if sender == owner and sender >= self._services:
                turn.last_us = time_us
                turn.packets += 1
                return turn
        if protocol == ICMP:
            sender = self._quoted_owner(packet, sender)
        if turn is None or self._opens(turn, key, packet, sender, time_us):
            return self._open(key, sender, time_us)
        turn.last_us = time_us
        turn.packets += 1
        return turn

    def owner_of(self, key: bytes) -> int | None:
        """Who opened the turn that goes on between these endpoints."""
        turn = self._current.get(key)
        return None if turn is None else turn.owner

    def _opens(self, turn: Turn, key: bytes, packet: bytes, sender: int, time_us: int) -> bool:
        """Whether a packet of someone other than the turn's owner, or of a service, opens another turn.

        The answering side opens one by a SYN, or, where there is no SYN, when an activity speaks after a long silence.
        On the opener's side any other activity does, and a service, unless it is the kernel that answers in place of
        the activity (RST to an unexpected SYN-ACK, what TCP sends after the process has gone), which it does in TCP.
        """
        if sender == turn.owner:
            return False
        tcp, activity = key[0] == TCP, sender >= self._services
        if tcp and _is_syn(packet):
            return True
        if key != turn.key:
            return activity and not tcp and time_us - turn.last_us > _SILENCE_US
        return activity or not tcp

    def _open(self, key: bytes, sender: int, time_us: int) -> Turn:
        if sender < self._services:
            sender = self._on_behalf(key, sender, time_us)
        turn = Turn(key, sender, time_us)
        self.turns.append(turn)
        self._current[key] = self._current[_reverse(key)] = turn
        return turn

    def _on_behalf(self, key: bytes, host: int, time_us: int) -> int:
        for rule in self._behalf:
            fits = rule.by == host and rule.to == key[5:9] and rule.port in (0, int.from_bytes(key[9:11], "big"))
            if fits and rule.from_us <= time_us <= rule.until_us:
                return rule.owner
        return host

    def _quoted_owner(self, packet: bytes, sender: int) -> int:
        """Of an ICMP error: who opened the conversation that it quotes."""
        at = (packet[0] & 15) * 4
        if len(packet) < at + 36 or packet[at] not in _ICMP_ERRORS:
            return sender
        inner = packet[at + 8 :]
        start = (inner[0] & 15) * 4
        ports = inner[start : start + 4] if inner[9] in _PORTS_WITHIN else _icmp_ports(inner, start)
        turn = self._current.get(inner[9:10] + inner[12:20] + ports)
        return sender if turn is None else turn.owner

    def _slow_key(self, packet: bytes, time_us: int) -> bytes:
        """Protocol, addresses and what stands for ports: of options, fragments, ICMP and other protocols too."""
        protocol, start = packet[9], (packet[0] & 15) * 4
        ends, fragment = packet[9:10] + packet[12:20], int.from_bytes(packet[6:8], "big") & 0x3FFF
        if fragment & 0x1FFF:
            return ends + self._ports_of_first(ends + packet[4:6], time_us)
        ports = _NO_PORTS
        if protocol == ICMP:
            ports = _icmp_ports(packet, start)
        elif len(packet) - start >= _PORTS_WITHIN.get(protocol, 65_536):
            ports = packet[start : start + 4]
        if fragment:
            self._remember(ends + packet[4:6], ports, time_us)
        return ends + ports

    def _remember(self, datagram: bytes, ports: bytes, time_us: int) -> None:
        self._fragments.pop(datagram, None)
        self._fragments[datagram] = (time_us, ports)
        if len(self._fragments) > _MOST_FRAGMENTS:
            del self._fragments[next(iter(self._fragments))]

    def _ports_of_first(self, datagram: bytes, time_us: int) -> bytes:
        seen_us, ports = self._fragments.get(datagram, (-_FRAGMENTS_TTL_US, _NO_PORTS))
        return ports if time_us - seen_us <= _FRAGMENTS_TTL_US else _NO_PORTS


def readable(turn: Turn) -> Origin:
    """A turn with addresses and ports as text and numbers."""
    key = turn.key
    return Origin(
        ".".join(map(str, key[1:5])),
        int.from_bytes(key[9:11], "big"),
        ".".join(map(str, key[5:9])),
        int.from_bytes(key[11:13], "big"),
        key[0],
        turn.first_us,
        turn.last_us,
        turn.owner,
        turn.packets,
    )


def _reverse(key: bytes) -> bytes:
    return key[0:1] + key[5:9] + key[1:5] + key[11:13] + key[9:11]


def _is_syn(packet: bytes) -> bool:
    at = (packet[0] & 15) * 4 + 13
    return len(packet) > at and packet[at] & (_SYN | _ACK) == _SYN


def _icmp_ports(packet: bytes, start: int) -> bytes:
    """The type, and the type that answers it or else the code, as the meter takes them for ports."""
    if len(packet) < start + 2:
        return _NO_PORTS
    kind, code = packet[start], packet[start + 1]
    return bytes((0, kind, 0, _ICMP_ANSWERS.get(kind, code)))
