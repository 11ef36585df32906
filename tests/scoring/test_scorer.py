"""The one scoring function: the answer depends on the row alone, and says why where there is none."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from prometheus_client import REGISTRY

from netwarden.errors import SchemaError
from netwarden.flows.table import FlowTable, MeterStamp, empty_table
from netwarden.scoring.scorer import RESULT, Scorer
from tests.fixtures.bundles import made_up_flows, train_bundle


@pytest.fixture(scope="module")
def scorer(bundle):
    scorer = Scorer(bundle, threads=2, chunk_rows=256)
    yield scorer
    scorer.close()


@pytest.fixture(scope="module")
def scored(scorer, flows):
    return scorer.score(flows)


def counted(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_every_row_gets_score_verdict_family_and_threshold_in_order(scored, scorer, flows, bundle):
    assert scored.schema == RESULT and len(scored) == len(flows)
    matrix = bundle.preprocessor.transform(flows.arrow)
    expected = bundle.calibration.apply(bundle.detector.score(matrix))
    np.testing.assert_array_equal(scored.column("score").to_numpy(), expected)
    assert pc.unique(scored.column("threshold")).to_pylist() == [bundle.threshold]


def test_an_alert_is_a_score_at_or_above_the_threshold(bundle, flows):
    score = Scorer(bundle).score(flows).column("score").to_numpy()
    chosen = float(np.sort(score)[-200])
    threshold = bundle.manifest.threshold.model_copy(update={"value": chosen})
    exact = replace(bundle, manifest=bundle.manifest.model_copy(update={"threshold": threshold}))
    verdicts = np.array(Scorer(exact).score(flows).column("verdict").to_pylist())
    np.testing.assert_array_equal(verdicts == "known_attack", score >= chosen)
    assert set(verdicts) == {"benign", "known_attack"}


def test_family_is_null_unless_known_attack(scored):
    known = pc.equal(scored.column("verdict"), "known_attack")
    assert pc.equal(known, pc.is_valid(scored.column("family"))).to_pylist() == [True] * len(scored)
    assert set(scored.column("family").to_pylist()) == {None, "dos", "probe", "r2l"}


def test_families_are_mostly_right(scored, flows):
    family = np.array(scored.column("family").to_pylist(), object)
    truth = np.array(flows.arrow.column("family").to_pylist(), object)
    alerts = family != None  # noqa: E711 - elementwise
    assert np.mean(family[alerts] == truth[alerts]) > 0.85


def test_a_row_alone_scores_bit_for_bit_as_in_the_batch(scorer, scored, flows):
    for at in (*range(60), 255, 256, 2999):
        assert scorer.score(flows.slice(at, 1)).to_pylist() == scored.slice(at, 1).to_pylist()


@pytest.mark.parametrize(("threads", "chunk_rows"), [(1, 256), (1, 100_000), (3, 700), (2, 2999), (4, 3000)])
def test_threads_and_chunks_change_nothing(bundle, flows, scored, threads, chunk_rows):
    scorer = Scorer(bundle, threads=threads, chunk_rows=chunk_rows)
    assert scorer.score(flows).equals(scored)
    scorer.close()


def test_several_callers_at_once_get_their_own_rows(scorer, scored, flows):
    starts = [0, 500, 1000, 1500, 2000]
    with ThreadPoolExecutor(5) as pool:
        for start, result in zip(starts, pool.map(lambda at: scorer.score(flows.slice(at, 900)), starts), strict=True):
            assert result.equals(scored.slice(start, 900))


def test_column_order_chunking_and_other_columns_do_not_matter(scorer, scored, flows):
    pieces = pa.concat_tables([flows.arrow.slice(0, 7), flows.arrow.slice(7, 2000), flows.arrow.slice(2007)])
    for arrow in (pieces, flows.arrow.select(flows.names[::-1]), flows.arrow.drop_columns(["label", "family"])):
        assert scorer.score(FlowTable(arrow, "nsl_kdd")).equals(scored)


def test_an_empty_table_gives_an_empty_result(scorer, nsl_schema):
    result = scorer.score(empty_table(nsl_schema))
    assert result.schema == RESULT and len(result) == 0


def test_missing_values_are_scored(scorer, nsl_schema):
    nothing = FlowTable(pa.table({c.name: pa.nulls(3) for c in nsl_schema.features}), "nsl_kdd")
    scores = scorer.score(nothing).column("score").to_pylist()
    assert len(set(scores)) == 1 and 0 <= scores[0] <= 1


def test_the_input_is_left_untouched(scorer, flows):
    before = flows.arrow.slice(0, 300).to_pylist()
    scorer.score(flows.slice(0, 300))
    assert flows.arrow.slice(0, 300).to_pylist() == before


def test_a_table_of_another_schema_is_refused(scorer, flows, bundle):
    other = FlowTable(flows.arrow, "unsw_nb15")
    with pytest.raises(SchemaError, match=f"schema unsw_nb15 was given to bundle {bundle.bundle_id}, which scores nsl"):
        scorer.score(other)


def test_a_table_of_another_meter_mode_is_refused(scorer, flows):
    with pytest.raises(SchemaError, match=r"metered in mode 'standard' were given .* trained on mode ''"):
        scorer.score(replace(flows, meter=MeterStamp("standard", "1")))


def test_a_table_of_the_bundles_meter_mode_is_scored(scorer, flows):
    assert len(scorer.score(replace(flows.slice(0, 5), meter=MeterStamp("", "1")))) == 5


def test_missing_columns_are_named(scorer, flows):
    with pytest.raises(SchemaError, match=r"2 of 41 columns of schema nsl_kdd missing: .*src_bytes"):
        scorer.score(FlowTable(flows.arrow.drop_columns(["src_bytes", "duration"]), "nsl_kdd"))


def test_a_doubled_column_is_refused(scorer, flows):
    doubled = flows.arrow.append_column("duration", flows.arrow.column("duration"))
    with pytest.raises(SchemaError, match="'duration' occurs 2 times"):
        scorer.score(FlowTable(doubled, "nsl_kdd"))


def test_unknown_categories_are_counted_for_the_caller_and_the_metrics(scorer, flows):
    at = flows.arrow.schema.get_field_index("service")
    services = pa.array(["quantum"] * 600 + ["http"] * 2400)
    odd = FlowTable(flows.arrow.set_column(at, "service", services), "nsl_kdd")
    before = counted("netwarden_unknown_categories_total", column="service")
    unknown = Counter({"service": 1})
    scorer.score(odd, unknown=unknown)
    assert unknown == {"service": 601}
    assert counted("netwarden_unknown_categories_total", column="service") == before + 600


def test_flows_are_counted_by_way_in_and_verdict(scorer, scored, flows):
    labels = {"path": "here", "verdict": "known_attack"}
    before = counted("netwarden_flows_scored_total", **labels)
    scorer.score(flows, path="here")
    alerts = pc.sum(pc.equal(scored.column("verdict"), "known_attack")).as_py()
    assert counted("netwarden_flows_scored_total", **labels) == before + alerts
    assert counted("netwarden_score_seconds_count", path="here") >= 1


def test_with_the_family_head_off_alerts_are_known_attacks_of_no_family(nsl_schema, tmp_path):
    table = made_up_flows(nsl_schema, 1500, seed=4)
    at = table.arrow.schema.get_field_index("family")
    binary = pa.array(["benign" if name == "benign" else "attack" for name in table.arrow.column(at).to_pylist()])
    table = replace(table, arrow=table.arrow.set_column(at, "family", binary))
    result = Scorer(train_bundle(tmp_path / "binary", nsl_schema, table)).score(table)
    assert set(result.column("verdict").to_pylist()) == {"benign", "known_attack"}
    assert result.column("family").null_count == len(result)
