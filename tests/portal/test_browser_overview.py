"""Overview, data and drift, in real Chromium: what they say, and that they can be read anywhere."""

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from netwarden.sources.connect import open_flow_store
from netwarden.sources.store import RejectedRow
from tests.portal.conftest import Portal, listening, make_champion, make_small_workspace
from tests.portal.contrast import LOW_CONTRAST
from tests.portal.stored import made_up_alerts, store_alerts
from tests.portal.streamed import sample, scored, stream

pytestmark = [pytest.mark.browser, pytest.mark.slow]
_SENT_KB = "performance.getEntries().reduce((sum, each) => sum + (each.decodedBodySize || 0), 0) / 1000"


@pytest.fixture(scope="module")
def wall(hybrid_bundle, flows, nsl_schema, tmp_path_factory) -> Iterator[Portal]:
    """A portal with alerts, a stream, a dataset with a quarantine, and flows to measure drift on."""
    settings = make_small_workspace(tmp_path_factory.mktemp("wall"), nsl_schema)
    make_champion(settings, hybrid_bundle)
    store_alerts(settings, made_up_alerts(hybrid_bundle, flows.slice(0, 400), datetime.now(UTC)))
    with closing(open_flow_store(settings)) as store:
        store.quarantine("nsl_kdd", [RejectedRow("x.csv", n, "duration: 'x' is no number", "0,tcp") for n in range(60)])
    with listening(settings) as running:
        stream(settings, scored(hybrid_bundle, flows.slice(0, 300), datetime.now(UTC) - timedelta(seconds=2)))
        sample(settings, flows.slice(0, 1200))
        yield running


def test_the_overview_says_what_the_api_says_and_renews_itself(wall, page: Page):
    told = wall.client.get("/api/v1/overview").json()
    page.goto(wall.address + "/overview")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{told['waiting']} alerts need you")
    expect(page.locator(".tiles dd").nth(2)).to_have_text(str(told["last_day"]))
    shown = page.locator("section", has=page.get_by_role("heading", name="Top sources")).locator("li")
    titles = {"probe": "Probe", "dos": "Denial of service"}
    assert [" ".join(row.inner_text().split()) for row in shown.all()] == [
        f"{each['name']} {titles.get(each['family'], each['family'])} {each['count']}" for each in told["sources"]
    ]
    assert page.locator(".legend li").count() == len({name for each in told["timeline"] for name in each["counts"]})
    drawn = sum(sum(each["counts"].values()) for each in told["timeline"])
    bars = page.locator(".time-chart title").all_text_contents()
    assert sum(int(re.sub(r".*UTC: (\d+).*", r"\1", bar, flags=re.DOTALL)) for bar in bars) == drawn
    wall.client.post("/api/v1/triage?state=new", json={"state": "duplicate", "who": "Ada"}).raise_for_status()
    page.evaluate("renew()")
    expect(page.get_by_role("heading", level=1)).to_have_text("All is well")
    page.get_by_role("link", name="7 days").click()
    expect(page).to_have_url(re.compile("hours=168"))


def test_an_engineer_looks_a_dataset_its_quarantine_and_the_drift_of_a_feature_up(wall, page: Page):
    page.goto(wall.address + "/data")
    page.get_by_role("link", name="60 rows kept out").click()
    expect(page.locator("#quarantine")).to_contain_text("duration: … is no number")
    expect(page.get_by_role("row", name=re.compile("^neptune")).locator("td").last).to_have_text(re.compile(r"^\d+$"))
    page.locator("#quarantine").get_by_role("link", name="Next").click()
    expect(page.locator(".quarantine tbody tr")).to_have_count(10)
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Drift").click()
    expect(page.get_by_role("heading", name="What changed most")).to_be_visible()
    worst = wall.client.get("/api/v1/drift").json()["features"][0]
    expect(page.locator(".feature h3").first).to_have_text(worst["name"])
    page.locator("tbody a").last.click()
    expect(page.locator(".feature.chosen svg.icon").first).to_be_visible()


@pytest.mark.parametrize("address", ["/overview", "/data", "/data/sets/nsl_kdd", "/data/schemas/nsl_kdd", "/drift"])
def test_pages_have_contrast_fit_a_phone_and_are_light(wall, browser, address):
    for colours in ("light", "dark"):
        window = browser.new_page(color_scheme=colours, viewport={"width": 360, "height": 740})
        window.goto(wall.address + address)
        window.wait_for_selector("h2:not(:has-text('Measuring'))")
        assert window.evaluate(LOW_CONTRAST) == []
        assert window.evaluate("document.documentElement.scrollWidth") <= 360
        assert window.evaluate(_SENT_KB) < 200
        window.close()
