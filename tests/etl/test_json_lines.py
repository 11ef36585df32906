"""JSON logs of sensors: Suricata's EVE, Zeek's JSON, and flows as anyone writes them."""

import gzip
import json
import re
from typing import Any

import pyarrow as pa
import pytest

from netwarden.errors import InputError, SchemaError
from netwarden.flows.conform import guess_schema
from netwarden.flows.labels import load_families
from netwarden.flows.schema import load_schema
from netwarden.scoring.intake import read_flows
from netwarden.settings import load_settings
from netwarden.sources.draft import draft_schema
from netwarden.sources.files import column_names, read_batches
from tests.fixtures.data import ROOT

SCHEMAS = ROOT / "schema"
SURICATA, ZEEK = load_schema("suricata_flow", SCHEMAS), load_schema("zeek_conn", SCHEMAS)
FLOW: dict[str, Any] = {
    "event_type": "flow",
    "src_ip": "10.0.0.1",
    "src_port": 5,
    "dest_ip": "2001:db8::1",
    "dest_port": 53,
    "proto": "UDP",
    "flow": {
        "pkts_toserver": 2,
        "pkts_toclient": 1,
        "bytes_toserver": 120,
        "bytes_toclient": 90,
        "start": "2021-06-06T16:38:55.855844+0200",
        "age": 3,
        "state": "established",
        "reason": "timeout",
        "alerted": True,
    },
}


def _written(folder, *lines, name="eve.json"):
    path = folder / name
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


def _all(path, schema, **options):
    batches = list(read_batches(path, schema, **options))
    return pa.concat_tables([batch.table.arrow for batch in batches]).to_pylist(), batches


def test_a_real_eve_log_gives_its_flow_events_and_counts_the_others(sensor_logs):
    rows, batches = _all(sensor_logs / "suricata_eve.json.gz", SURICATA, batch_rows=1000)
    assert len(rows) == 3512 and not any(batch.rejected for batch in batches)
    skipped = {
        kind: sum(batch.changed.get(f"skipped event_type {kind}", 0) for batch in batches)
        for kind in ("alert", "dns", "http", "fileinfo", "anomaly", "tls")
    }
    assert skipped == {"alert": 745, "dns": 680, "http": 56, "fileinfo": 3, "anomaly": 3, "tls": 1}
    assert {row["proto"] for row in rows} == {"TCP", "UDP"}
    assert sum(row["tcp_flags_toserver"] is not None for row in rows) == 2336
    assert max(len(batch.table) for batch in batches) <= 1000


def test_an_eve_flow_is_read_with_its_nested_fields_times_and_switches(tmp_path):
    [row], [batch] = _all(_written(tmp_path, {"event_type": "dns"}, "", FLOW), SURICATA)
    assert row["started_at"].isoformat() == "2021-06-06T14:38:55.855844+00:00"
    assert (row["dst_ip"], row["dst_port"], row["alerted"]) == ("2001:db8::1", 53, 1)
    assert [row[name] for name in ("pkts_toserver", "bytes_toclient", "age_s", "state")] == [2, 90, 3, "established"]
    assert row["app_proto"] is row["tcp_state"] is None
    assert batch.lines.tolist() == [3]
    assert "alerted" not in {column.name for column in SURICATA.features}


@pytest.mark.parametrize("name", ["eve.json", "eve.json.gz"])
def test_bad_lines_are_set_apart_with_number_and_reason(tmp_path, name):
    negative = {**FLOW, "flow": {**FLOW["flow"], "pkts_toserver": -1}}
    path = _written(tmp_path, FLOW, '{"event_type": "flow", ', "[1]", negative, "{" * 3000, FLOW, name=name)
    rows, batches = _all(path, SURICATA)
    assert len(rows) == 2
    reasons = sorted((item.line, item.reason) for batch in batches for item in batch.rejected)
    assert [line for line, _ in reasons] == [2, 3, 4, 5]
    assert [reason.split(":")[0] for _, reason in reasons] == [
        "not JSON",
        "not a JSON object",
        "pkts_toserver",
        "not JSON",
    ]


def test_rows_of_a_scored_eve_log_count_its_flows(tmp_path):
    path = _written(tmp_path, {"event_type": "dns"}, FLOW, "{", FLOW)
    batches = list(read_flows(path, SURICATA))
    assert [row for batch in batches for row in batch.rows] == [0, 2]
    assert [(item.row, item.line) for batch in batches for item in batch.rejected] == [(1, 3)]
    assert batches[-1].notes == ("1 records skipped: event_type dns",)


def test_an_eve_log_cut_by_compression_says_up_to_where_it_was_read(tmp_path):
    path = _written(tmp_path, *[{**FLOW, "src_port": number % 65000} for number in range(20_000)], name="eve.json.gz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"eve.json.gz is damaged"):
        _all(path, SURICATA)


def test_a_log_of_other_records_is_refused_with_what_it_lacks(tmp_path):
    path = _written(tmp_path, {"ts": 1.5, "uid": "C1", "query": "example.org"})
    with pytest.raises(
        SchemaError, match=r"records of eve.json have 0 of \d+ features of schema suricata_flow, and not "
    ):
        _all(path, SURICATA)


def test_zeeks_json_equals_its_tab_separated_text(sensor_logs, tmp_path):
    """Every value but those Zeek leaves out where they are unset."""
    families = load_families(SCHEMAS / "families.yaml")
    source = sensor_logs / "zeek_iot23_conn.log.labeled.gz"
    with gzip.open(source, "rt") as log:
        head = [next(log) for _ in range(2000)]
    fields = re.split(r"\t|   ", head[6].rstrip("\n"))[1:]
    records = [dict(zip(fields, re.split(r"\t|   ", line.rstrip("\n")), strict=True)) for line in head[8:]]
    kept = [
        {name: value for name, value in record.items() if value != "-" or name == "detailed-label"}
        for record in records
    ]
    numbers = {"ts", "id.orig_p", "id.resp_p", "duration", "orig_bytes", "resp_bytes", "missed_bytes", "orig_pkts"}
    lines = [
        "{" + ", ".join(f'"{n}": {v if n in numbers else json.dumps(v)}' for n, v in record.items()) + "}"
        for record in kept
    ]
    text, json_lines = tmp_path / "conn.log", _written(tmp_path, *lines, name="conn.json.gz")
    text.write_text("".join(head))
    from_text, _ = _all(text, ZEEK, families=families, labelled=True)
    from_json, _ = _all(json_lines, ZEEK, families=families, labelled=True)
    assert len(from_json) == 1992
    assert from_json == from_text


def test_zeeks_streamed_logs_of_other_kinds_are_skipped(tmp_path):
    conn: dict[str, Any] = {"_path": "conn", "ts": "2021-06-06T14:38:55.855844Z", "proto": "tcp"}
    conn["id.orig_h"] = "10.0.0.1"
    conn |= dict.fromkeys(("conn_state", "history", "service"), "S0")
    conn |= dict.fromkeys(("duration", "orig_pkts", "orig_ip_bytes", "resp_pkts", "resp_ip_bytes", "missed_bytes"), 1)
    rows, [batch] = _all(_written(tmp_path, conn, {"_path": "dns", "ts": 1}), ZEEK)
    assert [row["started_at"].isoformat() for row in rows] == ["2021-06-06T14:38:55.855844+00:00"]
    assert batch.changed["skipped _path dns"] == 1


def test_the_schema_of_an_eve_log_is_guessed(sensor_logs):
    assert guess_schema(column_names(sensor_logs / "suricata_eve.json.gz"), SCHEMAS).id == "suricata_flow"


def test_a_schema_is_drafted_from_json_lines(tmp_path):
    lines = [
        {"bytes": n * 10, "proto": ("tcp", "udp")[n % 2], "verdict": ("Benign", "DDoS")[n % 3 == 0]} for n in range(200)
    ]
    settings = load_settings({"NETWARDEN_WORKSPACE": str(ROOT), "NETWARDEN_HOME": str(tmp_path)})
    path = _written(tmp_path, *lines, name="own.jsonl")
    draft = draft_schema(settings, path, label="verdict", output=tmp_path / "own.yaml")
    assert {column.name: column.role for column in draft.schema.columns}["verdict"] == "label"
    rows, _ = _all(path, draft.schema, families=load_families(SCHEMAS / "families.yaml"), labelled=True)
    assert len(rows) == 200
