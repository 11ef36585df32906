"""Following the stream live, in real Chromium."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.portal.conftest import Portal, listening, make_champion, portal_settings
from tests.portal.contrast import LOW_CONTRAST
from tests.portal.streamed import labelled, scored, stream

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def room(bundle, tmp_path_factory) -> Iterator[Portal]:
    """A portal whose stream has not begun."""
    settings = portal_settings(tmp_path_factory.mktemp("room"))
    make_champion(settings, bundle)
    with listening(settings) as running:
        yield running


def test_an_analyst_waits_for_flows_watches_them_come_pauses_and_filters(room, bundle, flows, page: Page):
    page.goto(room.address + "/live")
    expect(page.get_by_role("heading", name="Nothing has been scored yet")).to_be_visible()
    stream(room.settings, scored(bundle, flows.slice(0, 30)))
    rows = page.locator("#rows tbody tr")
    expect(rows).to_have_count(30, timeout=2500)  # on the screen within two seconds
    expect(page.locator("#state")).to_have_text("flows come in")
    expect(page.locator("#sensors")).to_contain_text("edge live interface · 30 flows")
    expect(rows.locator("a").first).to_have_attribute("href", re.compile("^/alerts/"))
    page.keyboard.press("p")
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    stream(room.settings, scored(bundle, flows.slice(30, 12)))
    page.wait_for_timeout(1300)
    assert rows.count() == 30
    page.get_by_role("button", name="Go on").click()
    expect(rows).to_have_count(42)
    page.get_by_label("Source").fill("10.0.0.2")
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(re.compile("source=10.0.0.2"))
    expect(rows.first.locator(".source")).to_contain_text("10.0.0.2")
    assert {row.split(":")[0] for row in page.locator("#rows .source").all_inner_texts()[1:]} == {"10.0.0.2"}
    expect(page.locator("#truths")).to_be_hidden()
    stream(room.settings, scored(bundle, labelled(flows.slice(42, 60)), sensor="lab", source="replay"))
    expect(page.get_by_role("heading", name="Truth of the replay")).to_be_visible(timeout=6000)
    expect(page.locator("#truths")).to_contain_text("60 flows")
    stream(room.settings, scored(bundle, labelled(flows.slice(102, 40)), sensor="lab", source="replay"))
    expect(page.locator("#truths")).to_contain_text("100 flows", timeout=6000)
    expect(rows.first.locator(".truth")).to_have_text(re.compile("benign|neptune|nmap|guess_passwd"))
    for colours, width in (("light", 1440), ("dark", 390)):
        page.emulate_media(color_scheme="dark" if colours == "dark" else "light", reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate(LOW_CONTRAST) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
