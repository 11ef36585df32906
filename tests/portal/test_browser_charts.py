"""Charts, times and keys as every page has them, in real Chromium."""

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]
_FIGURE = """async ([sheet, script, bundle]) => {
  const add = (name, facts, parent) => parent.append(Object.assign(document.createElement(name), facts));
  const known = {id: "plotly.js-style-global", className: "no-inline-styles"};
  add("link", {rel: "stylesheet", href: sheet, ...known}, document.head);
  add("script", {type: "application/json", id: "figure", textContent: JSON.stringify({
    data: [{y: [3, 1, 2], type: "bar", marker: {color: "--bad"}}], layout: {}})}, document.body);
  const main = document.getElementById("main");
  add("div", {id: "chart", className: "chart medium"}, main);
  document.getElementById("chart").dataset.figure = "figure";
  main.prepend(document.getElementById("chart"));
  const charts = document.createElement("script");
  charts.dataset.plotly = bundle;
  charts.src = script;
  document.head.append(charts);
}"""


def test_plotly_draws_follows_the_colours_and_answers_the_pointer_under_the_security_policy(portal, page):
    page.goto(portal.address + "/runs")
    page.evaluate(_FIGURE, ["/static/plotly.css", "/static/charts.js", "/static/plotly.js"])
    expect(page.locator("#chart.drawn .main-svg").first).to_be_visible(timeout=15_000)
    bar = page.locator("#chart .point path").first
    light = bar.evaluate("bar => getComputedStyle(bar).fill")
    bar.hover(force=True)
    expect(page.locator("#chart .hoverlayer text").first).to_be_visible()
    for _ in range(2):
        page.get_by_role("button", name="change").click()
    expect(bar).not_to_have_css("fill", light)
    layers = page.locator("#chart .main-svg").evaluate_all("all => all.map(svg => getComputedStyle(svg).position)")
    assert set(layers) == {"absolute"}


def test_times_are_utc_or_local_by_choice_and_the_choice_is_kept(portal, browser):
    page = browser.new_context(timezone_id="Asia/Kathmandu").new_page()  # 5 h 45 min ahead
    page.goto(portal.address)
    page.evaluate(
        """document.getElementById("main").insertAdjacentHTML("afterbegin", `<p id="at">
        <time datetime="2026-11-21T20:30:00+00:00">2026-11-21 20:30:00</time> <span class="zone">UTC</span></p>`)"""
    )
    expect(page.locator("#at")).to_have_text("2026-11-21 20:30:00 UTC")
    page.get_by_role("button", name="times; switch").click()
    expect(page.locator("#at")).to_have_text("2026-11-22 02:15:00 local")
    page.reload()
    expect(page.locator("#zone-name")).to_have_text("Local")
    page.context.close()


def test_a_question_mark_lists_the_keys_which_can_be_turned_off(portal, page):
    page.goto(portal.address)
    page.evaluate("document.querySelector('#places a[href^=\"/alerts\"]').dataset.key = 'a'")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Alerts")
    page.get_by_label("Single keys").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("button", name="Keyboard shortcuts").click()
    page.get_by_label("Single keys").check()
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    expect(page).to_have_url(portal.address + "/alerts?state=new")


def test_a_phone_opens_all_places_from_one_button_also_without_script(portal, browser):
    page = browser.new_page(viewport={"width": 390, "height": 844}, java_script_enabled=False)
    page.goto(portal.address)
    expect(page.get_by_role("link", name="Train", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Train", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Training")
    page.close()
