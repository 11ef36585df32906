"""What executors do with rows, without Spark: batches in, batches out, as `mapInArrow` hands them over."""

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from netwarden.detectors.bundle import load_bundle
from netwarden.evaluation.split import TEST
from netwarden.features.preprocessor import fit_preprocessor
from netwarden.flows.labels import load_families
from netwarden.flows.schema import load_schema
from netwarden.flows.table import FlowTable, empty_table
from netwarden.scoring.lake_rows import RowReader, RowScorer, bundle_files
from netwarden.scoring.scorer import Scorer
from netwarden.sources.text_layout import layout_of_start
from netwarden.training.lake_rows import JUDGED_SCHEMA, MATRIX_SCHEMA, RowCleaner, RowJudge, RowMaker, instants_us
from netwarden.training.tested import write_evaluation
from tests.fixtures.bundles import made_up_flows, train_bundle
from tests.fixtures.data import ROOT

CIC = load_schema("cic_flow", ROOT / "schema")
NAMES = [column.name for column in CIC.features]


@pytest.fixture(scope="module")
def flows():
    """600 made-up flows with a time, the last of them twice."""
    made = made_up_flows(CIC, 599, seed=3).arrow
    made = pa.concat_tables([made, made.slice(598)])
    start = datetime(2018, 2, 14, 8, tzinfo=UTC).timestamp()
    times = [datetime.fromtimestamp(start + 17 * at, UTC).isoformat() for at in range(600)]
    return made.select(NAMES).append_column("started_at", pa.array(times)).append_column("Label", made["label"])


@pytest.fixture(scope="module")
def clean(flows):
    """The same after cleaning, from lines of text, two of which are no flows."""
    text = pa.BufferOutputStream()
    pacsv.write_csv(flows.set_column(flows.num_columns - 1, "Label", _spelled(flows["Label"])), text)
    lines = [*text.getvalue().to_pybytes().splitlines(), b"1,2", b"x"]
    families = load_families(ROOT / "schema" / "families.yaml")
    cleaner = RowCleaner(RowReader(CIC, layout_of_start("f.csv", b"\n".join(lines), CIC), True, families))
    given = pa.table({"file": ["f"] * len(lines), "row": range(len(lines)), "value": lines})
    rows = pa.Table.from_batches(cleaner.clean(given.to_batches(max_chunksize=100)), cleaner.columns)
    assert sorted(rows["reason"].drop_null().to_pylist()) == ["1 columns instead of 78", "2 columns instead of 78"]
    good = rows.filter(rows["reason"].is_null()).drop_columns(["file", "row", "reason", "text"])
    assert len(good) == 600
    return good


def _spelled(labels):
    names = {"benign": "Benign", "dos": "DoS attacks-Hulk", "probe": "Bot", "r2l": "SSH-Bruteforce"}
    return pa.array([names[label] for label in labels.to_pylist()])


def test_clean_rows_have_canonical_labels_and_equal_rows_equal_content(clean):
    assert set(clean["family"].to_pylist()) == {"benign", "dos", "botnet", "brute_force"}
    content = clean["content"].to_pylist()
    assert content[-1] == content[-2] and len(set(content)) == 599


def test_rows_of_the_matrix_are_those_of_the_preprocessor_and_the_latest_test(clean):
    preprocessor = fit_preprocessor(empty_table(CIC), CIC)
    cut = int(instants_us(clean, CIC)[480])
    maker = RowMaker(CIC, preprocessor, cut, "fit", {"calibration": 0.1, "threshold": 0.2}, seed=7)
    rows = pa.Table.from_batches(maker.make(clean.to_batches(max_chunksize=100)), MATRIX_SCHEMA)
    flat = rows["features"].combine_chunks().flatten().to_numpy()
    expected = preprocessor.transform(clean)
    assert np.array_equal(flat.reshape(expected.shape), expected, equal_nan=True)
    parts = np.array(rows["part"].to_pylist())
    assert (np.flatnonzero(parts == TEST) == np.arange(480, 600)).all()
    assert set(parts[:480]) == {"fit", "calibration", "threshold"}
    assert rows["attack"].to_pylist() == [int(family != "benign") for family in clean["family"].to_pylist()]


def test_judged_rows_become_the_figures_of_an_evaluation(clean, tmp_path):
    bundle = train_bundle(tmp_path / "bundle", CIC, FlowTable(clean, CIC.id))
    judge = RowJudge(CIC, bundle_files(bundle))
    judged = pa.Table.from_batches(judge.judge(clean.to_batches(max_chunksize=250)), JUDGED_SCHEMA)
    expected = Scorer(load_bundle(bundle.folder)).score(FlowTable(clean, CIC.id))
    assert judged["score"].combine_chunks().equals(expected["score"].combine_chunks())
    write_evaluation(tmp_path / "evaluate", judged, frozenset(["dos_hulk"]), bundle, 1_000_000, tmp_path)
    figures = json.loads((tmp_path / "evaluate" / "metrics.json").read_bytes())["test"]
    assert (figures["rows"], figures["roc_auc"] > 0.9) == (600, True)
    assert figures["seen_attack_names"] == 1 and figures["unseen_attack_names"] == 2
    assert (tmp_path / "evaluate" / "plots" / "roc.csv").exists()


def test_scored_rows_are_the_scorers_own_and_bad_rows_have_a_reason_instead(clean, tmp_path):
    bundle = train_bundle(tmp_path / "bundle", CIC, FlowTable(clean, CIC.id))
    rows = clean.select([*NAMES, "started_at"])
    rows = rows.add_column(0, "row", pa.array(range(600))).add_column(0, "file", pa.array(["f"] * 600))
    scoring = RowScorer(RowReader(CIC, None), bundle_files(bundle))
    scored = pa.Table.from_batches(scoring.score(rows.to_batches(max_chunksize=250)), scoring.columns)
    expected = Scorer(load_bundle(bundle.folder)).score(FlowTable(clean, CIC.id))
    for name in ("score", "verdict", "family"):
        assert scored[name].combine_chunks().equals(expected[name].combine_chunks())
    assert scored["row"].to_pylist() == list(range(600)) and scored["reason"].null_count == 600
