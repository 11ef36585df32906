"""What an analyst does with stored alerts, in real Chromium."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from netwarden.flows.alert import Alert
from tests.portal.conftest import Portal, listening, make_champion, portal_settings
from tests.portal.contrast import LOW_CONTRAST
from tests.portal.stored import made_up_alerts, store_alerts

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def office(hybrid_bundle, flows, tmp_path_factory) -> Iterator[Portal]:
    """A portal with stored alerts, and the bundle that raised them."""
    settings = portal_settings(tmp_path_factory.mktemp("office"))
    make_champion(settings, hybrid_bundle)
    store_alerts(settings, made_up_alerts(hybrid_bundle, flows.slice(0, 900), datetime.now(UTC)))
    with listening(settings) as running:
        yield running


def test_an_analyst_narrows_the_list_judges_all_of_it_and_takes_it_back(office, page: Page):
    page.goto(office.address)
    page.get_by_role("link", name="Alerts").click()
    page.get_by_label("Family").select_option("dos")
    page.get_by_label("Source", exact=True).fill("10.0.0.2")
    page.get_by_role("button", name="Filter").click()
    count = page.locator("#count").inner_text()
    assert int(count) > 10
    page.get_by_role("link", name="Triage all").click()
    expect(page.locator("#count")).to_have_text(count)
    page.get_by_text("False positive").click()
    page.get_by_label("Note").fill("the nightly backup")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Save for all").click()
    expect(page.get_by_role("status")).to_contain_text(f"{count} alerts are now false positive")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_contain_text(f"Taken back: {count} alerts")
    page.get_by_role("link", name="Audit trail").click()
    expect(page.get_by_role("row").nth(2)).to_contain_text("the nightly backup")


def test_an_analyst_understands_one_alert_and_judges_it(office, page: Page):
    page.goto(office.address + "/alerts?family=dos")
    page.locator("#alerts .when a").nth(4).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Denial of service")
    expect(page.get_by_role("heading", name="Like known attacks")).to_be_visible()
    expect(page.get_by_role("link", name="ATT&CK T1498")).to_be_visible()
    page.get_by_text("True positive").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("true positive")


def test_alerts_that_come_in_are_announced_and_when_followed_are_on_the_screen_in_two_seconds(
    office,
    page: Page,
):
    page.goto(office.address + "/alerts?state=new")
    newest = office.client.get("/api/v1/alerts?limit=1").json()["alerts"][0]

    def arrive(name: str) -> None:
        store_alerts(office.settings, [Alert(**{**newest, "alert_id": name, "raised_at": datetime.now(UTC)})])

    arrive("first")
    expect(page.locator("#fresh")).to_have_text("Show 1 new", timeout=2500)
    page.get_by_role("button", name="Follow").click()
    expect(page.locator("#alerts tbody tr").first.locator("a").first).to_have_attribute("href", "/alerts/first")
    arrive("second")
    arrived = page.locator("#alerts tbody tr").first.locator("a").first
    expect(arrived).to_have_attribute("href", "/alerts/second", timeout=2500)


@pytest.mark.parametrize("address", ["/alerts?state=new", "alert", "/triage/all?family=dos", "/triage"])
def test_pages_on_alerts_have_contrast_and_never_scroll_a_phone_sideways(office, browser, address):
    if address == "alert":
        newest = office.client.get("/api/v1/alerts?family=dos&limit=1").json()["alerts"][0]
        address = f"/alerts/{newest['alert_id']}"
    for colours in ("light", "dark"):
        window = browser.new_page(color_scheme=colours, viewport={"width": 360, "height": 740})
        window.goto(office.address + address)
        assert window.evaluate(LOW_CONTRAST) == []
        assert window.evaluate("document.documentElement.scrollWidth") <= 360
        window.close()
