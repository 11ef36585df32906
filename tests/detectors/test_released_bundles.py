"""A bundle of every released format loads and scores as it did on the day it was made."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from netwarden.detectors.bundle import READABLE_VERSIONS, load_bundle
from netwarden.flows.table import FlowTable
from netwarden.scoring.scorer import Scorer
from tests.fixtures.data import ROOT

FOLDER = ROOT / "tests" / "data"


@pytest.mark.parametrize("version", READABLE_VERSIONS)
def test_a_bundle_of_each_released_format_gives_its_recorded_scores(version):
    bundle = load_bundle(FOLDER / f"bundle-v{version}")
    assert bundle.manifest.format_version == version
    recorded = pq.read_table(FOLDER / f"bundle-v{version}.parquet")
    result = Scorer(bundle, threads=1).score(FlowTable(recorded, bundle.schema_id))
    expected = recorded.column("expected_score").to_numpy()
    np.testing.assert_allclose(result.column("score").to_numpy(), expected, rtol=1e-12)
    for name in ("verdict", "family", "threshold"):
        assert result.column(name).to_pylist() == recorded.column(f"expected_{name}").to_pylist()


def test_released_bundles_stay_small():
    for folder in FOLDER.glob("bundle-v*/"):
        assert sum(path.stat().st_size for path in folder.iterdir()) < 200_000
