"""From packets on an interface to stored alerts, and whether they are those of the offline run: `make bench-live`.

    python benchmarks/bench_live.py [--recording build/lab/day-5] [--speed 1] [--bundle FOLDER]

As root. tcpreplay plays the lab's demo capture, or a recording that `make lab SCENARIO=day-5` made, from one network
namespace into another, where `netwarden sensor --interface`, Redis and `netwarden worker` run with the default
detector, trained on the lab's days, and tcpdump keeps what arrives. At the end what the worker stored is compared,
alert by alert, with what `Scorer.score` says of tcpdump's file metered offline; and how many flows have the verdict
that they have in the capture that was played, whose packets came at slightly other times. Then the rows of the lab's
fifth day go by `netwarden sensor --replay` the same way. Exits 1 where a packet was lost or an alert differs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from figures import record

from netwarden.capture.compiled import compile_kernels
from netwarden.capture.meter import MeterSettings
from netwarden.capture.metering import meter_captures
from netwarden.detectors.bundle import DetectorBundle, load_bundle
from netwarden.flows.table import FlowTable
from netwarden.lab.dataset import read_recording
from netwarden.lab.record import CAPTURE
from netwarden.params import load_params
from netwarden.scoring.scorer import Scorer
from netwarden.settings import Settings, load_settings
from netwarden.sources.connect import open_alert_store, open_feed, open_queue
from netwarden.streaming.batch import named_rows
from netwarden.streaming.replay import rows_to_replay
from netwarden.streaming.scored import ScoredBatch, read_scored

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.fixtures.lab_bundle import train_on_days  # noqa: E402 - found through the line above
from tests.fixtures.network import laid_cable  # noqa: E402
from tests.fixtures.servers import free_port  # noqa: E402
from tests.streaming.conftest import expected_alerts, register, stored_alerts  # noqa: E402
from tests.streaming.faults import Program, netwarden_program, redis_program, until, workspace  # noqa: E402

Alerts = dict[str, tuple[float, str, str | None]]
SUBJECT = "live"
_INTERIM_S = 1.0
_SO_TIMESTAMPNS = 35
_TUPLE = ("src_ip", "src_port", "dst_ip", "dst_port", "protocol")
_DEMO = ROOT / "lab" / "demo.pcap.gz"


def main() -> None:
    """Lay a cable and do the rest in the namespace at its end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recording", type=Path, default=None, help="folder of a recording; default: the demo capture")
    parser.add_argument("--speed", type=float, default=1, help="times as fast as it was recorded")
    parser.add_argument("--bundle", type=Path, default=None, help="a detector's folder; default: one is trained")
    parser.add_argument("--inside", nargs=3, metavar=("FOLDER", "INTERFACE", "REPLAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        folder, interface, replay = options.inside
        inside(Path(folder), interface, replay.split(), options.recording)
        return
    compile_kernels()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if options.bundle:
            shutil.copytree(options.bundle, folder / "b")
        else:
            train_on_days(folder, load_params(ROOT / "params.json"))
        played = str(unpack(options.recording / CAPTURE if options.recording else _DEMO, folder))
        with laid_cable() as cable:
            speed = f"--multiplier={options.speed}"
            replay = cable.at_sender("tcpreplay", "--quiet", speed, "-i", cable.sender_interface, played)
            words = [sys.executable, *sys.argv, "--inside", made, cable.receiver_interface, " ".join(replay)]
            code = subprocess.run(cable.at_receiver(*words), check=False).returncode
        wrong = replayed_day(folder / "rows", load_bundle(folder / "b"))
    raise SystemExit(code or bool(wrong))


def replayed_day(folder: Path, bundle: DetectorBundle) -> int:
    """The rows of the lab's fifth day by `netwarden sensor --replay`: how many alerts differ from the offline run."""
    folder.mkdir()
    environment, programs = prepared(folder, bundle, ["--replay", "lab", "--rate", "0"])
    settings = load_settings({**environment, "NETWARDEN_WORKSPACE": str(ROOT)})
    etl = [sys.executable, str(ROOT / "ETL.py"), "--dataset", "lab"]
    kept = {**os.environ, "NETWARDEN_HOME": str(settings.home)}
    subprocess.run(etl, check=True, cwd=ROOT, env=kept, capture_output=True)
    sensor = programs["sensor"]
    try:
        for program in programs.values():
            program.start()
        until(lambda: sensor.exit_code is not None, "end of the replay", 600)
        with closing(open_queue(settings)) as queue:
            until(lambda: queue.depth() == 0, "end of the queue", 600)
    finally:
        for program in programs.values():
            program.kill()
    rows = named_rows(rows_to_replay(settings, "lab", shuffled=False), "edge")
    expected = expected_alerts(rows, bundle)
    with closing(open_alert_store(settings)) as store:
        wrong = differences(expected, stored_alerts(store))
    told = {"expected": len(expected), "flows": len(rows)}
    record(SUBJECT, "rows of day 5 replayed: alerts that differ from the offline run", wrong, "alerts", **told)
    return wrong


def differences(expected: Alerts, stored: Alerts) -> int:
    """How many alerts are missing, too many or of another verdict or family."""
    both = expected.keys() & stored.keys()
    return len(expected.keys() ^ stored.keys()) + sum(expected[key][1:] != stored[key][1:] for key in both)


def unpack(capture: Path, folder: Path) -> Path:
    """The capture as a plain file, which is what tcpreplay reads."""
    target = folder / "played.pcap"
    compression = {".gz": "gzip", ".zst": "zstd"}[capture.suffix]
    with pa.input_stream(str(capture), compression=compression) as source, target.open("wb") as plain:
        shutil.copyfileobj(source, plain)
    return target


def inside(folder: Path, interface: str, replay: list[str], recording: Path | None) -> None:
    """Play, wait for all alerts, compare and record."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    bundle = load_bundle(folder / "b")
    environment, programs = prepared(folder, bundle, ["--interface", interface, "--interim", str(_INTERIM_S)])
    settings = load_settings({**environment, "NETWARDEN_WORKSPACE": str(ROOT)})
    arrived = folder / "arrived.pcap"
    with one_timestamp_for_all():
        try:
            for program in programs.values():
                program.start()
            tap = ["tcpdump", "--nano", "-i", interface, "-s", "256", "-B", "131072", "-w", str(arrived)]
            dump = subprocess.Popen(tap, stderr=subprocess.PIPE, text=True)
            until(lambda: all(ready(programs[name]) for name in ("sensor", "worker")), "start of sensor and worker", 60)
            subprocess.run(replay, check=True, capture_output=True)
            time.sleep(2)
            sent = ended(programs["sensor"])
            dump.send_signal(signal.SIGINT)
            told = dump.communicate(timeout=30)[1]
            with closing(open_queue(settings)) as queue:
                until(lambda: queue.depth() == 0, "end of the queue", 60)
            with closing(open_feed(settings)) as feed:
                scored = [read_scored(body) for _, body in feed.after("", 1_000_000, 0)]
        finally:
            for program in programs.values():
                program.kill()
    print(sent, "|", ", ".join(told.splitlines()[-3:]))
    faults = compare(folder, settings, bundle, scored, recording)
    if faults or " 0 packets dropped by kernel" not in " " + " ".join(told.splitlines()):
        raise SystemExit(f"{faults} alerts differ from the offline run; tcpdump: {told}")


def prepared(folder: Path, bundle: DetectorBundle, source: list[str]) -> tuple[dict[str, str], dict[str, Program]]:
    """The environment of a home with the bundle in charge, and Redis, a worker and a sensor of that source for it."""
    port = free_port()
    environment = {"NETWARDEN_HOME": str(folder / "home"), "REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    workspace(folder / "work", "feed_batches: 1000000")
    register(load_settings({**environment, "NETWARDEN_WORKSPACE": str(ROOT)}), bundle)
    return environment, {
        "redis": redis_program(folder, port),
        "worker": netwarden_program(folder, "worker", ["worker", "--port", "0"], environment),
        "sensor": netwarden_program(folder, "sensor", ["sensor", *source, "--port", "0"], environment),
    }


def ready(program: Program) -> bool:
    return "/health" in program.log.read_text()


def ended(sensor: Program) -> str:
    """What the sensor said last, once it was told to stop."""
    assert sensor.process is not None
    sensor.process.send_signal(signal.SIGTERM)
    assert sensor.process.wait(120) == 0, sensor.log.read_text()
    return sensor.log.read_text().strip().splitlines()[-1]


@contextmanager
def one_timestamp_for_all() -> Iterator[None]:
    """The kernel stamps each packet once, on arrival, while a socket wants that; else each tap reads its own clock."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        yield


def compare(
    folder: Path, settings: Settings, bundle: DetectorBundle, scored: list[ScoredBatch], recording: Path | None
) -> int:
    """Record the figures; how many alerts are missing, too many or different."""
    scorer, offline = Scorer(bundle), metered(folder / "arrived.pcap")
    result = scorer.score(offline)
    alerting = pc.greater_equal(result["score"], result["threshold"])
    expected = expected_alerts(offline, bundle)
    with closing(open_alert_store(settings)) as store:
        stored = stored_alerts(store, withdrawn=False)
        withdrawn = len(stored_alerts(store)) - len(stored)
    wrong = differences(expected, stored)
    scores = sum(expected[key] != stored[key] for key in expected.keys() & stored)
    facts = {"played": recording.name if recording else "demo", "flows": len(offline), "withdrawn": withdrawn}
    told = {"expected": len(expected), "other_scores": scores, **facts}
    record(SUBJECT, "alerts that differ from the offline run", wrong, "alerts", **told)
    share = agreement(offline, alerting, folder / "played.pcap", scorer)
    record(SUBJECT, "flows with the verdict of the capture that was played", share, "share", **facts)
    for what, delays in delays_s(scored, offline, attack_tuples(recording)).items():
        for part in (0.5, 0.99, 1.0):
            name = f"alerts of attacks: {what} to stored, {part:.0%}"
            record(SUBJECT, name, float(np.quantile(delays, part)), "s", alerts=len(delays), **facts)
    return wrong


def delays_s(scored: list[ScoredBatch], offline: FlowTable, attacks: set[Any]) -> dict[str, list[float]]:
    """Seconds until alerts of attacks were stored, from a closed flow's last packet and from a report's sending."""
    rows = offline.arrow.select(["flow_id", "started_at", "flow_duration_us"]).to_pylist()
    ends = {row["flow_id"]: row["started_at"] + timedelta(microseconds=row["flow_duration_us"]) for row in rows}
    closed: list[float] = []
    reported: list[float] = []
    for batch in scored:
        for row in batch.flows.to_pylist():
            if row["score"] < row["threshold"] or tuple(row[name] for name in _TUPLE) not in attacks:
                continue
            if row["ended_by"] == "closed":
                closed.append((batch.scored_at - ends[row["flow_id"]]).total_seconds())
            elif row["ended_by"] == "interim":
                reported.append(batch.delay_s)
    found = {"last packet of a closed flow": closed, "report of an open flow": reported}
    return {what: delays for what, delays in found.items() if delays}


def metered(capture: Path) -> FlowTable:
    tables = list(meter_captures([str(capture)], MeterSettings(), sensor="edge"))
    return FlowTable(pa.concat_tables(table.arrow for table in tables), tables[0].schema_id, tables[0].meter)


def agreement(offline: FlowTable, alerting: Any, played: Path, scorer: Scorer) -> float:
    """Share of the played capture's flows that alert there as they did live: those of one connection in their order."""
    before = metered(played)
    result = scorer.score(before)
    then = verdicts(before, pc.greater_equal(result["score"], result["threshold"]))
    now = verdicts(offline, alerting)
    return sum((then & now).values()) / max(len(before), len(offline))


def verdicts(flows: FlowTable, alerting: Any) -> Counter[Any]:
    columns = [flows.arrow[name].to_pylist() for name in _TUPLE]
    return Counter(zip(*columns, alerting.to_pylist(), strict=True))


def attack_tuples(recording: Path | None) -> set[Any]:
    """Endpoints of the flows that are attacks in truth."""
    if recording is None:
        table = pacsv.read_csv(_DEMO.with_name("demo.truth.csv.gz"))
    else:
        table = read_recording(recording).flows
    table = table.filter(pc.not_equal(table["label"], "benign"))
    return set(zip(*(table[name].to_pylist() for name in _TUPLE), strict=True))


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("bench_live: network namespaces need root")
    main()
