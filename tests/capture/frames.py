"""Frames and captures made by hand, byte by byte, so that tests know exactly what a capture holds."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


@dataclass(frozen=True)
class Packet:
    """One packet of a made-up capture; time in microseconds."""

    time_us: int
    source: str = "10.0.0.1"
    target: str = "10.0.0.2"
    source_port: int = 1024
    target_port: int = 80
    protocol: int = 6
    flags: int = ACK
    payload: int = 0
    window: int = 512
    fragment_id: int = 0
    fragment_offset: int = 0  # in units of 8 bytes
    more_fragments: bool = False

    def reversed(self) -> Packet:
        return replace(
            self,
            source=self.target,
            target=self.source,
            source_port=self.target_port,
            target_port=self.source_port,
        )


def ip(packet: Packet) -> bytes:
    """Network header and everything behind it."""
    body = _transport(packet)
    source, target = ipaddress.ip_address(packet.source), ipaddress.ip_address(packet.target)
    if source.version == 6:
        head = struct.pack("!IHBB", 6 << 28, len(body), packet.protocol, 64)
        return head + source.packed + target.packed + body
    fragment = packet.fragment_offset | (0x2000 if packet.more_fragments else 0)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), packet.fragment_id, fragment, 64, packet.protocol, 0)
    return head + source.packed + target.packed + body


def _transport(packet: Packet) -> bytes:
    data = b"x" * packet.payload
    if packet.fragment_offset:
        return data
    ports = struct.pack("!HH", packet.source_port, packet.target_port)
    if packet.protocol == 6:
        return ports + struct.pack("!IIBBHHH", 0, 0, 5 << 4, packet.flags, packet.window, 0, 0) + data
    if packet.protocol == 17:
        return ports + struct.pack("!HH", 8 + len(data), 0) + data
    if packet.protocol in (1, 58):
        return bytes((packet.source_port, packet.target_port, 0, 0)) + data
    return data


def ethernet(network: bytes, tags: Iterable[tuple[int, int]] = ()) -> bytes:
    """Ethernet frame, with VLAN tags (ether type, id)."""
    kind = 0x86DD if network[0] >> 4 == 6 else 0x0800
    return b"\x02" * 12 + b"".join(struct.pack("!HH", *tag) for tag in tags) + struct.pack("!H", kind) + network


def frame(packet: Packet) -> bytes:
    return ethernet(ip(packet))


def pcap(frames: Iterable[tuple[int, bytes]], *, link: int = 1, order: str = "<", nanoseconds: bool = False) -> bytes:
    """pcap file of (time in µs, frame)."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for time_us, data in frames:
        seconds, rest = divmod(time_us, 1_000_000)
        out += struct.pack(order + "IIII", seconds, rest * (1000 if nanoseconds else 1), len(data), len(data)) + data
    return out


def capture(packets: Iterable[Packet]) -> bytes:
    return pcap((packet.time_us, frame(packet)) for packet in packets)


def pcapng(
    frames: Iterable[tuple[int, int, bytes]], interfaces: Iterable[tuple[int, int]] = ((1, 6),), *, order: str = "<"
) -> bytes:
    """pcapng file of (interface, time in µs, frame); interfaces are (link type, if_tsresol)."""
    out = _block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    resolutions = []
    for link, resolution in interfaces:
        option = struct.pack(order + "HHB3x", 9, 1, resolution) + struct.pack(order + "HH", 0, 0)
        out += _block(order, 1, struct.pack(order + "HHI", link, 0, 0) + option)
        resolutions.append(resolution)
    for interface, time_us, data in frames:
        code = resolutions[interface]
        per_second = 1 << (code & 0x7F) if code & 0x80 else 10**code
        ticks = time_us * per_second // 1_000_000
        head = struct.pack(order + "IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
        out += _block(order, 6, head + data)
    return out


def _block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = 12 + len(body)
    return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", length)
