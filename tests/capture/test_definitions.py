"""docs/flow-features.md, the definitions, the kernels and the schemas say the same."""

import hashlib
import io
import itertools
import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from docs.flow_features import PAGE, rewritten
from netwarden.capture.columns import features
from netwarden.capture.context import CONTEXT_NAMES, context, empty_tables
from netwarden.capture.definitions import FEATURES
from netwarden.capture.meter import METER_VERSION, MeterSettings, cicflowmeter_settings
from netwarden.capture.metering import meter_captures
from netwarden.capture.records import FLOW
from tests.capture.frames import ACK, FIN, PSH, RST, SYN, Packet, capture
from tests.fixtures.data import ROOT


def test_the_page_holds_exactly_the_tables_of_the_code():
    page = PAGE.read_text(encoding="utf-8")
    assert page == rewritten(page), "run `make flow-features`"
    listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert listed == [*(feature.name for feature in FEATURES), *CONTEXT_NAMES]


@pytest.mark.parametrize("schema", ["cic_flow", "netwarden_flow"])
def test_every_feature_of_the_schema_is_defined(schema):
    described = yaml.safe_load(Path(ROOT, "schema", f"{schema}.yaml").read_text(encoding="utf-8"))
    wanted = [c["name"] for c in described["columns"] if c.get("role", "feature") == "feature"]
    defined = [feature.name for feature in FEATURES]
    assert sorted(wanted) == sorted(defined if schema == "cic_flow" else [*defined, *CONTEXT_NAMES])


# Flows of the traffic below in both modes, per version. When it differs, the same packets give other features: raise
# METER_VERSION and put the new digest beside the old one, which stays as a record.
DIGESTS = {"1": "8837bbacd5c0ca00"}


def test_the_same_packets_give_other_features_only_under_another_version():
    assert _digest() == DIGESTS[METER_VERSION]


def _digest():
    """Of every value, to nine digits, so that no compiler's last bit matters."""
    draw, packets = random.Random(1), []
    for _ in range(3000):
        host, port, flags = draw.randrange(4), draw.randrange(6), draw.choice((SYN, ACK, ACK | PSH, FIN | ACK, RST))
        packet = Packet(
            0, f"10.0.0.{host}", "10.0.1.1", 1024 + port, draw.choice((53, 80)), draw.choice((6, 6, 17, 47))
        )
        packet = replace(packet, flags=flags, payload=draw.choice((0, 0, 40, 1400)), window=draw.randrange(65_536))
        packets.append(packet if draw.random() < 0.6 else packet.reversed())
    times = itertools.accumulate(draw.choice((0, 900, 40_000, 1_200_000, 6_000_000)) for _ in packets)
    data = capture([replace(packet, time_us=time_us) for packet, time_us in zip(packets, times, strict=True)])
    digest = hashlib.sha256()
    for rules in (MeterSettings(), cicflowmeter_settings()):
        for table in meter_captures([io.BytesIO(data)], rules):
            for row in table.arrow.drop_columns(["meter_version"]).to_pylist():
                digest.update(",".join(f"{v:.9g}" if isinstance(v, float) else str(v) for v in row.values()).encode())
    return digest.hexdigest()[:16]


def test_the_kernels_give_every_defined_feature_and_no_other():
    none = np.empty(0, FLOW)
    assert set(features(none, False)) == {feature.name for feature in FEATURES}
    assert tuple(context(empty_tables(4), none)) == CONTEXT_NAMES
