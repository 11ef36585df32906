"""Captures become flows of the schema, and in the mode, that a bundle was trained in."""

import gzip
import lzma
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from netwarden.capture.meter import MeterSettings, cicflowmeter_settings
from netwarden.capture.metering import meter_captures
from netwarden.errors import InputError, SchemaError
from netwarden.features.preprocessor import fit_preprocessor
from netwarden.flows.schema import load_schema
from netwarden.scoring.batch import score_file
from netwarden.scoring.intake import read_flows
from netwarden.scoring.model import load
from tests.capture.frames import ACK, FIN, SYN, Packet, capture
from tests.fixtures.bundles import made_up_flows, train_bundle
from tests.fixtures.data import ROOT, given

CIC, OWN, KDD = (load_schema(name, ROOT / "schema") for name in ("cic_flow", "netwarden_flow", "nsl_kdd"))
# The initiator closes first: the original's builds end this flow at different packets.
CALL = [
    Packet(1_600_000_000_000_000 + 1000 * at, flags=flags)
    for at, flags in enumerate((SYN, SYN | ACK, ACK, FIN | ACK, FIN | ACK, ACK))
]
CALL = [packet.reversed() if at in (1, 4) else packet for at, packet in enumerate(CALL)]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """A small bundle of each schema that a meter makes flows of."""
    folder = tmp_path_factory.mktemp("meter-bundles")
    return {
        schema.id: train_bundle(folder / schema.id, schema, made_up_flows(schema, 1500, 1)) for schema in (CIC, OWN)
    }


@pytest.fixture
def many(tmp_path):
    """A capture of 40 calls."""
    packets = [replace(packet, time_us=packet.time_us + n) for n in range(40) for packet in _from_port(2000 + n)]
    path = tmp_path / "calls.pcap"
    path.write_bytes(capture(packets))
    return path


def _from_port(port):
    return [
        replace(packet, source_port=port) if packet.source_port != 80 else replace(packet, target_port=port)
        for packet in CALL
    ]


def _zst(data):
    sink = pa.BufferOutputStream()
    with pa.output_stream(sink, compression="zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("packed", [bytes, gzip.compress, lzma.compress, _zst])
def test_a_capture_is_known_by_content_whatever_it_is_called(many, tmp_path, packed):
    data = many.read_bytes()
    path = tmp_path / "upload.bin"
    path.write_bytes(packed(data))
    batches = list(read_flows(path, OWN))
    assert sum(len(batch.table) for batch in batches) == 40
    assert batches[-1].position == 1.0
    assert any("held 240 packets of 40 flows" in note for note in batches[-1].notes)


def test_rows_count_flows_and_flows_equal_those_of_the_meter(many):
    batches = [batch for batch in read_flows(many, OWN) if len(batch.table)]
    metered = pa.concat_tables([table.arrow for table in meter_captures([many], MeterSettings())])
    assert pa.concat_tables([batch.table.arrow for batch in batches]).equals(metered)
    assert [row for batch in batches for row in batch.rows] == list(range(40))


def test_bundles_of_published_rows_get_flows_that_end_as_those_do(many, bundles):
    settings = cicflowmeter_settings(first_fin_ends=True)
    expected = pa.concat_tables([table.arrow for table in meter_captures([many], settings)])
    assert pa.concat_tables([batch.table.arrow for batch in read_flows(many, CIC)]).equals(expected)
    ends = {published: _backward_packets(many, published) for published in (True, False)}
    assert ends == {True: {1}, False: {2}}  # there, the answer to the FIN begins a flow of its own


def _backward_packets(path, published):
    tables = [batch.table.arrow for batch in read_flows(path, CIC, published=published)]
    return set(pa.concat_tables(tables).column("bwd_packets").to_pylist())


def test_a_bundle_of_all_features_is_not_taken_for_one_of_published_rows(bundles):
    models = {schema.id: load(bundles[schema.id].folder, schema=schema) for schema in (CIC, OWN)}
    assert {name: model.published for name, model in models.items()} == {"cic_flow": True, "netwarden_flow": False}


def test_a_detector_of_published_rows_holds_the_stable_columns_only(bundles):
    used = [feature.name for feature in bundles["cic_flow"].manifest.features]
    assert used == [column.name for column in CIC.features if column.stable]
    assert len(fit_preprocessor(made_up_flows(CIC, 50, 1), CIC, "all").names) == 76


@pytest.mark.parametrize("schema", [CIC, OWN], ids=lambda schema: schema.id)
def test_batch_scores_a_capture_with_its_endpoints(many, tmp_path, bundles, schema, empty_settings):
    target = tmp_path / "scores.parquet"
    report = score_file(empty_settings, many, target, schema_id=schema.id, bundle=str(bundles[schema.id].folder))
    rows = pq.read_table(target).to_pylist()
    assert len(rows) == report.rows >= 40
    assert {"10.0.0.1", "10.0.0.2"} >= {row["src_ip"] for row in rows}
    assert all(row["started_at"] and row["community_id"].startswith("1:") and row["verdict"] for row in rows)
    assert "held 240 packets" in str(report)


def test_a_bundle_of_another_schema_refuses_a_capture_in_one_sentence(many):
    with pytest.raises(SchemaError, match=r"calls\.pcap is a packet capture, and flows of schema nsl_kdd are not "):
        next(read_flows(many, KDD))


def test_a_file_called_capture_that_is_none_says_so_without_folders(tmp_path):
    path = tmp_path / "table.pcap"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"^table\.pcap is no capture file: it begins with 612c620a"):
        list(read_flows(path, OWN))


def test_a_capture_without_flows_says_what_it_holds(tmp_path):
    path = tmp_path / "empty.pcap"
    path.write_bytes(capture([]))
    with pytest.raises(InputError, match="holds no flows"):
        list(read_flows(path, OWN))


def test_a_cut_capture_gives_its_whole_packets_and_says_what_is_missing(many, tmp_path):
    path = tmp_path / "cut.pcap"
    path.write_bytes(many.read_bytes()[:-5])
    batches = list(read_flows(path, OWN))
    assert sum(len(batch.table) for batch in batches) == 40
    assert any(note.startswith("cut.pcap is cut:") for note in batches[-1].notes)


def test_a_real_capture_is_read_with_progress(tmp_path):
    positions = [batch.position for batch in read_flows(given("NETWARDEN_PCAPS", "WebattackXSS.pcap.gz"), OWN)]
    assert positions == sorted(positions) and positions[-1] == 1.0
