"""Values go into params.json without a change to anything else in it."""

import shutil

import pytest

from netwarden.errors import ConfigError
from netwarden.params import load_params
from netwarden.training.params_file import with_value, write_values
from tests.fixtures.data import ROOT


@pytest.fixture
def params(tmp_path):
    return shutil.copy(ROOT / "params.json", tmp_path / "params.json")


def test_only_the_values_change(params):
    before = params.read_text(encoding="utf-8")
    depth = load_params(params).hybrid.trees.max_depth
    changed = write_values(params, {"hybrid.trees.max_depth": depth + 1, "random_forest.max_depth": 12})
    assert changed.hybrid.trees.max_depth == depth + 1 and changed.random_forest.max_depth == 12
    after = params.read_text(encoding="utf-8").splitlines()
    differing = [line for line, old in zip(after, before.splitlines(), strict=True) if line != old]
    assert len(differing) == 2
    write_values(params, {"hybrid.trees.max_depth": depth, "random_forest.max_depth": None})
    assert params.read_text(encoding="utf-8") == before


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ('{\n  "a": {"b": 1}\n}', "a.c", '{\n  "a": {"b": 1, "c": 7}\n}'),
        ('{\n  "a": 1\n}', "b.c", '{\n  "a": 1,\n  "b": {"c": 7}\n}'),
        ('{"a": {\n    "b": [1, {"c": 2}],\n    "d": "}"\n  }}', "a.c", None),
        ("{}", "a", '{"a": 7}'),
        ('{"a": "{\\"a\\": 1}", "b" : { "a" :\t1 } }', "b.a", '{"a": "{\\"a\\": 1}", "b" : { "a" :\t7 } }'),
    ],
)
def test_a_value_finds_its_place_in_any_layout(text, names, expected):
    expected = expected or '{"a": {\n    "b": [1, {"c": 2}],\n    "d": "}",\n    "c": 7\n  }}'
    assert with_value(text, names.split("."), 7) == expected


def test_a_value_that_would_be_refused_changes_nothing(params):
    before = params.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match=r"hybrid\.trees\.max_depth"):
        write_values(params, {"hybrid.trees.max_depth": 0})
    assert params.read_text(encoding="utf-8") == before
    assert [path.name for path in params.parent.iterdir()] == ["params.json"]
