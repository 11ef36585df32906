"""What the meter hands on is a table of its mode's schema, exactly."""

import io

import pyarrow as pa
import pytest

from netwarden.capture.context import CONTEXT_NAMES
from netwarden.capture.definitions import FEATURES
from netwarden.capture.meter import MeterSettings, cicflowmeter_settings
from netwarden.capture.metering import meter_captures
from netwarden.capture.output import as_cicflowmeter
from netwarden.errors import SchemaError
from netwarden.flows.conform import conform, guess_schema
from netwarden.flows.schema import load_schema, schema_ids
from tests.capture.frames import ACK, FIN, SYN, Packet, capture
from tests.fixtures.data import ROOT, given

SCHEMAS = ROOT / "schema"
MODES = {"corrected": MeterSettings(), "cicflowmeter": cicflowmeter_settings()}
CALL = [
    Packet(1_000_000, flags=SYN),
    Packet(1_000_900, flags=SYN | ACK).reversed(),
    Packet(1_002_000, payload=100),
    Packet(3_502_000, payload=700).reversed(),
    Packet(3_503_000, payload=51),
    Packet(3_504_000, flags=FIN | ACK).reversed(),
    Packet(3_505_000, flags=FIN | ACK),
    Packet(4_000_000, source_port=5, target_port=53, protocol=17, payload=40),  # one packet: no rate
    Packet(4_000_000, source_port=6, flags=SYN),  # nobody answers: no backward window
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["made up", "WebattackXSS", "skype"])
def test_conforming_a_table_of_the_meter_changes_nothing(mode, name):
    source = io.BytesIO(capture(CALL)) if name == "made up" else given("NETWARDEN_PCAPS", f"{name}.pcap.gz")
    for table in meter_captures([source], MODES[mode]):
        schema = load_schema(table.schema_id, SCHEMAS)
        conformed = conform(table.arrow, schema)
        assert conformed.rejected == []
        assert set(conformed.changed) <= {"missing"}
        assert conformed.table.arrow.select(table.names).equals(table.arrow)
        assert table.names == [column.name for column in schema.stored if column.name not in ("activity", "tool")]


def test_rates_over_no_time_and_windows_never_seen_are_null():
    flow = _metered("corrected").filter(pa.compute.field("src_port") == 6).to_pylist()[0]
    assert flow["flow_bytes_per_s"] is flow["flow_packets_per_s"] is flow["bwd_init_window_bytes"] is None
    assert flow["fwd_init_window_bytes"] == 512
    assert flow["pair_start_irregularity"] is None


def test_our_own_schema_is_the_features_and_then_the_context():
    features = load_schema("netwarden_flow", SCHEMAS).features
    assert [column.name for column in features] == [*(feature.name for feature in FEATURES), *CONTEXT_NAMES]
    types = {field.name: str(field.type) for field in _metered("corrected").schema}
    assert {column.type: types[column.name] for column in sorted(features, key=lambda column: column.type)} == {
        "int": "int64",
        "float": "double",
    }


def test_both_schemas_name_units_and_types_alike():
    own, original = load_schema("netwarden_flow", SCHEMAS), load_schema("cic_flow", SCHEMAS)
    assert [(c.name, c.type, c.unit) for c in own.features[:76]] == [
        (c.name, c.type, c.unit) for c in original.features
    ]


@pytest.mark.parametrize("mode", MODES)
def test_the_schema_of_a_metered_table_is_guessed_and_states_the_mode(mode):
    schema = guess_schema(_metered(mode).column_names, SCHEMAS)
    assert schema.meter_mode == mode
    assert sum(load_schema(name, SCHEMAS).meter_mode == mode for name in schema_ids(SCHEMAS)) == 1


def test_flows_of_one_mode_are_never_taken_for_the_other_not_even_from_a_file():
    own, original = load_schema("netwarden_flow", SCHEMAS), load_schema("cic_flow", SCHEMAS)
    with pytest.raises(SchemaError, match="'pair_start_gap_us' shows that these flows are not of schema cic_flow, "):
        conform(_metered("corrected"), original)
    with pytest.raises(SchemaError, match="36 of 112 columns of schema netwarden_flow missing"):
        conform(_metered("cicflowmeter"), own)


def test_the_originals_header_has_its_minus_one_for_a_window_never_seen():
    table = next(meter_captures([io.BytesIO(capture(CALL))], MeterSettings()))
    windows = as_cicflowmeter(table).column("Bwd Init Win Bytes").to_pylist()
    assert sorted(windows) == [-1, -1, 512]


def _metered(mode):
    return pa.concat_tables(
        [table.arrow for table in meter_captures([io.BytesIO(capture(CALL))], MODES[mode])]
    ).combine_chunks()
