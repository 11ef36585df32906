"""`netwarden pipeline --engine spark`: files shaped like CSE-CIC-IDS2018 to a registered bundle, resumed after a fall.

No real file of CSE-CIC-IDS2018 is at hand: these hold made-up flows in its spelling, with the faults its files have.
"""

import csv
import os
import shutil
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest

from netwarden.errors import DataCheckError, SchemaError
from netwarden.evaluation.split import draw_alone, first_test_instant
from netwarden.flows.schema import load_schema
from netwarden.scoring.batch import score_file
from netwarden.scoring.model import load
from netwarden.settings import load_settings
from netwarden.sources.connect import open_registry
from netwarden.training.spark import LakeTraining, train_on_lake
from tests.fixtures.bundles import made_up_flows
from tests.fixtures.data import ROOT
from tests.spark.running import require_spark

CIC = load_schema("cic_flow", ROOT / "schema")
LABELS = {"benign": "Benign", "dos": "DoS attacks-Hulk", "probe": "Bot", "r2l": "SSH-Bruteforce"}
TWICE, ROWS = 50, 3000

# The first run falls over before the trees are grown, the second goes on; both share a JVM, whose start is dear.
RUN = """
import sys
from netwarden import logs
from netwarden.settings import load_settings
from netwarden.training import spark

logs.configure("INFO", "text")
settings, job = load_settings(), spark.LakeTraining(sys.argv[1], sys.argv[2], "made_up_2018", "cic_flow", 2)
conf = {"spark.master": "local[2]", "spark.sql.shuffle.partitions": "4"}
grow, spark._Run._trees = spark._Run._trees, lambda *_: sys.exit("pulled the plug")
try:
    spark.train_on_lake(settings, job, conf)
except SystemExit as fall:
    print(fall)
spark._Run._trees = grow
print(spark.train_on_lake(settings, job, conf).to_json())
"""


@pytest.fixture
def settings(tmp_path):
    """A workspace of its own, outside git: looks at test sets are not to be noted in ours."""
    for name in ("schema", "config"):
        shutil.copytree(ROOT / name, tmp_path / "workspace" / name)
    for name in ("params.json", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path / "workspace" / name)
    return load_settings({"NETWARDEN_WORKSPACE": str(tmp_path / "workspace"), "NETWARDEN_HOME": str(tmp_path / "home")})


@pytest.fixture
def lake(tmp_path):
    """Two files: one in the short spelling, one with the four columns more that a single day of the dataset has."""
    flows = made_up_flows(CIC, ROWS, seed=3).arrow
    families = flows["family"].to_pylist()
    columns = [column for column in CIC.columns if column.role == "feature"]
    header = [_short(column) for column in columns]
    start = datetime(2018, 2, 14, 8, tzinfo=UTC)
    rows = [
        [f"{start + timedelta(seconds=17 * at):%d/%m/%Y %H:%M:%S}", *values, LABELS[family]]
        for at, (values, family) in enumerate(
            zip(zip(*(flows[c.name].to_pylist() for c in columns), strict=True), families, strict=True)
        )
    ]
    half = len(rows) // 2
    first = [
        *rows[:half],
        *rows[:TWICE],
        ["1", "2"],
        ["Timestamp", *header, "Label"],
        [*rows[half][:-1], "No such attack"],
    ]
    ids = [["flow", "10.0.0.1", 1000 + at, "10.0.0.2", *row] for at, row in enumerate(rows[half:])]
    (tmp_path / "lake").mkdir()
    _write(tmp_path / "lake" / "14-02-2018.csv", ["Timestamp", *header, "Label"], first)
    _write(
        tmp_path / "lake" / "20-02-2018.csv",
        ["Flow ID", "Src IP", "Src Port", "Dst IP", "Timestamp", *header, "Label"],
        ids,
    )
    return tmp_path / "lake"


def _short(column):
    """CSE-CIC-IDS2018's name of a column: the second spelling of most, the first of those that never changed."""
    names = [alias.name for alias in column.aliases if not alias.unit]
    return names[min(1, len(names) - 1)]


def _write(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.timeout(1500)  # a loaded machine starts JVMs slowly
def test_a_lake_of_csv_gives_a_registered_bundle_though_the_driver_fell_over(settings, lake, tmp_path):
    require_spark()
    places = {
        "NETWARDEN_WORKSPACE": settings.workspace,
        "NETWARDEN_HOME": settings.home,
        "BENTOML_HOME": tmp_path / "b",
    }
    command = [sys.executable, "-c", RUN, str(lake), str(tmp_path / "work")]
    run = subprocess.run(
        command,
        env=os.environ | {name: str(path) for name, path in places.items()},
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )
    assert run.returncode == 0, run.stderr
    assert "pulled the plug" in run.stdout
    assert run.stderr.count("kept from an earlier run") == 3

    quarantine = next((tmp_path / "work").glob("quarantine-*"))
    assert sorted(pq.read_table(quarantine)["reason"].to_pylist()) == [
        "2 columns instead of 78",
        "unknown label 'No such attack'",
    ]
    with closing(open_registry(settings)) as registry:
        champion = registry.champion("cic_flow")
    assert champion is not None
    model = load("champion", settings)
    facts = model.bundle.manifest.training
    assert (facts.dataset, model.bundle.manifest.kind) == ("made_up_2018", "boosted_trees")
    assert sum(facts.rows.values()) == ROWS * 0.8, "duplicates count once, and the last fifth tests"
    assert model.bundle.manifest.families == ("botnet", "brute_force", "dos")
    assert champion.metrics["test.rows"] == ROWS * 0.2
    assert champion.metrics["test.roc_auc"] > 0.9
    report = score_file(settings, lake / "20-02-2018.csv", tmp_path / "scores.parquet")
    assert report.rows == ROWS // 2 and report.verdicts["known_attack"] > ROWS // 10


def test_rows_drawn_alone_come_out_in_the_shares_asked_for_and_equal_rows_together():
    groups = np.repeat(np.random.default_rng(1).integers(0, 2**63, 20_000).astype(np.uint64), 2)
    parts = draw_alone(groups, "fit", {"calibration": 0.05, "validation": 0.1}, seed=7)
    assert (parts[::2] == parts[1::2]).all()
    assert [round((parts == name).mean(), 2) for name in ("fit", "calibration", "validation")] == [0.85, 0.05, 0.1]


def test_the_last_share_of_rows_tests_and_a_single_instant_cannot_be_split():
    instants, rows = np.array([30, 10, 20]), np.array([1, 5, 4])
    assert first_test_instant(instants, rows, 0.2) == 20
    assert first_test_instant(instants, rows, 0.05) == 30
    with pytest.raises(DataCheckError, match="cannot be split by time"):
        first_test_instant(np.array([10]), np.array([8]), 0.2)


def test_a_schema_that_spark_cannot_train_is_refused_before_spark_starts(tmp_path):
    settings = load_settings({"NETWARDEN_WORKSPACE": str(ROOT), "NETWARDEN_HOME": str(tmp_path)})
    for schema_id, why in (("nsl_kdd", "has no time column"), ("zeek_conn", "learns the categories of")):
        with pytest.raises(SchemaError, match=why):
            train_on_lake(settings, LakeTraining("in", "work", "d", schema_id))
