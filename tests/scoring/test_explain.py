"""Reasons are exact, sorted and in plain words."""

import re

import numpy as np
import pyarrow as pa
import pytest

from netwarden.detectors.bundle import load_bundle
from netwarden.errors import SchemaError
from netwarden.flows.table import FlowTable
from netwarden.scoring.explain import explain, weigh
from netwarden.scoring.model import load
from netwarden.scoring.usual import amount, what_is_usual
from netwarden.settings import Settings
from tests.fixtures.data import ROOT


def test_all_shares_and_the_base_add_up_to_the_score(bundle, flows):
    part = flows.slice(0, 200)
    matrix = bundle.preprocessor.transform(part.arrow)
    scores = bundle.detector.score(matrix)
    base = bundle.detector.contributions(matrix)[:, 0, -1]
    shares = [sum(reason.share for reason in reasons) for reasons in explain(bundle, part, top=41)]
    np.testing.assert_allclose(shares + base, np.log(scores / (1 - scores)), atol=1e-4)


def test_the_strongest_reasons_come_first(bundle, flows):
    for reasons in explain(bundle, flows.slice(0, 20), top=4):
        sizes = [abs(reason.share) for reason in reasons]
        assert len(reasons) == 4 and sizes == sorted(sizes, reverse=True)


def test_a_reason_shows_the_value_as_the_flow_has_it(bundle, flows):
    row = flows.arrow.slice(3, 1).to_pylist()[0]
    for reason in explain(bundle, flows.slice(3, 1), top=41)[0]:
        assert reason.value == row[reason.feature]


@pytest.mark.parametrize(
    ("feature", "value", "words"),
    [
        ("src_bytes", 1234567, r"src_bytes is 1\.235 MB; all benign flows of training ≤ [\d,]+: speaks "),
        ("duration", None, r"duration is missing; so are 0 % of all flows of training: "),
        (
            "service",
            "http",
            r"service is http; (usual by itself, not together with the others: )?so are [\d.]+ % of benign flows: ",
        ),
        ("service", "quantum", r"service is quantum, which training never saw: "),
        (
            "same_srv_rate",
            0.5,
            r"same_srv_rate is 0.5; (usual by itself, .* others: )?90 % of benign flows 0\.\d+ to 0\.\d+: ",
        ),
        ("src_bytes", -1, r"src_bytes is -1 bytes; all benign flows of training ≥ [\d,]+: "),
    ],
)
def test_reasons_are_in_plain_words(bundle, flows, nsl_schema, feature, value, words):
    row = flows.arrow.slice(0, 1).to_pylist()[0] | {feature: value}
    types = pa.schema([flows.arrow.schema.field(column.name) for column in nsl_schema.features])
    table = FlowTable(pa.Table.from_pylist([row], types), "nsl_kdd")
    texts = {reason.feature: reason.text for reason in explain(bundle, table, top=41)[0]}
    assert re.match(words, texts[feature]), texts[feature]


def test_what_is_usual_is_true_of_the_benign_flows_of_training(bundle, flows):
    fitted = flows.slice(0, len(flows) * 3 // 5).arrow
    benign = np.array(fitted.column("src_bytes"))[np.array(fitted.column("family")) == "benign"]
    at = bundle.preprocessor.names.index("src_bytes")
    for value in np.quantile(benign, [0.97, 0.994]).tolist():
        said = re.fullmatch(r"([\d.]+) % of benign flows ≤ ([\d,]+)", what_is_usual(bundle, at, value + 1))
        assert said and np.mean(benign <= float(said[2].replace(",", ""))) * 100 == pytest.approx(float(said[1]), abs=1)


def test_a_bundle_of_format_1_explains_without_knowing_what_is_usual(flows):
    old = load_bundle(ROOT / "tests" / "data" / "bundle-v1")
    texts = {reason.feature: reason.text for reason in explain(old, flows.slice(0, 1), top=41)[0]}
    assert re.fullmatch(r"src_bytes is [\d,]+ bytes: \w+ .*", texts["src_bytes"])


def test_the_hybrid_gives_reasons_of_both_kinds_that_add_up_to_its_evidence(hybrid_bundle, flows):
    part, detector = flows.slice(0, 100), hybrid_bundle.detector
    matrix = hybrid_bundle.preprocessor.transform(part.arrow)
    base, evidence = detector.contributions(matrix)[:, :, -1], detector.evidence(matrix)
    for index, reasons in enumerate(explain(hybrid_bundle, part, top=82)):
        for place, name in enumerate(("supervised", "novelty")):
            shares = sum(reason.share for reason in reasons if reason.part == name)
            assert shares + base[index, place] == pytest.approx(evidence[index, place], rel=1e-4, abs=1e-4)
        assert {reason.text.rpartition(": ")[2] for reason in reasons if reason.part == "novelty"} <= {
            "unlike benign flows, beside its other features",
            "does not matter",
        }


def test_a_model_explains_what_it_scores(bundle_folder, flows, tmp_path):
    settings = Settings.model_validate({"workspace": ROOT, "home": tmp_path, "datasets": tmp_path})
    model = load(bundle_folder, settings)
    row = flows.arrow.select(list(model.bundle.preprocessor.names)).slice(0, 1).to_pylist()[0]
    assert model.explain([row], top=3) == explain(model.bundle, flows.slice(0, 1), top=3)


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (17_234_567, "bytes/s", "17.23 MB/s"),
        (2, "connections", "2 connections"),
        (3_500_000, "us", "3.5 s"),
        (250_000, "packets", "250 k packets"),
        (-4e9, "", "-4 G"),
        (99_999, "bytes", "99,999 bytes"),
    ],
)
def test_large_values_are_readable(value, unit, words):
    assert amount(value, unit) == words


def test_a_usual_value_that_speaks_for_an_attack_is_said_to_be_usual_by_itself(bundle, flows):
    found = [reason for row in explain(bundle, flows.slice(0, 100), top=41) for reason in row]
    alone = [reason for reason in found if reason.usual.startswith("usual by itself, not together")]
    assert alone and all(reason.share > 0 for reason in alone)


def test_a_table_of_another_schema_is_refused(bundle, flows):
    with pytest.raises(SchemaError, match="a table of schema zeek_conn was given to bundle"):
        explain(bundle, FlowTable(flows.arrow, "zeek_conn"))


def test_no_rows_have_no_reasons(bundle, flows):
    assert explain(bundle, flows.slice(0, 0)) == []


def test_each_kind_of_evidence_is_weighed_apart_and_adds_up(hybrid_bundle, flows):
    part = flows.slice(0, 50)
    expected = hybrid_bundle.detector.evidence(hybrid_bundle.preprocessor.transform(part.arrow))
    for index, evidence in enumerate(weigh(hybrid_bundle, part, top=41)):
        assert [each.part for each in evidence] == ["supervised", "novelty"]
        for each, total in zip(evidence, expected[index], strict=True):
            shares = [reason.share for reason in each.reasons]
            assert each.base + sum(shares) == pytest.approx(each.total, rel=1e-4, abs=1e-4)
            assert each.total == pytest.approx(total, rel=1e-4, abs=1e-4)
            assert sum(reason.portion for reason in each.reasons) == pytest.approx(1)
            assert [abs(share) for share in shares] == sorted(map(abs, shares), reverse=True)


def test_weighing_shows_the_strongest_of_each_kind(hybrid_bundle, flows):
    few, all_of_them = (weigh(hybrid_bundle, flows.slice(0, 3), top) for top in (2, 41))
    assert [[each.reasons for each in row] for row in few] == [
        [each.reasons[:2] for each in row] for row in all_of_them
    ]


def test_a_reason_says_value_and_what_is_usual_apart(bundle, flows):
    for reason in explain(bundle, flows.slice(0, 1), top=41)[0]:
        assert (
            reason.text.startswith(f"{reason.feature} is {reason.shown}; {reason.usual}: speaks ") or not reason.share
        )
