"""docs/flow-features.md, the definitions, the kernels and the schemas say the same."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from docs.flow_features import PAGE, rewritten
from netwarden.capture.columns import features
from netwarden.capture.context import CONTEXT_NAMES, context, empty_tables
from netwarden.capture.definitions import FEATURES
from netwarden.capture.records import FLOW
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


def test_the_kernels_give_every_defined_feature_and_no_other():
    none = np.empty(0, FLOW)
    assert set(features(none, False)) == {feature.name for feature in FEATURES}
    assert tuple(context(empty_tables(4), none)) == CONTEXT_NAMES
