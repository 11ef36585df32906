"""What docs/python-api.md says is true."""

import doctest
import json

from netwarden.scoring.records import raw_table
from tests.fixtures.data import ROOT

PAGE = ROOT / "docs" / "python-api.md"


def test_every_example_of_the_page_runs_as_shown(settings, monkeypatch):
    monkeypatch.setenv("NETWARDEN_HOME", str(settings.home))
    monkeypatch.setenv("NETWARDEN_WORKSPACE", str(ROOT))
    monkeypatch.chdir(ROOT)
    results = doctest.testfile(str(PAGE), module_relative=False)
    assert results.attempted > 15
    assert results.failed == 0


def test_the_example_flows_fit_their_schema(model):
    rows = json.loads((ROOT / "examples" / "flows.json").read_text())["rows"]
    assert rows[0] == json.loads((ROOT / "examples" / "flow.json").read_text())
    assert raw_table(rows, model.schema).num_columns == len(model.schema.features)
    assert model.score(rows).num_rows == 2
