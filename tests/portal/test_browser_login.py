"""Somebody logs in, looks around as a viewer, and is refused what a viewer may not do; in real Chromium."""

import pytest
from playwright.sync_api import Browser, expect

from netwarden.portal.access.passwords import hash_password
from tests.portal.conftest import listening, portal_settings

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def staffed(tmp_path_factory):
    """A portal with a viewer and an admin."""
    kept = hash_password(PASSWORD)
    people = [{"name": name, "role": role, "password": kept} for name, role in (("eve", "viewer"), ("ada", "admin"))]
    with listening(portal_settings(tmp_path_factory.mktemp("staffed"), people=people)) as running:
        yield running


def test_a_viewer_logs_in_looks_and_is_refused_what_changes_things(staffed, browser: Browser):
    page = browser.new_page()  # not the shared fixture: a refused page is an error on its console
    page.goto(f"{staffed.address}/alerts")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("eve")
    page.get_by_label("Password or token").fill("a guess")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("Name and password do not fit.")
    expect(page.get_by_label("Name", exact=True)).to_have_value("eve")
    page.get_by_label("Password or token").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{staffed.address}/alerts")
    expect(page.locator(".foot")).to_contain_text("eve (viewer)")
    expect(page.get_by_role("link", name="audit log")).to_have_count(0)
    page.goto(f"{staffed.address}/notify")
    expect(page.get_by_role("button", name="Add and test")).to_have_count(0)
    for address, role in (("/train", "analyst or admin"), ("/audit", "admin")):
        answer = page.goto(staffed.address + address)
        assert answer is not None and answer.status == 403
        expect(page.locator("#detail")).to_have_text(f"this needs the role {role}; eve is viewer")
    assert not (staffed.settings.home / "jobs").exists()
    page.get_by_role("button", name="Log out").click()
    page.goto(f"{staffed.address}/alerts")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.close()
