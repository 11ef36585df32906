"""Models: what is said of registered bundles, and what changes which one serves; pages and API."""

import io
import re
import tarfile
from contextlib import closing
from dataclasses import replace

import pytest

from netwarden.detectors.bundle import load_bundle
from netwarden.portal.models.facts import BudgetTable, Comparison, ModelSummary
from netwarden.scoring.budget import set_budget
from netwarden.sources.connect import open_registry
from tests.portal.conftest import Portal, listening, make_champion, portal_settings

HTML = {"Accept": "text/html"}
FIGURES = {"recall": 0.9, "false_positive_rate": 0.01, "f1": 0.93, "roc_auc": 0.98}


@pytest.fixture(scope="module")
def house(bundle, second, tmp_path_factory):
    """A portal with two bundles, the second in charge; its tests leave it so."""
    settings = portal_settings(tmp_path_factory.mktemp("models"))
    make_champion(settings, bundle)
    make_champion(settings, second)
    with listening(settings) as running:
        yield running


def serving(portal: Portal) -> str:
    return str(portal.client.get("/ready").json()["bundles"]["nsl_kdd"])


def test_the_list_says_who_is_in_charge_and_leads_on_by_cursor(house, bundle, second):
    found = house.client.get("/api/v1/models").json()["models"]
    assert [(each["bundle_id"], each["role"]) for each in found] == [
        (second.bundle_id, "champion"),
        (bundle.bundle_id, "challenger"),
    ]
    first = house.client.get("/api/v1/models?limit=1").json()
    rest = house.client.get("/api/v1/models", params={"limit": 1, "cursor": first["cursor"]}).json()
    assert ([each["bundle_id"] for each in rest["models"]], rest["cursor"]) == ([bundle.bundle_id], None)
    assert house.client.get("/api/v1/models?cursor=x").json()["detail"].startswith("cursor 'x' is of no page here")


def test_a_model_stands_on_a_page_with_its_limits_and_budgets(house, bundle):
    page = house.client.get(f"/models/{bundle.bundle_id[:8]}", headers=HTML)
    assert page.status_code == 200
    assert "With 95 % confidence".lower() in page.text.lower()
    assert page.text.count("data-budget=") == len(bundle.manifest.threshold.table)
    assert len(page.content) < 200_000
    listed = house.client.get("/models", headers=HTML).text
    assert f"/models/{bundle.bundle_id}" in listed


def test_figures_stand_side_by_side_by_part_and_family(house, bundle, second):
    settings = house.settings
    with closing(open_registry(settings)) as registry:
        entry = registry.entry(bundle.bundle_id)
        judged = replace(
            entry,
            bundle_id="0123456789abcdef",
            location="gone",
            validation={"f1": 0.9, "family_recall.dos": 0.7},
            metrics={"test.f1": 0.8, "test.family_recall.dos": 0.6},
        )
        registry.register(judged, who="test", why="figures")
    asked = [("bundle", "0123456789abcdef"), ("bundle", second.bundle_id)]
    found = Comparison.model_validate(house.client.get("/api/v1/models/compare", params=asked).json())
    values = {figure.name if figure.part == "test" else f"v.{figure.name}": figure.values for figure in found.figures}
    assert values["f1"] == [0.8, None]
    assert values["v.family_recall.dos"] == [0.7, None]
    page = house.client.get("/models", params=asked, headers=HTML).text
    assert "Recall of dos" in page
    gone = house.client.get("/models/0123456789abcdef", headers=HTML)
    assert "netwarden restore 0123456789abcdef" in gone.text
    assert house.client.get("/api/v1/models/0123456789abcdef/card.md").status_code == 503


def test_a_rollback_needs_a_reason_and_serves_at_once(house, bundle, second):
    assert house.client.post("/models/rollback", data={"schema_id": "nsl_kdd", "reason": " "}).status_code == 422
    done = house.client.post("/models/rollback", data={"schema_id": "nsl_kdd", "reason": "worse at night"})
    assert (done.status_code, done.headers["location"]) == (303, f"/models?done={bundle.bundle_id}")
    assert serving(house) == bundle.bundle_id
    change = house.client.get("/api/v1/models/history?limit=1").json()["changes"][0]
    assert (change["action"], change["why"]) == ("rollback", "worse at night")
    logged = house.client.get("/api/v1/audit?limit=1").json()["lines"][0]
    assert (logged["action"], logged["object"]) == ("roll back", f"bundle {bundle.bundle_id}")
    back = house.client.post(f"/api/v1/models/{second.bundle_id}/promote", json={"reason": "mended"})
    assert ModelSummary.model_validate(back.json()).role == "champion"
    assert serving(house) == second.bundle_id


def test_there_is_no_rollback_beyond_the_first_champion_and_none_of_strangers(house):
    refused = house.client.post("/api/v1/schemas/unsw/rollback", json={"reason": "x"})
    assert (refused.status_code, refused.json()["detail"]) == (
        404,
        "schema unsw has no earlier champion to go back to",
    )
    assert house.client.post("/api/v1/models/nothing/promote", json={"reason": "x"}).status_code == 404
    assert house.client.get("/models/nothing").status_code == 404


def test_a_bundle_whose_files_are_damaged_takes_no_charge(bundle, second, tmp_path):
    settings = portal_settings(tmp_path)
    make_champion(settings, second)
    make_champion(settings, bundle)
    victim = settings.bundles_dir / second.bundle_id / "preprocessor.npz"
    victim.write_bytes(victim.read_bytes()[:-1])
    with listening(settings) as portal:
        refused = portal.client.post(f"/api/v1/models/{second.bundle_id}/promote", json={"reason": "x"})
        assert refused.status_code == 503
        assert "has another sha256" in refused.json()["detail"]
        assert serving(portal) == bundle.bundle_id


def test_applying_a_budget_makes_the_bundle_that_the_command_makes(bundle, tmp_path):
    page, command = (portal_settings(tmp_path / name) for name in ("page", "command"))
    for settings in (page, command):
        make_champion(settings, bundle, FIGURES)
    with listening(page) as portal:
        answer = portal.client.post(f"/models/{bundle.bundle_id}/threshold", data={"budget": "0.05"})
        made = answer.headers["location"].removeprefix("/models/")
        assert serving(portal) == made
        table = BudgetTable.model_validate(
            portal.client.get(f"/api/v1/models/{made}/budgets?flows_per_day=1000").json()
        )
        too_small = portal.client.post(f"/api/v1/models/{made}/threshold", json={"budget": 1e-9})
        both = portal.client.post(f"/api/v1/models/{made}/threshold", json={"budget": 0.1, "alerts_per_day": 3})
        moved = ModelSummary.model_validate(portal.client.get(f"/api/v1/models/{made}").json()["summary"])
        trained = ModelSummary.model_validate(portal.client.get(f"/api/v1/models/{bundle.bundle_id}").json()["summary"])
        shown = portal.client.get(f"/models/{made}", headers=HTML).text
        listed = portal.client.get("/models", headers=HTML).text
    row = next(row for row in table.budgets if row.in_force)
    assert moved.figures.get("validation.recall") == row.recall
    assert moved.figures["validation.false_positive_rate"] == row.realised
    assert "validation.f1" not in moved.figures and moved.figures["validation.roc_auc"] == FIGURES["roc_auc"]
    assert moved.at_another_threshold["validation.f1"] == trained.figures["validation.f1"] == FIGURES["f1"]
    assert not trained.at_another_threshold
    assert "Left out, as measured at another threshold: F1, Recall." in shown
    assert 'title="measured at another threshold">–' in listed
    assert re.search(rf"Puts <code>{bundle.bundle_id}</code> \(registered .*, budget .*\) in charge again", listed)
    assert made == set_budget(command, 0.05, "somebody").bundle_id
    assert row.alerts_per_day == pytest.approx(row.realised * 1000)
    assert too_small.status_code == both.status_code == 422
    assert "is below what this bundle can promise" in too_small.json()["detail"]
    assert "one of the two" in both.json()["detail"]


def test_the_download_unpacks_to_a_bundle_that_loads(house, bundle, tmp_path):
    answer = house.client.get(f"/api/v1/models/{bundle.bundle_id}/bundle.tar")
    assert len(answer.content) == int(answer.headers["content-length"])
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path, filter="data")
    assert load_bundle(tmp_path / bundle.bundle_id).bundle_id == bundle.bundle_id


def test_the_card_names_data_threshold_limits_and_every_feature(house, bundle):
    answer = house.client.get(f"/api/v1/models/{bundle.bundle_id}/card.md")
    assert answer.headers["content-type"].startswith("text/markdown")
    for wanted in ("## Data", "made_up", "## Limits", "No test rows have judged this bundle", "(in force)"):
        assert wanted in answer.text
    assert all(f"`{feature.name}`" in answer.text for feature in bundle.manifest.features)
