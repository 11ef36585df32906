"""docs/operations.md: the messages it explains are those that the code says, its files and queries are there."""

import re

import pytest

from tests.deploy.product import metric_names
from tests.fixtures.data import ROOT

GUIDE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py")))
MESSAGES = [
    message
    for row in re.findall(r"^\| (`.*?) \| ", GUIDE.partition("## Troubleshooting")[2], re.MULTILINE)
    for message in re.findall(r"`([^`]+)`", row)
]


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_explained_is_one_that_the_code_says(message):
    joined = re.sub(r'"\s*\n\s*f?"', "", SOURCE)  # literals that go on in the next line
    assert message in joined


def test_every_file_of_deploy_that_is_named_is_there():
    named = set(re.findall(r"\b(deploy/[\w./*-]+[\w*])", GUIDE)) - {"deploy/compose/secrets/grafana_password"}
    named -= {"deploy/compose/secrets/portal_token"}  # made by make_secrets.py, as their test says
    assert len(named) > 8
    assert [name for name in named if not list(ROOT.glob(name))] == []


def test_every_metric_worth_an_alarm_is_one_of_ours():
    named = set(re.findall(r"\b(netwarden_[a-z_]+)\b", GUIDE))
    assert named and named <= metric_names()
