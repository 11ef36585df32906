"""Packets per CPU-second of the flow meter, of nfstream with statistics and of the bare walk over the records.

`make bench-meter`: builds a capture of over 2 M packets and 50 k flows from the given ones (NETWARDEN_PCAPS), streamed
to a temporary file in time order, then meters it in a process of its own for each figure. CPU-seconds count every
process and thread that took part; compiling and imports are left out. The ways take turns, and the best turn of each
counts, so that what else the machine does weighs on none of them alone.

nfstream runs as its users run it for statistics: one meter process, `statistical_analysis=True`, the same timeouts,
and naming protocols, which is its default; once more with that switched off, since we name none.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba as nb
import numpy as np
from figures import record

from netwarden.capture.columns import features
from netwarden.capture.compiled import compile_kernels
from netwarden.capture.meter import FlowMeter, MeterSettings
from netwarden.capture.metering import MeterReport, meter_captures
from netwarden.capture.pcap import read_capture
from netwarden.capture.stream import StreamFacts, read_packets

COPIES = 57
TURNS = 3
COPY_STEP_S = 20
CHUNK_FRAMES = 100_000
SUBJECT = "meter"


def main() -> None:
    """Build the capture and measure, or (with --only) measure one way in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--copies", type=int, default=COPIES, help="copies of the given captures, about 36 k packets each"
    )
    parser.add_argument("--turns", type=int, default=TURNS, help="how often each way is measured; the best one counts")
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--capture", type=Path, help="measure on this capture; with --only, what to read")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measured(options.only, options.capture)))
        return
    compile_kernels()  # here, so that no measured process holds the compiler
    with tempfile.TemporaryDirectory() as folder:
        warm = build(Path(folder, "warm.pcap"), given(), 1)
        capture = options.capture or build(Path(folder, "bench.pcap"), given(), options.copies)
        turns = [{way: in_own_process(way, capture, warm) for way in WAYS} for _ in range(options.turns)]
        report({way: min((turn[way] for turn in turns), key=lambda facts: facts["cpu_s"]) for way in WAYS}, capture)


def report(found: dict[str, dict[str, float]], capture: Path) -> None:
    speeds = {way: facts["packets"] / facts["cpu_s"] for way, facts in found.items()}
    facts = {"packets": found["everything"]["packets"], "flows": found["everything"]["flows"],
             "bytes": capture.stat().st_size}  # fmt: skip
    for way, speed in speeds.items():
        ratios = {
            f"pps {other}": round(speed / speeds[other], 3)
            for other in ("nfstream", "nfstream_undissected", "walk")
            if other != way
        }
        record(SUBJECT, f"pps {way}", speed, "packets/CPU-s", ratios, peak_mb=found[way]["peak_mb"], **facts)
    for way in ("features", "everything"):
        record(SUBJECT, f"peak memory {way}", found[way]["peak_mb"], "MB", **facts)


def in_own_process(way: str, capture: Path, warm: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--only", way, "--capture", str(capture)]
    run = subprocess.run(
        command, env={**os.environ, "BENCH_WARM": str(warm)}, capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def measured(way: str, capture: Path) -> dict[str, float]:
    """Packets, flows, CPU-seconds and peak memory of one way over the capture; a small one comes first, unmeasured."""
    WAYS[way](Path(os.environ["BENCH_WARM"]))
    before = cpu_s()
    packets, flows = WAYS[way](capture)
    return {"packets": packets, "flows": flows, "cpu_s": cpu_s() - before, "peak_mb": peak_mb()}


def cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_mb() -> float:
    """Of this process since its program began (getrusage would count the one that started it), or of its children."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return max(int(status["VmHWM"].split()[0]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


# --- the ways -----------------------------------------------------------------------------------------------


def walk(capture: Path) -> tuple[int, int]:
    """The records alone, nothing decoded."""
    return sum(len(frames.records) for frames in read_capture(capture)), 0


def only_features(capture: Path) -> tuple[int, int]:
    """The 76 features, without addresses as text, ids and context."""
    meter, packets, flows = FlowMeter(), 0, 0

    def count(batches: Iterator[Any]) -> int:
        return sum(len(features(records, False)["flow_duration_us"]) for records in batches)

    for batch in read_packets([capture], StreamFacts()):
        packets += len(batch)
        flows += count(meter.feed(batch))
    return packets, flows + count(meter.flush())


def everything(capture: Path) -> tuple[int, int]:
    """Whole tables: addresses, flow ids, Community IDs, features, context, and interim records every 60 s."""
    told = MeterReport()
    for _ in meter_captures([capture], MeterSettings(interim_s=60), report=told):
        pass
    return told.packets, told.flows


def nfstream(capture: Path, **options: Any) -> tuple[int, int]:
    """nfstream with statistics and the same timeouts, else as it comes."""
    from nfstream import NFStreamer  # noqa: PLC0415 - loads a C engine that the other ways do without

    packets = flows = 0
    streamer = NFStreamer(
        str(capture), statistical_analysis=True, n_meters=1, idle_timeout=120, active_timeout=1800, **options
    )
    for flow in streamer:
        packets += flow.bidirectional_packets
        flows += 1
    return packets, flows


def nfstream_undissected(capture: Path) -> tuple[int, int]:
    """The same without naming protocols, which we do not do."""
    return nfstream(capture, n_dissections=0)


WAYS: dict[str, Callable[[Path], tuple[int, int]]] = {
    "walk": walk,
    "features": only_features,
    "everything": everything,
    "nfstream": nfstream,
    "nfstream_undissected": nfstream_undissected,
}


# --- the capture --------------------------------------------------------------------------------------------


def given() -> list[Path]:
    folder = os.environ.get("NETWARDEN_PCAPS")
    if not folder:
        raise SystemExit("NETWARDEN_PCAPS is not set: it names the folder of the given captures")
    return sorted(Path(folder).glob("*.pcap.gz"))


def build(target: Path, sources: list[Path], copies: int) -> Path:
    """A pcap of copies of some Ethernet captures, each with addresses and times of its own, in time order."""
    data, frames = _all_frames(sources)
    copy_of = np.repeat(np.arange(copies), len(frames))
    times = np.tile(frames["time_ns"], copies) + copy_of * (COPY_STEP_S * 1_000_000_000)
    order = np.argsort(times, kind="stable")
    with target.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1))
        for start in range(0, len(order), CHUNK_FRAMES):
            chosen = order[start : start + CHUNK_FRAMES]
            source = frames[chosen % len(frames)]
            room = np.empty(int(source["captured"].sum()) + 16 * len(source), np.uint8)
            file.write(room[: _weave(data, source, times[chosen], copy_of[chosen], room)])
    return target


def _all_frames(sources: list[Path]) -> tuple[Any, Any]:
    """Every frame of the captures in one buffer; all captures begin at the same time."""
    parts, frames, size = [], [], 0
    for source in sources:
        of_source = []
        for batch in read_capture(source):
            records = batch.records.copy()
            low, high = records["offset"].min(), (records["offset"] + records["captured"]).max()
            parts.append(batch.buffer[low:high].copy())
            records["offset"] += size - low
            size += len(parts[-1])
            of_source.append(records)
        whole = np.concatenate(of_source)
        whole["time_ns"] += 1_700_000_000_000_000_000 - whole["time_ns"].min()
        frames.append(whole)
    return np.concatenate(parts), np.concatenate(frames)


@nb.njit
def _weave(data, frames, times, copies, room):  # type: ignore[no-untyped-def]  # compiled
    """Write records with headers; IPv4 addresses change with the copy. Returns the bytes written."""
    at = 0
    for i in range(len(frames)):
        captured, offset = frames[i].captured, frames[i].offset
        for k, value in enumerate((times[i] // 1_000_000_000, times[i] % 1_000_000_000, captured, captured)):
            for byte in range(4):
                room[at + 4 * k + byte] = (value >> (8 * byte)) & 255
        at += 16
        room[at : at + captured] = data[offset : offset + captured]
        if captured >= 34 and data[offset + 12] == 8 and data[offset + 13] == 0:
            for place in (27, 31):  # second byte of either address
                room[at + place] ^= copies[i]
        at += captured
    return at


if __name__ == "__main__":
    main()
