"""Who may ask: hosts, logins, cross-site requests, headers, and the addresses for machines."""

import re

import httpx
import pytest

from tests.portal.conftest import Portal, listening, portal_settings

HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A portal with a token set."""
    settings = portal_settings(tmp_path_factory.mktemp("guarded"))
    settings = type(settings).model_validate({**settings.model_dump(), "token": "open sesame"})
    with listening(settings) as running:
        yield running


def get(portal: Portal, path: str = "/", **headers: str) -> httpx.Response:
    return portal.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


# --- host ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[bad"])
def test_a_host_of_another_name_is_refused(portal, host):
    answer = get(portal, Host=host)
    assert answer.status_code == 400
    assert "localhost" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1", "[::1]:8000", "192.0.2.7:8000"])
def test_our_names_and_bare_addresses_are_served(portal, host):
    assert get(portal, Host=host).status_code == 200


def test_an_allowed_host_is_served(tmp_path):
    with listening(portal_settings(tmp_path, allowed_hosts=["ids.example"])) as running:
        assert get(running, Host="ids.example").status_code == 200
        assert get(running, Host="other.example").status_code == 400


# --- login --------------------------------------------------------------------------------------------------------


def test_on_loopback_no_login_is_needed(portal):
    assert get(portal).status_code == 200


def test_a_request_that_a_proxy_passes_on_needs_a_login(portal):
    for header in ("X_Forwarded_For", "X_Real_IP", "Forwarded", "Via"):
        assert get(portal, **{header: "203.0.113.9"}).status_code == 401


def test_with_a_token_every_page_needs_a_login_but_health_and_ready_do_not(guarded):
    for path in ("/", "/runs", "/docs", "/openapi.json", "/metrics", "/train", "/uploads/x"):
        answer = get(guarded, path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
    assert get(guarded, "/health").json()["status"] == "ok"
    assert get(guarded, "/ready").status_code == 503


def test_the_token_as_bearer_opens_the_api(guarded):
    assert get(guarded, "/", Authorization="Bearer open sesame").status_code == 200
    assert get(guarded, "/", Authorization="Bearer open").status_code == 401


def test_browsers_are_sent_to_the_login_and_back(guarded):
    refused = get(guarded, "/runs?a=1", Accept="text/html")
    assert (refused.status_code, refused.headers["location"]) == (303, "/login?next=/runs%3Fa%3D1")
    with httpx.Client(base_url=guarded.address) as browser:
        assert browser.post("/login", data={"token": "wrong"}).status_code == 403
        answer = browser.post("/login", data={"token": "open sesame", "next": "/runs?a=1"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/runs?a=1")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "sesame" not in cookie
        assert browser.get("/runs").status_code == 200
        browser.post("/logout")
        assert browser.get("/runs").status_code == 401


def test_the_login_address_logs_in(guarded):
    with httpx.Client(base_url=guarded.address) as browser:
        assert browser.get("/login?token=open%20sesame").headers["location"] == "/"
        assert browser.get("/").status_code == 200


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_a_login_never_leads_elsewhere(guarded, target):
    answer = guarded.client.post("/login", data={"token": "open sesame", "next": target})
    assert answer.headers["location"] == "/"
    guarded.client.cookies.clear()


def test_bound_elsewhere_without_a_token_one_is_made_up_and_its_address_logged(tmp_path, caplog):
    with listening(portal_settings(tmp_path, host="0.0.0.0")) as running:  # noqa: S104 - in the settings; the test binds loopback
        assert len(running.access.token) > 30
        assert get(running).status_code == 401
        assert f"/login?token={running.access.token}" in caplog.text
        assert get(running, Authorization=f"Bearer {running.access.token}").status_code == 200


# --- cross-site requests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Purpose": "prefetch;prerender"},
        {"Origin": "http://evil.example"},
        {"Referer": "http://evil.example/page"},
        {"Origin": "null"},
    ],
)
def test_another_site_can_neither_start_training_nor_upload(portal, headers):
    for path, method in (("/train", "GET"), ("/train/", "GET"), ("/predict", "POST"), ("/runs/x/cancel", "POST")):
        answer = portal.client.request(method, path, headers=headers)
        assert answer.status_code == 403, (path, headers)
    assert not (portal.settings.home / "jobs").exists()


def test_a_link_on_another_site_may_open_a_page(portal):
    assert get(portal, "/", Sec_Fetch_Site="cross-site").status_code == 200


# --- proxies -------------------------------------------------------------------------------------------------------


def test_proxy_headers_count_from_configured_proxies_alone(tmp_path):
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    for proxies, secure in (([], False), (["127.0.0.1"], True)):
        settings = portal_settings(tmp_path, trusted_proxies=proxies)
        settings = type(settings).model_validate({**settings.model_dump(), "token": "t"})
        with listening(settings) as running:
            answer = running.client.post("/login", data={"token": "t"}, headers=headers)
            assert ("Secure" in answer.headers["set-cookie"]) is secure


# --- headers and machines ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/docs", "/nothing", "/static/style.css", "/health"])
def test_every_answer_has_the_security_headers(portal, path):
    answer = get(portal, path, Accept="text/html")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"


def test_a_fault_that_nobody_expected_has_the_security_headers_and_tells_no_details(empty_portal, caplog):
    damaged = empty_portal.settings.home / "jobs" / "train" / "damaged" / "job.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    answer = get(empty_portal, "/runs/damaged")
    assert answer.status_code == 500
    assert answer.json()["detail"] == "something went wrong here; the log of the portal says what"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert any(record.exc_info for record in caplog.records if record.message == "unexpected error")
    assert '<p id="detail">something went wrong' in get(empty_portal, "/runs/damaged", Accept="text/html").text


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/runs", "/static/style.css"])
def test_head_is_answered_as_get_without_a_body(portal, path):
    head, whole = portal.client.head(path), get(portal, path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]


def test_head_starts_no_training_and_opens_no_closed_page(portal, guarded):
    assert portal.client.head("/train").status_code == 405
    assert not (portal.settings.home / "jobs").exists()
    assert guarded.client.head("/runs").status_code == 401


def test_only_predictions_may_have_a_large_body(guarded):
    answer = guarded.client.post("/login", data={"token": "x" * 100_000})
    assert answer.status_code == 413
    assert answer.json()["detail"] == "the body is larger than the 64 kB that /login reads"


@pytest.mark.parametrize("path", ["/", "/runs", "/docs", "/login", "/nothing"])
def test_pages_hold_no_inline_script_or_style_and_no_foreign_address(portal, path):
    text = get(portal, path, Accept="text/html").text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", text)
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', text)


def test_docs_bring_their_own_assets(portal):
    page = get(portal, "/docs").text
    for address in re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css)[^"]*)"', page):
        assert get(portal, address).status_code == 200, address
    assert "/predict" in get(portal, "/openapi.json").json()["paths"]


def test_ready_names_the_bundle_and_is_503_without_one(portal, empty_portal, bundle):
    ready = get(portal, "/ready")
    assert (ready.status_code, ready.json()["bundles"]) == (200, {"nsl_kdd": bundle.bundle_id})
    assert get(empty_portal, "/ready").status_code == 503
    page = get(empty_portal, "/", Accept="text/html").text
    assert "Start training" in page
    assert "Restore" in page
    refused = empty_portal.client.post("/predict", files={"file": ("a.npy", b"x")})
    assert refused.status_code == 503
    assert refused.json()["detail"] == "no detector serves: nothing has been trained or restored yet"


def test_metrics_count_requests_by_route(portal):
    get(portal, "/health")
    get(portal, "/uploads/surely-not-there")
    text = get(portal, "/metrics").text
    assert 'netwarden_http_requests_total{method="GET",route="/health",status="200"}' in text
    assert 'route="/uploads/{upload_id}",status="404"' in text
    assert "surely-not-there" not in text
    portal.client.request("MKCALENDAR", "/health")
    assert "MKCALENDAR" not in get(portal, "/metrics").text
    assert "netwarden_bundle_info{bundle=" in text


def test_metrics_are_open_by_setting(tmp_path):
    settings = portal_settings(tmp_path, open_metrics=True)
    settings = type(settings).model_validate({**settings.model_dump(), "token": "t"})
    with listening(settings) as running:
        assert get(running, "/metrics").status_code == 200


def test_errors_have_one_shape(portal):
    for path, status in (("/nothing", 404), ("/uploads/x", 404), ("/runs/x", 404), ("/uploads/x?page=0", 422)):
        answer = get(portal, path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(answer.json()) == {"type", "title", "status", "detail"}
    assert portal.client.delete("/predict").json()["detail"] == "DELETE is not for /predict"
