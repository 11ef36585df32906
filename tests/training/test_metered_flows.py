"""From labelled captures to a bundle: the meter's flows train, and the bundle says which meter and mode made them."""

import io
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from netwarden.capture.meter import METER_VERSION, MeterSettings
from netwarden.capture.metering import meter_captures
from netwarden.detectors.bundle import load_bundle
from netwarden.errors import SchemaError
from netwarden.flows.schema import load_schema
from netwarden.flows.table import FlowTable, MeterStamp
from netwarden.params import Params
from netwarden.scoring.intake import read_flows
from netwarden.scoring.scorer import Scorer
from netwarden.settings import load_settings
from netwarden.sources.etl import run_etl
from netwarden.stages import ingest, train, transform
from tests.capture.frames import ACK, FIN, SYN, Packet, capture
from tests.fixtures.data import ROOT

PARAMS = Params.model_validate(
    {
        "ingest": {"dataset": "own"},
        "train": {"threads": 1, "resample": {"method": "none"}},
        "xgb_classifier": {"n_estimators": 5},
    }
)


def _traffic():
    """Talks of a few packets, among them a scan that nobody answers."""
    draw = np.random.default_rng(1)
    packets = []
    for number in range(1500):
        first = Packet(1_600_000_000_000_000 + number * 1_000_000, source_port=1024 + number, target_port=80)
        if number % 3 == 0:
            packets.append(replace(first, source="10.0.0.66", target_port=number, flags=SYN))
            continue
        talk = [replace(first, flags=SYN), replace(first, flags=SYN | ACK).reversed()]
        talk += [replace(first, payload=int(size)) for size in draw.integers(1, 900, 3)]
        talk += [replace(first, flags=FIN | ACK), replace(first, flags=FIN | ACK).reversed()]
        packets += [replace(packet, time_us=packet.time_us + 1000 * at) for at, packet in enumerate(talk)]
    return capture(packets)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(ROOT / "schema", folder / "schema")
    flows = pa.concat_tables([table.arrow for table in meter_captures([io.BytesIO(_traffic())], MeterSettings())])
    scans = pa.compute.equal(flows.column("src_ip"), "10.0.0.66")
    labels = pa.compute.if_else(scans, "portsweep", "benign")
    pq.write_table(flows.append_column("label", labels), folder / "own.parquet")
    settings = load_settings({"NETWARDEN_WORKSPACE": str(folder), "NETWARDEN_HOME": str(folder / "home")})
    run_etl(settings, [folder / "own.parquet"], dataset="own", schema="netwarden_flow", labels=None)
    for stage in (ingest, transform, train):
        stage.run(settings, PARAMS)
    return load_bundle(settings.pipeline_dir / "train" / "bundle")


def test_a_bundle_of_metered_flows_records_mode_and_version_and_reads_the_context(bundle):
    manifest = bundle.manifest
    assert (manifest.schema_id, manifest.meter_mode, manifest.meter_version) == (
        "netwarden_flow",
        "corrected",
        METER_VERSION,
    )
    assert len(manifest.features) == 112


def test_it_scores_a_capture_and_refuses_tables_of_the_other_mode(bundle, tmp_path):
    path = tmp_path / "again.pcap"
    path.write_bytes(_traffic())
    first, *others = (batch.table for batch in read_flows(path, load_schema("netwarden_flow", ROOT / "schema")))
    flows = replace(first, arrow=pa.concat_tables([table.arrow for table in (first, *others)]))
    scores = Scorer(bundle, threads=1).score(flows).column("score").to_numpy()
    scans = pa.compute.equal(flows.arrow.column("src_ip"), "10.0.0.66").to_numpy()
    assert scores[scans].mean() > scores[~scans].mean() + 0.5
    other = replace(first, meter=MeterStamp("cicflowmeter", METER_VERSION))
    with pytest.raises(SchemaError, match="metered in mode 'cicflowmeter'"):
        Scorer(bundle, threads=1).score(other)


def test_flows_whose_features_mean_something_else_are_refused_also_when_they_come_from_a_file(bundle):
    flows = next(iter(meter_captures([io.BytesIO(_traffic())], MeterSettings())))
    scorer = Scorer(bundle, threads=1)
    assert len(scorer.score(replace(flows, meter=None))) == len(flows)
    told = rf"flows of meter version 0 were given to bundle \w+, trained on version {METER_VERSION}: features"
    with pytest.raises(SchemaError, match=told):
        scorer.score(replace(flows, meter=MeterStamp("corrected", "0")))
    at = flows.names.index("meter_version")
    earlier = flows.arrow.set_column(at, "meter_version", pa.repeat(pa.scalar("0"), len(flows)))
    with pytest.raises(SchemaError, match=told):
        scorer.score(FlowTable(earlier, flows.schema_id))
