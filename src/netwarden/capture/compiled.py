"""Compiling the meter's kernels ahead of their first use. Numba keeps the result on disk (NUMBA_CACHE_DIR)."""

from __future__ import annotations

import inspect
import io
import re
import struct
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from netwarden.capture.context import observe
from netwarden.capture.decode import decode
from netwarden.capture.identity import name_flows, write_addresses
from netwarden.capture.live import walk_block
from netwarden.capture.meter import METER_KERNELS, FlowMeter, MeterSettings, cicflowmeter_settings
from netwarden.capture.metering import meter_captures
from netwarden.capture.payload import PAYLOAD_KERNELS
from netwarden.capture.pcap import walk_pcap, walk_pcapng
from netwarden.capture.records import RECORD

_NAMING = (name_flows, write_addresses)
_KERNELS = (*METER_KERNELS, *PAYLOAD_KERNELS, *_NAMING, decode, observe, walk_pcap, walk_pcapng, walk_block)
_IMPORTS = re.compile(r"^from netwarden\.capture(?:\.| import )(\w+)", re.MULTILINE)
NOTICE = (
    "First use of the flow meter: compiling its packet loops for this processor, once; it takes up to a minute or two, "
    "and later runs load them from the cache."
)


def is_cold() -> bool:
    """Whether the next use compiles a kernel: the cache lacks it, or has it from before a change of its sources."""
    return any(map(_is_stale, _KERNELS))


def ready(announce: Callable[[str], None]) -> None:
    """Compile what is not compiled, saying so first."""
    if is_cold():
        announce(NOTICE)
        compile_kernels()


def compile_kernels() -> float:
    """Compile (or load) every kernel by metering a made-up capture each way; returns the seconds it took."""
    began_s = time.perf_counter()
    for kernel in filter(_is_stale, _KERNELS):
        for path in _index(kernel):
            path.unlink(missing_ok=True)
    for data in (_pcap(), _pcapng()):
        for settings in (MeterSettings(max_flows=4), cicflowmeter_settings(max_flows=4)):
            for payload_first in (0, 1):
                list(meter_captures([io.BytesIO(data)], settings, payload_first=payload_first))
    list(FlowMeter(MeterSettings(max_flows=4)).advance(0))
    walk_block(np.zeros(128, np.uint8), 0, 128, 1, False, np.empty(1, RECORD))
    return time.perf_counter() - began_s


def _is_stale(kernel: Any) -> bool:
    """Numba itself looks at a kernel's own file only, not at the files of what it calls."""
    index = _index(kernel)
    newest = max(path.stat().st_mtime for path in _sources(Path(inspect.getfile(kernel.py_func))))
    return not index or min(path.stat().st_mtime for path in index) < newest


def _index(kernel: Any) -> list[Path]:
    """Numba's index file of a kernel as it stands; none before it was first compiled."""
    name = f"{kernel.__module__.rpartition('.')[2]}.{kernel.__name__}-{kernel.py_func.__code__.co_firstlineno}"
    return list(Path(kernel.stats.cache_path).glob(f"{name}.py{sys.version_info.major}{sys.version_info.minor}*.nbi"))


@cache
def _sources(path: Path) -> frozenset[Path]:
    """A file of kernels, those it has kernels or constants from, and the layouts; none for one that calls kernels."""
    imported = set(_IMPORTS.findall(path.read_text(encoding="utf-8")))
    if "kernels" not in imported and path.stem not in ("kernels", "records"):
        return frozenset()
    own = {path, path.with_name("records.py")}
    return frozenset(own).union(*(_sources(path.with_name(f"{name}.py")) for name in imported))


def _pcap() -> bytes:
    frame = _frame()
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return head + struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame


def _pcapng() -> bytes:
    frame = _frame()
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    interface = struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20)
    packet = struct.pack("<IIIIIII", 6, 32 + len(frame), 0, 0, 0, len(frame), len(frame)) + frame
    return section + interface + packet + struct.pack("<I", 32 + len(frame))


def _frame() -> bytes:
    """A UDP datagram of 2 bytes over IPv4 and Ethernet, 44 bytes in all."""
    network = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 30, 0, 0, 64, 17, 0, b"\x0a\0\0\x01", b"\x0a\0\0\x02")
    return b"\x02" * 12 + b"\x08\0" + network + struct.pack("!HHHH", 1024, 53, 10, 0) + b"xx"
