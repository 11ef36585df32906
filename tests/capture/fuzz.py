"""Damaged captures by the million: none may crash, hang, read out of bounds or lose a packet.

`python -m tests.capture.fuzz --count 1000000` (`make fuzz`); with NUMBA_BOUNDSCHECK=1 every kernel checks its indices
(`make fuzz-bounds`). A run is decided by its seed. Captures that show new behaviour (another mixture of skips, cuts,
protocols and endings) join those that are mutated further.
"""

from __future__ import annotations

import argparse
import faulthandler
import gzip
import io
import itertools
import os
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from netwarden.capture.columns import features
from netwarden.capture.compiled import compile_kernels
from netwarden.capture.context import context, empty_tables
from netwarden.capture.decode import SKIPS, decode
from netwarden.capture.meter import FlowMeter, MeterSettings, cicflowmeter_settings
from netwarden.capture.pcap import CaptureFacts, read_capture
from netwarden.capture.records import PACKET
from netwarden.capture.stream import Decoder
from netwarden.capture.tables import flow_table
from netwarden.errors import InputError
from tests.capture.frames import Packet, ethernet, frame, ip, pcap, pcapng
from tests.capture.test_formats import LINKS, SIX, TUNNELS

_SEED_FRAMES = 12
_MOST_CORPUS = 4096
_MOST_BYTES = 20_000
_TELLING = (0, 1, 3, 4, 5, 0x0F, 0x40, 0x45, 0x4F, 0x60, 0x7F, 0x80, 0xFF)  # values that headers turn on
_HANG_S = 120
SETTINGS = (
    MeterSettings(max_flows=16, idle_timeout_s=5, active_timeout_s=60, interim_s=1),
    MeterSettings(max_flows=256),
    cicflowmeter_settings(max_flows=16),
)


@dataclass
class FuzzReport:
    """What a run did."""

    captures: int = 0
    frames: int = 0
    packets: int = 0
    refused: int = 0  # said to be no capture
    cut: int = 0
    behaviours: set[tuple[object, ...]] = field(default_factory=set)

    def __str__(self) -> str:
        return (
            f"{self.captures:,} captures, {self.frames:,} frames, {self.packets:,} packets, {self.refused:,} refused, "
            f"{self.cut:,} cut, {len(self.behaviours):,} behaviours; nothing found"
        )


def seeds() -> list[bytes]:
    """Small whole captures of every format, link type and tunnel, and beginnings of the given ones where they are."""
    packets = [*(Packet(1_000_000 * step, payload=40 * step) for step in range(1, 5))]
    made = [pcap(((p.time_us, wrap(p)) for p in packets), link=link) for link, wrap in LINKS.values()]
    made += [
        pcap((p.time_us, ethernet(_tunnelled(protocol, wrap(p)))) for p in (SIX if name == "6in4" else packets))
        for name, (protocol, wrap) in TUNNELS.items()
    ]
    made += [
        pcap(((p.time_us, frame(p)) for p in SIX), order=order, nanoseconds=nanoseconds)
        for order, nanoseconds in itertools.product("<>", (False, True))
    ]
    interfaces = ((1, 6), (101, 9), (113, 0x80 | 20))
    made += [
        pcapng(((step % 2, p.time_us, (frame, ip)[step % 2](p)) for step, p in enumerate(packets)), interfaces, order=o)
        for o in "<>"
    ]
    return made + [_beginning(path) for path in _given()]


def _tunnelled(protocol: int, body: bytes) -> bytes:
    return ip(Packet(0, protocol=protocol))[:20].replace(b"\0\x14", (20 + len(body)).to_bytes(2, "big"), 1) + body


def _given() -> list[Path]:
    folder = os.environ.get("NETWARDEN_PCAPS")
    return sorted(path for path in Path(folder).rglob("*.pcap*") if path.is_file()) if folder else []


def _beginning(path: Path) -> bytes:
    """The first frames of a given capture, unpacked."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for batch in read_capture(io.BytesIO(data)):
        last = batch.records[:_SEED_FRAMES][-1]
        end = int(last["offset"] + last["captured"])
        return data[:end] if data[0] != 0x0A else data[: (end + 3 & ~3) + 4]  # pcapng: padding and the length again
    return data[:_MOST_BYTES]


def framed(captures: list[bytes]) -> list[tuple[int, bytes]]:
    """(link type, frame) of every frame of some captures."""
    found = []
    for data in captures:
        for batch in read_capture(io.BytesIO(data)):
            found += [
                (int(r["link"]), batch.buffer[r["offset"] : r["offset"] + r["captured"]].tobytes())
                for r in batch.records
            ]
    return found


# --- mutation -----------------------------------------------------------------------------------------------


def mutated(corpus: list[bytes], chance: random.Random) -> bytes:
    """One of the corpus after a few random changes."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        if not data:
            break
        chance.choice(_MUTATIONS)(data, corpus, chance)
    return bytes(data[:_MOST_BYTES])


_STEPS_US = (0, 1, 1000, 900_000, 1_100_000, 5_100_000, 61_000_000, 130_000_000, -1_000_000)


def rewrapped(frames: list[tuple[int, bytes]], chance: random.Random) -> bytes:
    """A whole pcapng of frames of all sorts, some of them damaged inside, with gaps around every timeout."""
    chosen = [frames[chance.randrange(len(frames))] for _ in range(chance.randint(1, 8))]
    links = sorted({link for link, _ in chosen})
    time_us, out = 1_600_000_000_000_000, []
    for _ in range(chance.randint(1, 24)):
        link, data = chance.choice(chosen)
        if chance.random() < 0.3:
            damaged = bytearray(data)
            for _time in range(chance.randint(1, 3)):
                if damaged:
                    chance.choice(_INSIDE)(damaged, [data], chance)
            data = bytes(damaged)
        time_us += chance.choice(_STEPS_US)
        out.append((links.index(link), time_us, data))
    return pcapng(out, ((link, 6) for link in links), order=chance.choice("<>"))


def _flip_bits(data: bytearray, _: list[bytes], chance: random.Random) -> None:
    for _time in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set_telling(data: bytearray, _: list[bytes], chance: random.Random) -> None:
    data[chance.randrange(len(data))] = chance.choice(_TELLING)


def _set_number(data: bytearray, _: list[bytes], chance: random.Random) -> None:
    """A field of 2, 4 or 8 bytes becomes small, huge or negative: lengths, counts and times live in such."""
    size = chance.choice((2, 4, 4, 8))
    value = chance.choice((0, 1, 2, 16, 255, chance.getrandbits(8 * size), (1 << 8 * size) - 1, 1 << (8 * size - 1)))
    at = chance.randrange(len(data))
    data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, chance.choice(("little", "big")))


def _cut(data: bytearray, _: list[bytes], chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _drop(data: bytearray, _: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.randint(1, 64)]


def _repeat(data: bytearray, _: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(data))
    data[at:at] = data[at : at + chance.randint(1, 200)] * chance.randint(1, 4)


def _splice(data: bytearray, corpus: list[bytes], chance: random.Random) -> None:
    other = chance.choice(corpus)
    start = chance.randrange(len(other) + 1)
    data[chance.randrange(len(data)) :] = other[start:]


def _change_link(data: bytearray, _: list[bytes], chance: random.Random) -> None:
    data[20:24] = chance.choice([link for link, _ in LINKS.values()]).to_bytes(4, chance.choice(("little", "big")))


_MUTATIONS = (_flip_bits, _set_telling, _set_telling, _set_number, _set_number, _cut, _drop, _repeat, _splice,
              _change_link)  # fmt: skip
_INSIDE = (_flip_bits, _set_telling, _set_number, _cut, _drop)


# --- running one --------------------------------------------------------------------------------------------


def run(count: int, seed: int, *, stop_at_s: float = float("inf")) -> FuzzReport:
    """Meter `count` mutated captures; AssertionError names the seed and number of the first that breaks a promise."""
    compile_kernels()  # before the watch for kernels that never return
    chance, corpus, report = random.Random(seed), seeds(), FuzzReport()
    frames = framed(corpus)
    for number in range(count):
        data = rewrapped(frames, chance) if number % 2 else mutated(corpus, chance)
        if number % 1000 == 0:
            faulthandler.dump_traceback_later(_HANG_S, exit=True)  # also where a kernel never returns
        try:
            behaviour = check(data, number, report)
        except Exception as error:
            raise AssertionError(f"capture {number} of seed {seed}, {len(data)} bytes: {data.hex()}") from error
        if number % 2 == 0 and behaviour not in report.behaviours and len(corpus) < _MOST_CORPUS:
            corpus.append(data)
        report.behaviours.add(behaviour)
        if time.monotonic() > stop_at_s:
            break
    faulthandler.cancel_dump_traceback_later()
    return report


def check(data: bytes, number: int, report: FuzzReport) -> tuple[object, ...]:
    """Meter one capture, hold it against what must be true of any, and say how it behaved."""
    rules = SETTINGS[number % len(SETTINGS)]
    original = rules.mode != "corrected"
    decoder, meter, around = Decoder(inner=number % 4 > 1, original=original), FlowMeter(rules, 64), empty_tables(16)
    facts = CaptureFacts("fuzz")
    report.captures += 1
    packets = in_flows = flows = 0
    protocols: set[int] = set()
    try:
        for batch in read_capture(io.BytesIO(data), facts):
            _check_bounds(batch)
            decoded = decoder(batch)
            packets += len(decoded)
            protocols.update(decoded["protocol"][:8].tolist())
            for records in meter.feed(decoded):
                in_flows += _check_flows(records, rules, around, number)
                flows += len(records)
    except InputError:
        report.refused += 1
        return ("refused",)
    for records in meter.flush():
        in_flows += _check_flows(records, rules, around, number)
        flows += len(records)
    counts, skipped = meter.counts, decoder.skipped
    left_out = counts["single_packet"] + counts["after_fin"] + counts["not_ipv4"]
    assert facts.frames == packets + skipped.total(), "a frame is neither packet nor skipped"
    assert packets == in_flows + left_out, "a packet is neither in a flow nor counted"
    report.frames += facts.frames
    report.packets += packets
    report.cut += bool(facts.cut)
    shown = tuple(name for name, value in counts.items() if value and name != "now_us")
    return (original, facts.cut[:16], tuple(sorted(skipped)), tuple(sorted(protocols)[:4]), shown, flows.bit_length())


_ONE = np.empty(1, PACKET)
_SKIPPED = np.zeros(len(SKIPS), np.int64)


def _check_bounds(batch) -> None:
    """Decode each frame at the very end of its buffer: with bounds checks on, a read beyond the frame raises."""
    for record in batch.records[:4]:
        end = int(record["offset"] + record["captured"])
        assert 0 <= record["offset"] <= end <= len(batch.buffer)
        decode(batch.buffer[:end], record.reshape(1), 1, _ONE, _SKIPPED, True, False)


def _check_flows(records, rules: MeterSettings, around, number: int) -> int:
    """Packets in flow records that ended, after a look at what the tables make of them."""
    values = context(around, records)
    if number % 16 == 0:
        for name, column in features(records, rules.mode != "corrected").items():
            assert (column[np.isfinite(column)] >= -1).all(), f"{name} is negative"
    if number % 512 == 0:
        assert len(flow_table(records, rules.mode, context=values)) == len(records)
    ended = records["ended_by"] != 5  # interim records count packets that are counted again
    return int(records["packets"][ended].sum())


def main() -> None:
    """Run from the command line, in several processes if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this long")
    options = parser.parse_args()
    faulthandler.enable()
    started = time.monotonic()
    report = run(options.count, options.seed, stop_at_s=started + options.seconds)
    text = f"seed {options.seed}, bounds {_checked()}: {report} in {time.monotonic() - started:.0f} s\n"
    sys.stdout.write(text)


def _checked() -> str:
    return "checked" if os.environ.get("NUMBA_BOUNDSCHECK") == "1" else "unchecked"


if __name__ == "__main__":
    main()
