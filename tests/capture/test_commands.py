"""`netwarden meter` as people and scripts use it."""

import gzip
import json
import lzma
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from netwarden.capture.compiled import compile_kernels, is_cold
from netwarden.capture.decode import decode
from netwarden.capture.extract import written_whole
from netwarden.errors import InputError
from netwarden.flows.conform import guess_schema
from netwarden.sources.files import read_batches
from tests.capture.frames import SYN, Packet, capture
from tests.fixtures.data import ROOT, given

NETWARDEN = Path(sys.executable).parent / "netwarden"


def run(*words, stdin=None):
    return subprocess.run([NETWARDEN, "meter", *map(str, words)], input=stdin, capture_output=True, check=False)


@pytest.fixture
def two_flows(tmp_path):
    path = tmp_path / "two.pcap"
    path.write_bytes(capture([Packet(step, source_port=1024 + step % 2, payload=step) for step in range(10)]))
    return path


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_flows_are_written_in_every_format(two_flows, tmp_path, ending):
    target = tmp_path / f"flows.{ending}"
    done = run(two_flows, "-o", target)
    assert done.returncode == 0, done.stderr
    assert b"10 packets, 2 flows" in done.stderr and b"skipped: none" in done.stderr
    readers: dict[str, Any] = {
        "parquet": pd.read_parquet,
        "csv": pd.read_csv,
        "jsonl": lambda path: pd.read_json(path, lines=True),
    }
    frame = readers[ending](target)
    assert sorted(frame["src_port"]) == [1024, 1025]
    assert frame["fwd_packets"].tolist() == [5, 5]


def test_payload_is_binary_in_parquet_and_hexadecimal_in_text(two_flows, tmp_path):
    for ending in ("parquet", "csv", "jsonl"):
        done = run(two_flows, "-o", tmp_path / f"flows.{ending}", "--payload-first", 6)
        assert done.returncode == 0, done.stderr
    parquet = pq.read_table(tmp_path / "flows.parquet")
    assert parquet.column("fwd_payload").to_pylist() == [b"xxxxxx", b"xxxxxx"]
    for name, nothing in (("fwd_payload", "78" * 6), ("bwd_payload", "")):
        csv = pd.read_csv(tmp_path / "flows.csv", dtype=str, keep_default_na=False)[name].tolist()
        lines = [json.loads(line)[name] for line in (tmp_path / "flows.jsonl").read_text().splitlines()]
        assert csv == lines == [nothing, nothing]


def test_payload_columns_are_known_to_no_schema(two_flows, tmp_path):
    target = tmp_path / "flows.csv"
    run(two_flows, "-o", target, "--payload-first", 4)
    schema = guess_schema(pd.read_csv(target).columns.tolist(), ROOT / "schema")
    batches = list(read_batches(target, schema))
    assert schema.id == "netwarden_flow"
    assert sum(len(batch.table) for batch in batches) == 2
    assert not {"fwd_payload", "bwd_payload"} & set(batches[0].table.names)


@pytest.mark.parametrize(
    "packed", [bytes, gzip.compress, lzma.compress, lambda data: pa.compress(data, "zstd", asbytes=True)]
)
def test_a_pipe_is_metered_into_json_lines_packed_or_not(two_flows, packed):
    done = run("-", stdin=packed(two_flows.read_bytes()))
    assert [json.loads(line)["fwd_packets"] for line in done.stdout.splitlines()] == [5, 5]


def test_a_capture_without_flows_gives_a_table_without_rows(tmp_path):
    (tmp_path / "empty.pcap").write_bytes(capture([]))
    assert run(tmp_path / "empty.pcap", "-o", tmp_path / "flows.parquet").returncode == 0
    table = pq.read_table(tmp_path / "flows.parquet")
    assert (table.num_rows, "pair_start_gap_us" in table.column_names) == (0, True)


def test_names_of_cicflowmeter_make_a_drop_in_for_the_original(tmp_path):
    target = tmp_path / "flows.csv"
    source = given("NETWARDEN_PCAPS", "ftp.pcap.gz")
    done = run(source, "-o", target, "--names", "cicflowmeter")
    assert done.returncode == 0, done.stderr
    assert b"warning" not in done.stderr
    reference = given("NETWARDEN_PCAPS", "reference", "ftp.csv.gz")
    with gzip.open(reference, "rt") as theirs, target.open() as ours:
        assert ours.readline().strip() == theirs.readline().strip()
    key = ["Src IP", "Src Port", "Flow Duration"]
    tables: list[Any] = [pd.read_csv(path).sort_values(key).reset_index(drop=True) for path in (reference, target)]
    theirs, ours = tables
    for name in theirs.columns.drop(["Flow ID", "Timestamp", "Label"]):
        if theirs[name].dtype.kind in "if":
            assert np.allclose(theirs[name], ours[name], rtol=1e-9, atol=1e-6, equal_nan=True), name
        else:
            assert theirs[name].tolist() == ours[name].tolist(), name


def test_corrected_flows_under_the_originals_names_come_with_a_warning(two_flows, tmp_path):
    done = run(two_flows, "-o", tmp_path / "flows.csv", "--names", "cicflowmeter", "--mode", "corrected")
    assert done.returncode == 0
    assert b"warning: corrected flows under the original's names: no program" in done.stderr


def test_the_packets_of_a_flow_are_extracted_by_its_id(two_flows, tmp_path):
    row = json.loads(run(two_flows).stdout.splitlines()[0])
    one = tmp_path / "one.pcap"
    done = run("extract", two_flows, "--flow", row["flow_id"], "-o", one)
    assert done.stdout.decode().startswith("5 packets of flow"), done.stderr
    again = json.loads(run(one).stdout)
    around = ("source_", "target_", "pair_")  # context is of the capture, not of the flow
    assert {k: v for k, v in again.items() if not k.startswith(around)} == {
        k: v for k, v in row.items() if not k.startswith(around)
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "x.csv"], "give either captures or --interface"),
        (["{capture}", "--interface", "lo"], "give either captures or --interface"),
        (["{capture}", "-o", "flows.xls"], "flows are written as .parquet, .csv, .jsonl"),
        (["{capture}", "-o", "nowhere/flows.csv"], "the folder nowhere is not there"),
        (["{capture}", "-o", "/proc/flows.csv"], "/proc/flows.csv cannot be written: "),
        (["{capture}", "--mode", "fast"], "no meter mode 'fast'"),
        (["{capture}", "--names", "zeek"], "no column names 'zeek'"),
        (["{capture}", "--max-flows", "0"], "max_flows is 0"),
        (["{capture}", "--payload-first", "1025"], "--payload-first is 1025; it must lie between 0 and 1,024"),
        (["{capture}", "--payload-first", "8", "--names", "cicflowmeter"], "has no columns for payload bytes"),
        (["absent.pcap"], "absent.pcap cannot be read"),
        (["extract", "{capture}", "--flow", "ffff", "-o", "one.pcap"], "no flow here has id ffff"),
        (["extract", "{capture}", "--flow", "", "-o", "one.pcap"], "2 flows have ids that begin with ''; give more of"),
        (["extract", "-", "--flow", "ffff", "-o", "one.pcap"], "save standard input to a file first"),
    ],
)
def test_what_cannot_be_done_is_one_line(two_flows, words, message):
    done = run(*(word.format(capture=two_flows) for word in words))
    assert done.returncode == 1
    told = done.stderr.decode().strip().splitlines()
    assert message in told[-1], told
    assert "Traceback" not in done.stderr.decode()


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_a_disk_that_is_full_halfway_is_one_line_and_leaves_nothing(two_flows, tmp_path, ending):
    many = tmp_path / "many.pcap"
    many.write_bytes(capture([Packet(step, source_port=1 + step % 60_000, payload=step % 99) for step in range(9_000)]))
    target = tmp_path / f"flows.{ending}"
    limited = f"ulimit -f 100; exec {NETWARDEN} meter {many} -o {target}"  # kB; as ENOSPC, EFBIG comes of a write
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (told,) = done.stderr.strip().splitlines()
    assert told == f"InputError: the output cannot be written in {tmp_path}: File too large"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many.pcap", "two.pcap"]


def test_standard_output_that_takes_nothing_more_is_one_line(two_flows):
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [NETWARDEN, "meter", two_flows], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (
        1,
        "InputError: standard output cannot be written: No space left on device\n",
    )


def test_extracted_packets_that_do_not_fit_on_the_disk_leave_nothing(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with (
            pytest.raises(InputError, match=r"one\.pcap cannot be written: File too large"),
            written_whole(tmp_path / "one.pcap") as file,
        ):
            file.write(b"packets")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_compiling_ahead_leaves_nothing_to_compile():
    compile_kernels()
    assert not is_cold()


def test_only_a_change_of_what_is_compiled_asks_for_compiling_again(kernels, tmp_path):
    """On a copy of the sources with the index that Numba keeps of them."""
    shutil.copytree(ROOT / "src", tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "lab"))
    cached = tmp_path / "netwarden" / "capture" / "__pycache__"
    cached.mkdir()
    for index in Path(decode.stats.cache_path).glob("*.nbi"):
        shutil.copy2(index, cached)
    told = subprocess.run(
        [sys.executable, "-c", TOUCHING, str(cached.parent)],
        env={**{k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert told == ["False", "opening", "False", "metering", "False", "accumulate", "True"]


TOUCHING = """
import sys
from pathlib import Path
from netwarden.capture.compiled import is_cold
print(is_cold())
for name in ("opening", "metering", "accumulate"):
    Path(sys.argv[1], f"{name}.py").touch()
    print(name, is_cold())
"""


def test_a_slow_scan_a_brute_force_and_a_beacon_stand_out(tmp_path):
    quiet = [Packet(t * 7_000_000 + t * t * 90_000, "10.5.0.1", "10.5.0.2", 2000 + t, 443, 17) for t in range(12)]
    scan = [Packet(t * 20_000_000, "10.6.0.1", f"10.6.1.{t}", 3000, 22, flags=SYN) for t in range(60)]
    force = [Packet(t * 500_000, "10.7.0.1", "10.7.0.2", 4000 + t, 22, flags=SYN) for t in range(60)]
    beacon = [Packet(t * 60_000_000, "10.8.0.1", "10.8.0.2", 5000 + t, 443, 17) for t in range(20)]
    path = tmp_path / "all.pcap"
    path.write_bytes(capture(sorted(quiet + scan + force + beacon, key=lambda packet: packet.time_us)))
    assert run(path, "-o", tmp_path / "flows.parquet").returncode == 0
    frame: Any = pd.read_parquet(tmp_path / "flows.parquet")
    last: Any = frame.groupby("src_ip").max(numeric_only=True)
    assert last.loc["10.6.0.1", "source_peers_30m"] > 40
    assert last.loc["10.5.0.1", "source_peers_30m"] == 1
    assert last.loc["10.7.0.1", "pair_failed_30m"] == 60
    rhythm = frame[frame["src_ip"] == "10.8.0.1"]["pair_start_irregularity"].dropna()
    assert rhythm.max() < 0.01 < frame[frame["src_ip"] == "10.5.0.1"]["pair_start_irregularity"].dropna().max()
