"""The same flow in any of the five spellings is the same row."""

import gzip
import random

import pyarrow as pa
import pytest

from netwarden.errors import SchemaError
from netwarden.flows.conform import conform, guess_schema
from netwarden.flows.labels import load_families
from netwarden.flows.schema import load_schema
from tests.fixtures.data import ROOT, given
from tests.schemas.spellings import FEATURES, SPELLINGS, header, write_row

SCHEMAS = ROOT / "schema"
CIC = load_schema("cic_flow", SCHEMAS)
FAMILIES = load_families(SCHEMAS / "families.yaml")
WHOLE = {column.name: column.type == "int" for column in CIC.features}


def _made_up_flow(seed):
    """Text per feature: whole numbers, decimals of up to 15 digits, and the values that mean not observed."""
    draw = random.Random(seed)
    whole = dict(zip(FEATURES, WHOLE.values(), strict=True))
    values = {
        name: str(draw.randrange(10**8)) if whole[name] else f"{draw.randrange(10**15) / 10**7:.7f}"
        for name in FEATURES
    }
    return values | {"FWD Init Win Bytes": "-1", "Flow Bytes/s": "Infinity", "Flow Packets/s": "NaN"}


def _read(spelling, rows, labelled=True):
    names = header(spelling)
    raw = pa.table([pa.array(column) for column in zip(*rows, strict=True)], names=names)
    return conform(raw, CIC, FAMILIES, labelled=labelled and "Label" in [name.strip() for name in names])


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_one_flow_is_the_same_row_in_every_spelling(spelling):
    flows = [_made_up_flow(seed) for seed in range(50)]
    expected = _read("java_tool", [write_row("java_tool", flow, "BENIGN") for flow in flows])
    found = _read(spelling, [write_row(spelling, flow, "BENIGN") for flow in flows])
    names = [column.name for column in CIC.features]
    assert found.table.arrow.select(names).equals(expected.table.arrow.select(names))
    assert found.changed["infinite"] == found.changed["sentinel"] == 50
    assert not found.rejected


@pytest.mark.parametrize("spelling", [name for name in SPELLINGS if name != "machine_learning_cve"])
def test_the_start_of_a_flow_is_the_same_instant_however_the_clock_was_written(spelling):
    found = _read(spelling, [write_row(spelling, _made_up_flow(1), "BENIGN")]).table.arrow
    assert found["started_at"][0].as_py().isoformat() == "2017-07-07T18:56:00+00:00"
    assert found["dst_port"][0].as_py() == 80 and found["protocol"][0].as_py() == 6


def test_a_spelling_without_identifiers_has_them_as_missing():
    found = _read("machine_learning_cve", [write_row("machine_learning_cve", _made_up_flow(1), "BENIGN")]).table.arrow
    assert found["src_ip"].null_count == found["started_at"].null_count == 1
    assert found.schema.field("started_at").type == pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_recognised_by_its_header(spelling):
    assert guess_schema(header(spelling), SCHEMAS).id == "cic_flow"


def test_seconds_become_microseconds_to_the_last_digit():
    flow = _made_up_flow(2) | {"Flow Duration": "100000", "Flow IAT Mean": "373.4999999"}
    row = _read("python_tool", [write_row("python_tool", flow, "")]).table.arrow
    assert row["flow_duration_us"][0].as_py() == 100000
    assert row["flow_iat_mean_us"][0].as_py() == 373.4999999


def test_two_spellings_of_one_column_in_one_file_are_refused():
    raw = pa.table({"Dst Port": ["80"], "Destination Port": ["81"]})
    with pytest.raises(SchemaError, match="'Dst Port' and 'Destination Port' both mean 'dst_port'"):
        conform(raw, CIC)


def test_columns_that_another_schema_cannot_tell_apart_do_not_stop_the_guess():
    assert guess_schema([*header("java_tool"), "class", "attack"], SCHEMAS).id == "cic_flow"


def test_a_header_that_nothing_knows_names_the_nearest_schema_and_what_it_misses():
    names = [name for name in header("cse_cic_ids2018") if name != "Tot Fwd Pkts"]
    with pytest.raises(SchemaError, match=r"nearest, cic_flow, misses 1 of 76 features: fwd_packets; .*schema draft"):
        guess_schema(names, SCHEMAS)


@pytest.mark.parametrize(
    ("variable", "path", "spelling"),
    [
        ("NETWARDEN_DATA", "cic-ids2017/baseline_xss.csv.gz", "labelled_flows"),
        ("NETWARDEN_DATA", "cic-ids2017/monday_first_999.csv.gz", "machine_learning_cve"),
        ("NETWARDEN_PCAPS", "reference/ftp.csv.gz", "java_tool"),
    ],
)
def test_the_spellings_here_are_those_of_the_published_files(variable, path, spelling):
    with gzip.open(given(variable, path), "rt", encoding="cp1252") as file:
        names = [name.strip() for name in file.readline().split(",")]
    assert names == [name.strip() for name in header(spelling)]
