"""Live traffic as frames: a memory-mapped kernel ring on Linux, or tcpdump through a pipe elsewhere.

Source: Documentation/networking/packet_mmap.rst of the Linux kernel (TPACKET_V3).
"""

from __future__ import annotations

import mmap
import select
import socket
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from netwarden.capture.decode import ETHERNET, LINUX_SLL, PPP, RAW
from netwarden.capture.kernels import entry_kernel, inlined
from netwarden.capture.pcap import Frames, read_capture
from netwarden.capture.pipe import Pipe
from netwarden.capture.records import RECORD
from netwarden.errors import InputError

_SOL_PACKET, _PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION, _TPACKET_V3 = 263, 5, 6, 10, 2
_ETH_P_ALL = 3
_USER = 1  # block status: ours to read
_BLOCK_BYTES = 1 << 20
_RETIRE_MS = 50  # the kernel hands over a block that is not full after this long
_POLL_MS = 100
_OUTGOING = 4  # sockaddr_ll.sll_pkttype
# ARPHRD_* (linux/if_arp.h) → link type
_LINKS = {1: ETHERNET, 772: ETHERNET, 512: PPP, 65534: RAW, 768: RAW, 776: RAW, 778: RAW}


@dataclass
class LiveFacts:
    """What the kernel handed over, and what it dropped for lack of room in the ring."""

    frames: int = 0
    dropped: int = 0


def live_frames(
    interface: str, stop: Callable[[], bool], facts: LiveFacts, *, ring_mb: int = 64, snap_bytes: int = 256
) -> Iterator[Frames | None]:
    """Frames of an interface until `stop` says so; None where none came for a tenth of a second.

    Frames are valid until the next is asked for. Needs CAP_NET_RAW. Raises InputError.
    """
    if hasattr(socket, "AF_PACKET"):
        yield from _ring(interface, stop, facts, ring_mb)
    else:
        yield from tcpdump_frames(interface, stop, facts, snap_bytes=snap_bytes)


def _ring(interface: str, stop: Callable[[], bool], facts: LiveFacts, ring_mb: int) -> Iterator[Frames | None]:
    link = _link_type(interface)
    blocks = max(2, ring_mb * (1 << 20) // _BLOCK_BYTES)
    with _open_socket(interface, blocks) as tap:
        ring = mmap.mmap(tap.fileno(), blocks * _BLOCK_BYTES, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        buffer = np.frombuffer(ring, np.uint8)
        words = np.frombuffer(ring, np.uint32).reshape(blocks, -1)
        records = np.empty(_BLOCK_BYTES // 32, RECORD)
        poller = select.poll()
        poller.register(tap, select.POLLIN | select.POLLERR)
        block = 0
        try:
            left = -1  # blocks still to be read after the stop
            while left != 0:
                if left < 0 and stop():
                    left = blocks
                if not words[block, 2] & _USER:
                    _count_drops(tap, facts)
                    if not poller.poll(_POLL_MS):
                        if left > 0:
                            break  # all that came before the stop is read: the poll outwaited the retire time
                        yield None
                    continue
                count = walk_block(buffer, block * _BLOCK_BYTES, _BLOCK_BYTES, link, interface == "lo", records)
                facts.frames += count
                if count:
                    yield Frames(buffer, records[:count])
                words[block, 2] = 0
                block = (block + 1) % blocks
                left -= left > 0
        finally:
            _count_drops(tap, facts)
            del buffer, words  # numpy views would keep the ring mapped
            with suppress(BufferError):
                ring.close()


def _open_socket(interface: str, blocks: int) -> socket.socket:
    try:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError:
        raise InputError(f"capturing on {interface} needs the capability NET_RAW; run as root or grant it") from None
    try:
        tap.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        frame_bytes = 2048
        request = struct.pack(
            "7I", _BLOCK_BYTES, blocks, frame_bytes, blocks * _BLOCK_BYTES // frame_bytes, _RETIRE_MS, 0, 0
        )
        tap.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
        tap.bind((interface, _ETH_P_ALL))
    except OSError as error:
        tap.close()
        raise InputError(f"interface {interface} cannot be captured: {error.strerror}; is it up?") from None
    return tap


def _link_type(interface: str) -> int:
    try:
        hardware = int((Path("/sys/class/net") / interface / "type").read_text())
    except (OSError, ValueError):
        known = ", ".join(sorted(name for _, name in socket.if_nameindex()))
        raise InputError(f"no interface {interface!r}; there are: {known}") from None
    return _LINKS.get(hardware, LINUX_SLL)


def _count_drops(tap: socket.socket, facts: LiveFacts) -> None:
    """The kernel's counters are reset by reading."""
    statistics = tap.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)
    facts.dropped += struct.unpack("3I", statistics)[1]


@inlined
def _u32(buffer, at):
    return (
        np.int64(buffer[at])
        | (np.int64(buffer[at + 1]) << 8)
        | (np.int64(buffer[at + 2]) << 16)
        | (np.int64(buffer[at + 3]) << 24)
    )


@entry_kernel
def walk_block(buffer, block, size, link, incoming_only, records):
    """Frames of one ring block. On the loopback interface every packet comes twice; its outgoing copy is left out."""
    packets = _u32(buffer, block + 12)
    at = block + _u32(buffer, block + 16)
    count = 0
    for _ in range(packets):
        if at + 68 > block + size or count == len(records):
            break
        outgoing = buffer[at + 48 + 10] == _OUTGOING
        if not (incoming_only and outgoing):
            record = records[count]
            record.offset = at + (np.int64(buffer[at + 24]) | (np.int64(buffer[at + 25]) << 8))
            record.captured = _u32(buffer, at + 12)
            record.time_ns = _u32(buffer, at + 4) * 1_000_000_000 + _u32(buffer, at + 8)
            record.link = link
            count += 1
        following = _u32(buffer, at)
        if following == 0:
            break
        at += following
    return count


def tcpdump_frames(
    interface: str, stop: Callable[[], bool], facts: LiveFacts, *, snap_bytes: int = 256
) -> Iterator[Frames | None]:
    """As `live_frames`, by tcpdump, which nearly every system has."""
    command = ["tcpdump", "-i", interface, "-s", str(snap_bytes), "--immediate-mode", "-U", "-n", "-w", "-"]
    with tempfile.TemporaryFile() as told:
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told)
        except FileNotFoundError:
            raise InputError(f"capturing on {interface} needs tcpdump on this system; install it") from None
        with process:
            try:
                for frames in read_capture(Pipe(process.stdout.fileno(), stop)):  # type: ignore[union-attr]  # PIPE was asked for
                    facts.frames += len(frames.records)
                    yield frames if len(frames.records) else None
            except InputError:  # it gave nothing
                raise InputError(f"interface {interface} cannot be captured: {' '.join(_lines(told))}") from None
            finally:
                process.terminate()
                process.communicate()  # reads what is left, else a full pipe would keep it
                facts.dropped += _tcpdump_drops(_lines(told))


def _lines(told: IO[bytes]) -> list[str]:
    told.seek(0)
    return told.read().decode(errors="replace").splitlines() or ["tcpdump said nothing"]


def _tcpdump_drops(lines: list[str]) -> int:
    counts = [int(line.split()[0]) for line in lines if line.endswith("packets dropped by kernel")]
    return counts[-1] if counts else 0
