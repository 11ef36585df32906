"""The Python API."""

import doctest
import shutil

import pandas as pd
import pyarrow as pa
import pytest

import netwarden
from netwarden.errors import BundleError, InputError, NotFoundError, SchemaError
from netwarden.flows.schema import load_schema
from netwarden.flows.table import FlowTable
from netwarden.scoring import model as model_module
from netwarden.scoring.model import FlowScore, champion, load
from tests.fixtures.bundles import made_up_flows, train_bundle
from tests.fixtures.data import ROOT
from tests.intake.conftest import register


def test_the_examples_in_the_documentation_are_true(settings, model, bare):
    rows = bare.to_pylist()
    flow = next(row for row in rows if not model.score_one(row).alert)
    results = doctest.testmod(model_module, extraglobs={"settings": settings, "flow": flow})
    assert results.attempted > 4
    assert results.failed == 0


def test_the_package_itself_offers_load(settings, bundle):
    assert netwarden.load("champion", settings).bundle.bundle_id == bundle.bundle_id


def test_a_table_a_dataframe_dicts_and_one_dict_score_the_same(model, bare):
    expected = model.score(FlowTable(bare, "nsl_kdd"))
    assert len(set(expected["verdict"].to_pylist())) == 2
    assert model.score(bare).equals(expected)
    assert model.score(bare.to_pylist()).equals(expected)
    from_frame = pa.Table.from_pandas(model.score(bare.to_pandas()), preserve_index=False)
    assert from_frame.cast(expected.schema).equals(expected)
    singles = [model.score_one(row) for row in bare.slice(0, 20).to_pylist()]
    assert singles == [FlowScore(**row) for row in expected.slice(0, 20).to_pylist()]


def test_a_dataframe_keeps_its_index_and_may_have_columns_in_any_order_and_more_of_them(model, bare):
    frame = bare.to_pandas().iloc[:5]
    plain = model.score(frame)
    frame.index = pd.Index(list("abcde"), name="flow")
    mixed = frame[frame.columns[::-1]].assign(comment="seen", attack_name="normal")
    result = model.score(mixed)
    assert result.index.equals(frame.index)
    assert result["score"].tolist() == plain["score"].tolist()


def test_numbers_given_as_text_are_numbers(model, bare):
    row = bare.slice(0, 1).to_pylist()[0]
    assert model.score_one({name: str(value) for name, value in row.items()}) == model.score_one(row)


def test_values_of_mixed_types_are_judged_row_by_row(model, bare):
    rows = bare.slice(0, 2).to_pylist()
    rows[1]["duration"] = "long"
    with pytest.raises(InputError, match="1 of 2 rows do not fit schema nsl_kdd: row 1: duration: not a number"):
        model.score(rows)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda row: row.pop("src_bytes"), SchemaError, "1 of 41 columns .* missing: src_bytes"),
        (
            lambda row: row.update(src_bytes=[1]),
            InputError,
            "'src_bytes' holds .*; numbers, text or times are expected",
        ),
        (lambda row: row.update(src_bytes={"a": 1}), InputError, "'src_bytes' holds .*; numbers, text or times"),
        (lambda row: row.update(src_bytes=b"1"), InputError, "'src_bytes' holds binary"),
        (lambda row: row.update(src_bytes=None), InputError, "row 0: src_bytes: missing"),
        (lambda row: row.update(src_bytes=float("inf")), InputError, "row 0: src_bytes: infinite"),
        (lambda row: row.update(src_bytes=10**30), InputError, "row 0: src_bytes: too large"),
        (lambda row: row.update(src_bytes=-1), InputError, "row 0: src_bytes: out of range"),
        (lambda row: row.update(src_bytes=1.5), InputError, "row 0: src_bytes: not a whole number"),
    ],
)
def test_a_flow_that_does_not_fit_is_refused_by_name(model, bare, change, error, message):
    row = bare.slice(0, 1).to_pylist()[0]
    change(row)
    with pytest.raises(error, match=message):
        model.score_one(row)


def test_lists_that_are_no_flows_are_refused(model, bare):
    row = bare.slice(0, 1).to_pylist()[0]
    with pytest.raises(InputError, match="list of flows is empty"):
        model.score([])
    with pytest.raises(InputError, match="not as int"):
        model.score(3)
    with pytest.raises(SchemaError, match="flow 1 lacks hot; write null"):
        model.score([row, {name: value for name, value in row.items() if name != "hot"}])


def test_info_says_what_the_bundle_is(model, bundle):
    info = model.info()
    assert (info.bundle_id, info.kind, info.schema_id) == (bundle.bundle_id, "boosted_trees", "nsl_kdd")
    assert info.features[0] == "duration"
    assert info.threshold == bundle.threshold
    assert info.false_positive_budget == 0.02


def test_category_codes_are_those_of_the_bundle(model, bundle):
    codes = model.category_codes()["flag"]
    position = bundle.preprocessor.names.index("flag")
    assert tuple(codes) == bundle.preprocessor.columns[position].categories
    assert list(codes.values()) == list(range(len(codes)))


def test_a_bundle_loads_by_id_by_start_of_its_id_and_by_folder(settings, bundle):
    for name in (bundle.bundle_id, bundle.bundle_id[:6], bundle.folder, str(bundle.folder)):
        assert load(name, settings).bundle.bundle_id == bundle.bundle_id


def test_a_folder_may_come_with_its_own_schema(empty_settings, bundle, nsl_schema):
    elsewhere = empty_settings.model_copy(update={"workspace": empty_settings.home})
    assert load(bundle.folder, elsewhere, schema=nsl_schema).schema is nsl_schema
    with pytest.raises(SchemaError, match="no schema 'nsl_kdd'"):
        load(bundle.folder, elsewhere)


def test_without_a_champion_loading_says_what_to_do(empty_settings):
    assert champion(empty_settings) is None
    with pytest.raises(NotFoundError, match=r"no champion yet; train one with `python main\.py`"):
        load("champion", empty_settings)
    with pytest.raises(NotFoundError, match="schema nsl_kdd has no champion yet"):
        load("champion", empty_settings, schema="nsl_kdd")


def test_of_several_schemas_the_champion_promoted_last_is_meant(settings, bundle, tmp_path):
    cic = load_schema("cic_flow", ROOT / "schema")
    other = train_bundle(tmp_path / "cic", cic, made_up_flows(cic, 600, seed=3))
    register(settings, other, promote=False)
    assert load("champion", settings).schema.id == "nsl_kdd"
    assert champion(settings, "cic_flow") is None
    shutil.rmtree(settings.bundles_dir / other.bundle_id)
    register(settings, other)
    assert load("champion", settings).schema.id == "cic_flow"
    assert load("champion", settings, schema="nsl_kdd").schema.id == "nsl_kdd"


def changed_column(schema, column, **facts):
    columns = tuple(c.model_copy(update=facts) if c.name == column else c for c in schema.columns)
    return schema.model_copy(update={"columns": columns})


def test_a_bundle_of_another_schema_or_of_one_with_changed_features_is_refused(settings, bundle, nsl_schema):
    with pytest.raises(SchemaError, match="scores flows of schema nsl_kdd, not cic_flow"):
        load(bundle.folder, settings, schema="cic_flow")
    for facts, message in (
        ({"role": "identifier"}, "feature duration is gone"),
        ({"name": "length"}, "feature duration is gone"),
        ({"unit": "us"}, "duration is int us, was int s"),
        ({"type": "float"}, "duration is float s, was int s"),
    ):
        with pytest.raises(SchemaError, match=f"schema nsl_kdd has changed since bundle .*: {message}; train again"):
            load(bundle.folder, settings, schema=changed_column(nsl_schema, "duration", **facts))


def test_a_category_that_the_schema_learned_after_training_scores_as_unknown(settings, bundle, model, nsl_schema, bare):
    wider = changed_column(nsl_schema, "flag", categories=(*nsl_schema.column("flag").categories, "NEW"))
    later = load(bundle.folder, settings, schema=wider)
    assert later.score(bare).equals(model.score(bare))
    row = bare.slice(0, 1).to_pylist()[0]
    assert later.score_one(row | {"flag": "NEW"}) == model.score_one(row | {"flag": "unheard of"})


def test_a_champion_that_is_gone_or_was_exchanged_is_named_with_the_way_back(settings, bundle, nsl_schema, tmp_path):
    folder = settings.bundles_dir / bundle.bundle_id
    shutil.rmtree(folder)
    with pytest.raises(BundleError, match=f"netwarden restore {bundle.bundle_id}"):
        load("champion", settings)
    other = train_bundle(tmp_path / "other", nsl_schema, made_up_flows(nsl_schema, 600, seed=2))
    shutil.copytree(other.folder, folder)
    with pytest.raises(BundleError, match=f"holds bundle {other.bundle_id}, not {bundle.bundle_id} as registered"):
        load("champion", settings)
