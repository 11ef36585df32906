"""What people do with models, in real Chromium: understand an alert, go back to a model, start and cancel a run."""

import re

import pytest
from playwright.sync_api import expect

from tests.portal.conftest import NAMES, labelled_csv, listening, make_champion, portal_settings
from tests.portal.contrast import LOW_CONTRAST

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def house(bundle, second, tmp_path_factory):
    """A portal with two bundles, the second in charge."""
    settings = portal_settings(tmp_path_factory.mktemp("stories"), page_rows=50)
    make_champion(settings, bundle)
    make_champion(settings, second)
    with listening(settings) as running:
        yield running


@pytest.fixture(scope="module")
def night(flows) -> dict[str, object]:
    """A file of labelled flows with alerts among them."""
    table = flows.arrow.slice(0, 300)
    labels = [NAMES[family] for family in table.column("family").to_pylist()]
    return {"name": "night.csv", "mimeType": "text/csv", "buffer": labelled_csv(table, labels)}


def upload(page, house, night) -> None:
    page.goto(house.address)
    page.locator("input[type=file]").set_input_files(night)
    page.get_by_role("button", name="Detect").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("night.csv")


def test_an_analyst_previews_and_uploads_a_file_understands_an_alert_and_sees_what_was_missed(house, page, night):
    page.goto(house.address)
    page.locator("input[type=file]").set_input_files(night)
    expect(page.locator("#preview")).to_contain_text("all 41 features")
    page.get_by_role("button", name="Detect").click()
    page.get_by_role("link", name="Score", exact=True).click()
    rows = page.locator("#verdicts tbody tr")
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("Score")
    expect(rows.first.locator(".badge")).not_to_have_text("benign")
    rows.first.get_by_role("link", name=re.compile("Why row")).click()
    expect(page.get_by_role("heading", name="Like known attacks")).to_be_visible()
    page.get_by_role("link", name="What it misses").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("What it finds, and what it misses")
    page.get_by_role("rowheader", name="neptune").get_by_role("link").click()
    shown = page.locator("#verdicts tbody tr").first
    expect(shown).to_contain_text("neptune")
    expect(shown.locator(".badge")).to_have_text("benign")


def test_an_engineer_goes_back_to_the_model_before_and_the_next_score_comes_from_it(house, page, night, bundle, second):
    upload(page, house, night)
    expect(page.locator(".head")).to_contain_text(second.bundle_id)
    page.get_by_role("link", name="Models", exact=True).click()
    page.get_by_text("Roll back").first.click()
    page.get_by_label("Why").fill("worse at night")
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("status")).to_contain_text(bundle.bundle_id)
    expect(page.locator(".reason").first).to_have_text("worse at night")
    upload(page, house, night)
    expect(page.locator(".head")).to_contain_text(bundle.bundle_id)
    page.get_by_role("button", name="Show the difference").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("of 300 rows change")
    page.goto(f"{house.address}/models/{bundle.bundle_id}")
    slider = page.get_by_role("slider")
    before = page.locator("[data-fact=alerts_per_day]").inner_text()
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator("[data-fact=alerts_per_day]")).not_to_have_text(before)
    page.get_by_label("Benign flows a day").fill("0.001")
    expect(page.locator("[data-fact=alerts_per_day]")).to_have_text("0")


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_pages_on_models_and_truth_have_contrast_and_never_scroll_sideways_on_a_phone(house, browser, night, colours):
    page = browser.new_page(color_scheme=colours, viewport={"width": 360, "height": 740})
    upload(page, house, night)
    truth = page.get_by_role("link", name="What it misses").evaluate("link => link.href")
    for address in (page.url, truth, *(house.address + path for path in ("/models", "/uploads", "/runs/new"))):
        page.goto(address)
        assert page.evaluate(LOW_CONTRAST) == [], address
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, address
    page.close()


@pytest.mark.pipeline
def test_an_engineer_changes_a_parameter_starts_a_training_watches_and_cancels_it(studio, page):
    page.goto(studio.address + "/runs/new")
    page.locator("[name='train.seed']").fill("8")
    expect(page.locator("#changes")).to_contain_text("train.seed 8")
    page.get_by_role("button", name="Start training").click()
    expect(page.locator('#state [data-shows="running"]')).to_be_visible()
    expect(page.locator('#steps li[data-state="running"]')).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator('#state [data-shows="cancelled"]')).to_be_visible(timeout=60_000)
    page.get_by_role("link", name="Training runs").click()
    expect(page.locator(".runs tbody tr").first).to_contain_text("cancelled")
