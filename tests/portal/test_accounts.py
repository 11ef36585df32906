"""Accounts: who logs in and how, what each role may do, and how often."""

import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from typer.testing import CliRunner

from netwarden.cli import app as commands
from netwarden.errors import ConfigError
from netwarden.portal.access.accounts import SESSION_S, Accounts
from netwarden.portal.access.limits import Limits
from netwarden.portal.access.passwords import hash_password, is_password, make_token
from netwarden.portal.access.people import ROLES, Person, Role, needs
from netwarden.portal.access.security import access_for, starts_work
from netwarden.portal.app import create_app
from netwarden.sections import PersonSettings
from tests.portal.conftest import listening, portal_settings

PASSWORD = "correct horse battery staple"
TOKENS = {role: make_token() for role in ROLES}
OPEN_TO_ALL = {"/login", "/logout"}
SAFE = {"GET", "HEAD", "OPTIONS"}


@pytest.fixture(scope="module")
def people():
    kept = hash_password(PASSWORD)
    return [{"name": f"v{role}", "role": role, "password": kept, "token": TOKENS[role][1]} for role in ROLES]


@pytest.fixture(scope="module")
def staffed(tmp_path_factory, people):
    """A portal with an account of each role."""
    with listening(portal_settings(tmp_path_factory.mktemp("staffed"), people=people)) as running:
        yield running


def bearer(role: Role) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[role][0]}"}


# --- rights -------------------------------------------------------------------------------------------------------


def test_every_route_that_does_something_says_which_role_it_needs(tmp_path):
    roles = {needs(role): role for role in ROLES}
    found = [one.original_route for one in iter_route_contexts(create_app(portal_settings(tmp_path)).routes)]
    routes = [one for one in found if isinstance(one, APIRoute) and one.path not in OPEN_TO_ALL]
    writing = [one for one in routes if not (one.methods or set()) <= SAFE or starts_work(one.path)]
    assert {"/predict", "/train", "/api/v1/triage"} <= {one.path for one in writing}
    for route in writing:
        stated = [roles[one.call] for one in route.dependant.dependencies if one.call in roles]
        assert stated, f"{route.methods} {route.path} has no needs(role)"
        assert "viewer" not in stated, f"{route.methods} {route.path} is open to viewers"


def test_a_viewer_looks_but_changes_nothing(staffed):
    assert staffed.client.get("/alerts", headers=bearer("viewer")).status_code == 200
    for method, path in (("POST", "/predict"), ("POST", "/no/such/route"), ("GET", "/train"), ("DELETE", "/alerts")):
        answer = staffed.client.request(method, path, headers=bearer("viewer"))
        assert answer.status_code == 403, path
        assert answer.json()["detail"] == "this needs the role analyst or admin; vviewer is viewer"


def test_an_analyst_decides_but_does_not_train(staffed):
    answer = staffed.client.post("/api/v1/triage?family=dos", json={"state": "duplicate"}, headers=bearer("analyst"))
    assert (answer.status_code, answer.json()["who"]) == (200, "vanalyst")
    refused = staffed.client.get("/train", headers=bearer("analyst"))
    assert (refused.status_code, refused.json()["detail"]) == (403, "this needs the role admin; vanalyst is analyst")
    assert not (staffed.settings.home / "jobs").exists()


def test_only_an_admin_reads_the_audit_log(staffed):
    assert staffed.client.get("/api/v1/audit", headers=bearer("analyst")).status_code == 403
    assert staffed.client.get("/api/v1/audit", headers=bearer("admin")).status_code == 200


def test_with_accounts_nobody_comes_in_without_a_login_not_even_on_this_machine(staffed):
    assert staffed.client.get("/alerts").status_code == 401


# --- logging in -----------------------------------------------------------------------------------------------------


def test_a_person_logs_in_with_name_and_password_and_out_again(staffed):
    with httpx.Client(base_url=staffed.address) as browser:
        wrong = browser.post("/login", data={"name": "vadmin", "token": "guess"}, headers={"Accept": "text/html"})
        assert wrong.status_code == 403
        assert "Name and password do not fit." in wrong.text
        answer = browser.post("/login", data={"name": "vadmin", "token": PASSWORD, "next": "/runs"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/runs")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert f"Max-Age={SESSION_S}" in cookie
        lines = browser.get("/api/v1/audit").json()["lines"]
        assert (lines[0]["who"], lines[0]["action"]) == ("vadmin", "log in")
        browser.post("/logout")
        assert browser.get("/runs").status_code == 401


def test_a_cookie_counts_until_its_end_and_only_as_it_was_signed(people):
    settings = [PersonSettings.model_validate(one) for one in people]
    accounts = Accounts("secret", settings)
    admin = accounts.by_token(TOKENS["admin"][0])
    assert admin == Person("vadmin", "admin", known=True)
    cookie = accounts.session(admin, now_s=1000)
    assert accounts.by_session(cookie, now_s=1000 + SESSION_S) == admin
    assert accounts.by_session(cookie, now_s=1001 + SESSION_S) is None
    name, end, signature = cookie.split(".")
    viewer = accounts.session(Person("vviewer", "viewer", known=True), now_s=1000).split(".")[0]
    for forged in (
        f"{viewer}.{end}.{signature}",
        f"{name}.{int(end) + 1}.{signature}",
        f"{name}.{end}.",
        "",
        "..",
        "é.1.x",
    ):
        assert accounts.by_session(forged, now_s=1000) is None


def test_another_password_or_another_server_secret_ends_a_login(people):
    settings = [PersonSettings.model_validate(one) for one in people]
    cookie = Accounts("secret", settings).session(Person("vadmin", "admin", known=True), now_s=0)
    changed = [one.model_copy(update={"password": type(one.password)(hash_password("another"))}) for one in settings]
    assert Accounts("secret", changed).by_session(cookie, now_s=1) is None
    assert Accounts("other", settings).by_session(cookie, now_s=1) is None


def test_the_one_token_is_an_admin_s_beside_the_accounts(tmp_path, people):
    settings = portal_settings(tmp_path, people=people)
    settings = type(settings).model_validate({**settings.model_dump(), "token": "open sesame"})
    accounts = access_for(settings).accounts
    assert accounts.by_token("open sesame") == Person("admin", "admin")
    assert accounts.by_password("", "open sesame") is None


def test_an_unknown_name_takes_as_long_as_a_wrong_password():
    kept = hash_password(PASSWORD)
    started = time.perf_counter()
    assert not is_password("guess", "")
    middle = time.perf_counter()
    assert not is_password("guess", kept)
    assert middle - started > (time.perf_counter() - middle) / 4


def handshake(portal, **headers: str) -> str:
    """The status line that opening a WebSocket is answered with."""
    url = urlsplit(portal.address)
    asked = {"Host": url.netloc, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    asked |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in asked.items())
    with socket.create_connection((url.hostname, url.port), 20) as connection:
        connection.sendall(f"GET /ws/alerts HTTP/1.1\r\n{lines}\r\n".encode())
        return connection.recv(4096).decode().partition("\r\n")[0]


def test_a_websocket_obeys_the_same_rules_and_its_origin_always_counts(staffed):
    assert handshake(staffed).startswith("HTTP/1.1 401 ")
    assert handshake(staffed, **bearer("viewer")).startswith("HTTP/1.1 101 ")
    assert handshake(staffed, **bearer("viewer"), Origin=staffed.address).startswith("HTTP/1.1 101 ")
    assert handshake(staffed, **bearer("viewer"), Origin="http://evil.example").startswith("HTTP/1.1 403 ")
    assert handshake(staffed, **bearer("viewer"), Host="evil.example").startswith("HTTP/1.1 400 ")


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "fault"),
    [
        ({"password": "hunter2"}, "was a password or token itself put here"),
        ({"password": "scrypt$3$8$1$" + "A" * 22 + "$" + "A" * 43}, "no hash that `netwarden password` makes"),
        ({}, "neither a password nor a token"),
    ],
)
def test_settings_that_let_nobody_in_are_refused_by_name(tmp_path, person, fault):
    settings = portal_settings(tmp_path, people=[{"name": "ada", "role": "admin", **person}])
    with pytest.raises(ConfigError, match=f"portal.people, ada: .*{fault}") as error:
        access_for(settings)
    assert "hunter2" not in str(error.value)


def test_two_of_one_name_are_refused(tmp_path, people):
    with pytest.raises(ConfigError, match="vadmin: there are two of this name"):
        access_for(portal_settings(tmp_path, people=[*people, {**people[2]}]))


def test_the_command_makes_hashes_that_settings_take():
    made = CliRunner().invoke(commands, ["password"], input=f"{PASSWORD}\n{PASSWORD}\n").output
    kept = made.strip().splitlines()[-1].removeprefix("password: ")
    assert is_password(PASSWORD, kept)
    assert PASSWORD not in made
    assert "at least 12" in CliRunner().invoke(commands, ["password"], input="short\nshort\n").output
    lines = CliRunner().invoke(commands, ["password", "--token"]).output.splitlines()
    token, kept = (line.rpartition(": ")[2] for line in lines)
    person = PersonSettings.model_validate({"name": "x", "role": "viewer", "token": kept})
    assert Accounts("secret", [person]).by_token(token) == Person("x", "viewer", known=True)


# --- how often ------------------------------------------------------------------------------------------------------


def test_too_many_logins_are_put_off(tmp_path):
    with listening(portal_settings(tmp_path, logins_per_minute=2)) as running:
        for _ in range(2):
            assert running.client.post("/login", data={"token": "guess"}).status_code == 403
        answer = running.client.post("/login", data={"token": "guess"})
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 30
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"].startswith("too many requests of this kind (login)")


def test_uploads_and_trainings_are_limited_for_each_person(tmp_path, people):
    with listening(portal_settings(tmp_path, people=people, uploads_per_minute=1, trainings_per_minute=1)) as running:
        for path, method in (("/predict", "POST"), ("/try", "POST")):
            statuses = [running.client.request(method, path, headers=bearer("analyst")).status_code for _ in range(2)]
            assert statuses[-1] == 429, path
        assert running.client.post("/predict", headers=bearer("admin")).status_code == 422
        refused = [running.client.get("/train", headers=bearer("viewer")).status_code for _ in range(3)]
        assert refused == [403] * 3


def test_what_was_used_up_comes_back_with_time(tmp_path):
    now = [0.0]
    limits = Limits(portal_settings(tmp_path, uploads_per_minute=6), clock=lambda: now[0])
    assert [limits.take("upload", "ada") for _ in range(7)] == [0.0] * 6 + [10.0]
    assert limits.take("upload", "bob") == 0.0
    now[0] = 10.0
    assert limits.take("upload", "ada") == 0.0
    assert limits.take("upload", "ada") > 0
