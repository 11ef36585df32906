"""What an analyst does with stored alerts, in real Chromium."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

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


@pytest.fixture(scope="module")
def crowd(tmp_path_factory) -> Iterator[Portal]:
    """A portal with 5,000 alerts of a flood, and those of a scanner, over the last half an hour."""
    settings = portal_settings(tmp_path_factory.mktemp("crowd"))
    now = datetime.now(UTC)
    flood = [made(number, now - timedelta(minutes=31), family="dos", sensor="flood") for number in range(5000)]
    scan = [
        made(5000 + number, now - timedelta(seconds=45 * number), source="203.0.113.66", sensor="scan")
        for number in range(40)
    ]
    store_alerts(settings, flood + scan)
    with listening(settings) as running:
        yield running


def made(number: int, at: datetime, **facts: str) -> Alert:
    fields = {"family": "probe", "source": f"198.51.100.{number % 200}", "target": "10.0.0.5", "target_port": 22}
    known = {"bundle_id": "b1", "schema_id": "netwarden_flow", "verdict": "known_attack"}
    scores = {"score": 0.9, "threshold": 0.5}
    return Alert.model_validate(
        {"alert_id": f"{number:032x}", "flow_id": "ab", "raised_at": at, **known, **scores, **fields, **facts}
    )


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


def test_five_thousand_alerts_are_judged_at_once_and_taken_back(crowd, page: Page):
    page.goto(crowd.address + "/alerts?state=new&text=flood")
    expect(page.locator("#count")).to_have_text("5\u2009000")
    page.keyboard.press("e")
    expect(page.locator("#count")).to_have_text("5\u2009000")
    page.get_by_text("False positive").click()
    page.get_by_role("button", name="Save for all").click()
    expect(page.get_by_role("status")).to_contain_text("5\u2009000 alerts are now false positive", timeout=20_000)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_contain_text("Taken back: 5\u2009000 alerts", timeout=20_000)


def test_a_scanner_is_hidden_for_a_week_in_four_clicks_and_its_alerts_are_gone_from_the_list(crowd, page: Page):
    page.goto(crowd.address)
    page.get_by_role("link", name="Alerts", exact=True).click()  # 1
    scanner = page.locator("#alerts tr", has_text="203.0.113.66").first
    scanner.locator(".when a").click()  # 2
    page.get_by_role("link", name="Hide alerts like this").click()  # 3
    expect(page.locator("#count")).to_have_text("40")
    expect(page.get_by_label("A week")).to_be_checked()
    page.get_by_role("button", name="Hide them").click()  # 4
    expect(page.get_by_role("status")).to_contain_text("Hidden: 40 alerts of family probe, source 203.0.113.66")
    page.get_by_role("link", name="Back to alerts").click()
    expect(page.locator("#alerts tr", has_text="203.0.113.66")).to_have_count(0)
    page.get_by_role("link", name="Suppressed").click()
    expect(page.locator("#alerts tr", has_text="203.0.113.66")).to_have_count(40)
    page.goto(crowd.address + "/suppressions")
    page.get_by_role("button", name="Lift the suppression").click()
    page.goto(crowd.address + "/alerts?state=new&source=203.0.113.66")
    expect(page.locator("#count")).to_have_text("40")


def test_time_is_brushed_repeats_stand_together_and_keys_lead_through_them(crowd, page: Page):
    page.goto(crowd.address + "/alerts?text=scan")
    chart = page.locator("#timeline svg").first
    box = chart.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 40, steps=4)
    page.mouse.up()
    page.wait_for_url("**from=**")
    assert 0 < int(page.locator("#count").inner_text()) < 40
    page.get_by_role("link", name="All time").click()
    expect(page.get_by_text("Click a column, or drag over some")).to_be_visible()
    page.keyboard.press("r")
    expect(page.locator("#alerts .repeat-count")).to_have_text(["40"])
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#alerts tbody tr")).to_have_count(40)
    page.keyboard.press("j")
    page.keyboard.press("e")
    page.wait_for_url("**/alerts/*#decision")
    expect(page.locator("#decision input").first).to_be_focused()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("true positive")
    page.goto(crowd.address + "/alerts")
    page.keyboard.press("/")
    page.keyboard.type("nothing-of-the-kind")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No alert meets this filter")).to_be_visible()


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


@pytest.mark.parametrize(
    "address",
    [
        "/alerts?state=new",
        "alert",
        "/alerts?view=repeats",
        "/triage/all?family=dos",
        "/triage",
        "/suppressions",
        "/suppressions/new?source=10.0.0.1",
    ],
)
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
