"""What people do, in real Chromium: upload and read verdicts, start training and see it finish."""

import io
import re

import numpy as np
import pyarrow.csv as pacsv
import pytest
from playwright.sync_api import Page, expect

from netwarden.portal.navigation import PLACES
from netwarden.scoring.codes import sample_npy
from netwarden.scoring.model import champion
from tests.portal.conftest import Portal
from tests.portal.contrast import LOW_CONTRAST

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def array_file(portal: Portal, rows: int) -> dict[str, object]:
    model = champion(portal.settings)
    assert model is not None
    content = io.BytesIO()
    np.save(content, sample_npy(model.schema, model.vocabulary, rows))
    return {"name": "flows.npy", "mimeType": "application/octet-stream", "buffer": content.getvalue()}


def choose(page: Page, file: dict[str, object]) -> None:
    page.locator("input[type=file]").set_input_files(file)  # type: ignore[arg-type] # a TypedDict made elsewhere


def test_an_analyst_uploads_an_array_and_reads_the_verdicts(portal, page):
    page.goto(portal.address)
    choose(page, array_file(portal, 120))
    expect(page.locator("#chosen")).to_contain_text("flows.npy")
    page.get_by_role("button", name="Detect").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("flows.npy")
    rows = page.locator("#verdicts tbody tr")
    expect(rows).to_have_count(50)
    shown = rows.all()
    for row in shown[:10]:
        cells = [text.strip() for text in row.locator("td").all_inner_texts()]
        assert cells[1] in ("benign", "known attack", "novel")
        assert cells[2] == ("0" if cells[1] == "benign" else "-1")
        assert 0 <= float(cells[3]) <= 1
    expect(page).to_have_url(re.compile(r"/uploads/[\w-]+$"))  # so that reloading sends nothing again
    page.get_by_role("link", name="Next").first.click()
    expect(rows.first.locator("td").first).to_have_text("50")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "flows.npy.scores.csv"


@pytest.fixture
def night(flows) -> dict[str, object]:
    """A file of flows with alerts among them."""
    content = io.BytesIO()
    pacsv.write_csv(flows.arrow.drop_columns(["label", "family"]).slice(0, 60), content)
    return {"name": "night.csv", "mimeType": "text/csv", "buffer": content.getvalue()}


def open_alerts(portal: Portal, page: Page, file: dict[str, object]) -> None:
    page.goto(portal.address)
    choose(page, file)
    page.get_by_role("button", name="Detect").click()
    page.locator(".tabs").get_by_role("link", name="Alerts").click()


def test_the_reasons_of_an_alert_unfold_below_it_and_fold_again(portal, page, night):
    open_alerts(portal, page, night)
    why = page.get_by_role("link", name=re.compile("Why row")).nth(1)
    why.click()
    unfolded = page.locator("#verdicts tbody tr").nth(2)
    expect(unfolded.get_by_role("heading", name="Like known attacks")).to_be_visible()
    expect(unfolded.locator("li").first).to_contain_text(re.compile(r"\d+ %"))
    expect(why).to_have_attribute("aria-expanded", "true")
    expect(page).to_have_url(re.compile(r"show=alerts#rows$"))
    why.click()
    expect(page.locator(".why-row")).to_have_count(0)


def test_on_a_phone_and_without_script_the_reasons_are_a_page(portal, browser, night):
    for options in ({"viewport": {"width": 360, "height": 740}}, {"java_script_enabled": False}):
        page = browser.new_page(**options)
        open_alerts(portal, page, night)
        page.get_by_role("link", name=re.compile("Why row")).first.click()
        expect(page).to_have_url(re.compile(r"/uploads/[\w-]+/rows/\d+$"))
        expect(page.get_by_role("heading", name="Like known attacks")).to_be_visible()
        page.get_by_text("features of this flow").click()
        expect(page.get_by_role("rowheader", name="src_bytes")).to_be_visible()
        page.close()


def test_a_refused_upload_is_explained_on_a_page(portal, browser):
    page = browser.new_page()  # the refusal itself is an error on the console
    page.goto(portal.address)
    choose(page, {"name": "flows.npy", "mimeType": "application/octet-stream", "buffer": b"no array"})
    page.get_by_role("button", name="Detect").click()
    expect(page.locator("#detail")).to_contain_text("flows.npy is not a .npy file")
    page.close()


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(portal, page):
    page.goto(portal.address)
    choose(page, {"name": "big.npy", "mimeType": "application/octet-stream", "buffer": b"0" * 1_000_001})
    expect(page.get_by_role("alert")).to_contain_text("big.npy is larger than the 1 MB allowed here")
    page.get_by_role("button", name="Detect").click()
    expect(page).to_have_url(portal.address + "/")


@pytest.mark.pipeline
def test_an_engineer_starts_training_from_the_page_and_sees_it_finish(studio, page):
    page.goto(studio.address + "/runs")
    page.get_by_role("button", name="Start training").click()
    expect(page).to_have_url(re.compile(r"/runs/\d{8}-\d{6}-\w+$"))
    expect(page.locator("#state")).to_contain_text("running")
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    expect(page.locator('#steps li[data-state="done"]').first).to_be_visible(timeout=90_000)
    expect(page.locator("#headline")).to_have_text("Training is successful", timeout=150_000)
    expect(page.locator('#steps li[data-state="done"]')).to_have_count(6)
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    page.get_by_role("link", name="Score a file").click()
    expect(page.get_by_role("heading", name="Detector in charge")).to_be_visible(timeout=6_000)


def test_colours_follow_the_button_and_are_remembered(portal, page):
    page.goto(portal.address)
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    button = page.get_by_role("button", name="change")
    button.click()
    assert page.evaluate(ground) == light
    button.click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark


def test_everything_on_the_page_can_be_reached_by_keyboard(portal, page):
    page.goto(portal.address)
    reached = []
    for _ in range(9 + len(PLACES)):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.innerText.trim()"))
    titles = [place.title for place in PLACES]
    assert reached[: 2 + len(titles)] == ["Skip to content", "Netwarden", *titles]
    assert "file" in reached
    assert "Detect" in reached[2 + len(titles) :]


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/runs", "/login", "upload", "why"])
def test_text_has_the_contrast_of_wcag_aa(portal, browser, night, colours, path):
    page = browser.new_page(color_scheme=colours)
    if path in ("upload", "why"):
        open_alerts(portal, page, night)
        page.wait_for_selector("#verdicts")
        if path == "why":
            page.goto(page.locator("a.why").first.evaluate("link => link.href"))
            page.get_by_text("features of this flow").click()
    else:
        page.goto(portal.address + path)
    assert page.evaluate(LOW_CONTRAST) == []
    page.close()


@pytest.mark.parametrize("path", ["/", "/runs", "/login", "upload", "why"])
def test_a_phone_never_scrolls_sideways(portal, browser, night, path):
    page = browser.new_page(viewport={"width": 360, "height": 740})
    if path in ("upload", "why"):
        open_alerts(portal, page, night)
        if path == "why":
            page.locator("a.why").first.click()
            page.wait_for_selector("#why")
    else:
        page.goto(portal.address + path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()
