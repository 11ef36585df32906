"""Reasons are exact, sorted and in plain words."""

import numpy as np
import pyarrow as pa
import pytest

from netwarden.errors import SchemaError
from netwarden.flows.table import FlowTable
from netwarden.scoring.explain import explain


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
        ("src_bytes", 1234567, "src_bytes is 1,234,567 bytes: speaks "),
        ("duration", None, "duration is missing: "),
        ("service", "http", "service is http: "),
        ("service", "quantum", "service is quantum, which training never saw: "),
        ("same_srv_rate", 0.25, "same_srv_rate is 0.25: "),
    ],
)
def test_reasons_are_in_plain_words(bundle, flows, nsl_schema, feature, value, words):
    row = flows.arrow.slice(0, 1).to_pylist()[0] | {feature: value}
    types = pa.schema([flows.arrow.schema.field(column.name) for column in nsl_schema.features])
    table = FlowTable(pa.Table.from_pylist([row], types), "nsl_kdd")
    texts = {reason.feature: reason.text for reason in explain(bundle, table, top=41)[0]}
    assert texts[feature].startswith(words)


def test_a_table_of_another_schema_is_refused(bundle, flows):
    with pytest.raises(SchemaError, match="a table of schema zeek_conn was given to bundle"):
        explain(bundle, FlowTable(flows.arrow, "zeek_conn"))


def test_no_rows_have_no_reasons(bundle, flows):
    assert explain(bundle, flows.slice(0, 0)) == []
