"""What holds for every page: axe-core finds nothing on it, and it offers nobody what their role may not do."""

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pyarrow.csv as pacsv
import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from netwarden import jobs
from netwarden.flows.schema import load_schema
from netwarden.portal.access.passwords import make_token
from netwarden.portal.access.people import ROLES, Person, Role, needs
from netwarden.portal.app import create_app
from netwarden.portal.runs.runs import KIND
from netwarden.settings import Settings
from netwarden.sources.connect import open_alert_store, open_flow_store
from tests.fixtures.bundles import made_up_flows, train_bundle
from tests.fixtures.data import ROOT
from tests.portal.conftest import Portal, listening, make_champion, portal_settings
from tests.portal.stored import made_up_alerts
from tests.portal.streamed import labelled, sample, scored, stream
from tests.streaming.conftest import stored_rows

pytestmark = pytest.mark.slow
AXE = ROOT / ".tools" / "axe" / "axe.min.js"
HTML = {"Accept": "text/html"}
NO_PAGES = {  # GET routes outside /api that give something else
    "/health",
    "/metrics",
    "/openapi.json",
    "/ready",
    "/runs/{run_id}/events",
    "/schemas/{schema_id}/sample.npy",
    "/static/plotly.js",
    "/train",
    "/uploads/{upload_id}/scores.csv",
    "/uploads/{upload_id}/scores.json",
}
# The reference is drawn by Swagger UI, which is not ours to mend; the page around it is.
RUN = """async (rules) => (await axe.run({exclude: ['#swagger', '.js-plotly-plot']}, rules)).violations.map(
  found => `${found.id}: ${found.help}: ${found.nodes.slice(0, 3).map(node => node.html.slice(0, 120)).join(' | ')}`)"""


@dataclass(frozen=True)
class Busy:
    """A portal with something on every page, the address of each page by its route, and of some other states."""

    portal: Portal
    pages: dict[str, str]
    states: list[str]

    @property
    def addresses(self) -> list[str]:
        return [*self.pages.values(), *self.states]


@pytest.fixture(scope="module")
def busy(bundle, second, flows, nsl_schema, tmp_path_factory) -> Iterator[Busy]:
    folder = tmp_path_factory.mktemp("busy")
    for name in ("params.json", "dvc.yaml"):  # and no data: what is trained there fails at once
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "schema", folder / "schema")
    own_schema = load_schema("netwarden_flow", folder / "schema")
    (folder / "lab").mkdir()
    (folder / "lab" / "demo.pcap.gz").write_bytes(b"offered where a detector reads flows of our meter")
    settings = portal_settings(folder, page_rows=50).model_copy(update={"workspace": folder})
    make_champion(settings, second)
    make_champion(settings, bundle)
    make_champion(settings, train_bundle(folder / "own", own_schema, made_up_flows(own_schema, 600, 3)))
    with closing(open_alert_store(settings)) as alerts, closing(open_flow_store(settings)) as store:
        alerts.add(made_up_alerts(bundle, made_up_flows(nsl_schema, 300, 6), datetime.now(UTC)))
        store.insert("made_up", "nsl_kdd", stored_rows(labelled(flows.slice(0, 60))))
    with listening(settings) as portal, training_under_way(portal) as run_id:
        told = fill(portal, second.bundle_id, flows)
        portal.client.get("/api/v1/live")
        stream(settings, scored(bundle, labelled(flows.slice(0, 100)), source="replay"))
        sample(settings, flows.slice(0, 400))
        pages = {path: told.get(path, path) for path in page_routes(settings)} | {"/runs/{run_id}": f"/runs/{run_id}"}
        yield Busy(portal, pages, [told[key] for key in told if not key.startswith("/")])


@contextmanager
def training_under_way(portal: Portal) -> Iterator[str]:
    """Id of a run that goes on until the block ends, with another one waiting behind it."""
    command = [sys.executable, "-c", "import time; time.sleep(120)"]
    job = jobs.start(portal.settings.home, KIND, command, portal.settings.workspace)
    waiting = portal.client.post("/api/v1/runs", json={"wait": True}).json()["waiting"]["id"]
    try:
        yield job.id
    finally:
        portal.client.post(f"/api/v1/runs/waiting/{waiting}/cancel")
        job.cancel()
        job.wait(20)


def fill(portal: Portal, other_bundle: str, flows) -> dict[str, str]:
    """Address of each page with a parameter, by its route, and by a name those of pages in other states."""
    client = portal.client
    client.post("/api/v1/notify", json={"name": "soc", "url": "http://127.0.0.1:1/"})
    act = client.post("/api/v1/triage?source=10.0.0.3", json={"state": "false_positive", "note": "backup"}).json()
    client.post("/api/v1/suppressions?source=10.0.0.4", json={"reason": "our own", "days": 7}).raise_for_status()
    content = io.BytesIO()
    pacsv.write_csv(labelled(flows.slice(0, 300)).arrow.drop_columns(["family"]), content)
    answer = client.post("/predict", files={"file": ("night.csv", content.getvalue())}, data={"schema": "nsl_kdd"})
    upload = answer.headers["content-location"]
    client.post(f"{upload}/rescore", data={"bundle_id": other_bundle})
    rows = client.get(upload, headers={"Accept": "application/json"}).json()["predictions"]
    flagged = next(row["row"] for row in rows if row["prediction"])
    alert = client.get("/api/v1/alerts?limit=1").json()["alerts"][0]["alert_id"]
    return {
        "/uploads/{upload_id}": f"{upload}?show=alerts",
        "/uploads/{upload_id}/truth": f"{upload}/truth",
        "/uploads/{upload_id}/rows/{row}": f"{upload}/rows/{flagged}",
        "/uploads/{upload_id}/rescored/{bundle_id}": f"{upload}/rescored/{other_bundle}",
        "/alerts/{alert_id}": f"/alerts/{alert}",
        "/data/sets/{name}": "/data/sets/made_up",
        "/data/schemas/{schema_id}": "/data/schemas/nsl_kdd",
        "/models/{bundle_id}": f"/models/{other_bundle}",
        "/suppressions/new": "/suppressions/new?source=10.0.0.1",
        "new alerts": "/alerts?state=new",
        "repeats": "/alerts?view=repeats",
        "decided": f"/alerts?done={act['act_id']}",
        "nothing": "/nothing",
    }


def routes_of(settings: Settings) -> list[APIRoute]:
    found = [one.original_route for one in iter_route_contexts(create_app(settings).routes)]
    return [route for route in found if isinstance(route, APIRoute)]


def page_routes(settings: Settings) -> set[str]:
    """Paths of all routes that answer a browser with a page."""
    paths = {route.path for route in routes_of(settings) if "GET" in (route.methods or ())}
    return {path for path in paths if path not in NO_PAGES and not path.startswith("/api/")}


def test_every_page_is_among_those_that_are_looked_at(busy):
    unfilled = {route: address for route, address in busy.pages.items() if "{" in address}
    assert not unfilled, "say in `fill` what address shows each, or in NO_PAGES that it is no page"
    for address in busy.addresses:
        answer = busy.portal.client.get(address, headers=HTML)
        assert answer.headers["content-type"].startswith("text/html"), address
        assert answer.status_code == (404 if address == "/nothing" else 200), address


# --- rights -------------------------------------------------------------------------------------------------------


class Forms(HTMLParser):
    """Method and path of each form of a page; a page's address is that of a form without one."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()
        self._address = address

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "form" and told.get("method") != "dialog":
            self.found.add(((told.get("method") or "get").upper(), urlsplit(told.get("action") or self._address).path))


@pytest.fixture(scope="module")
def forms(busy, tmp_path_factory) -> dict[Role, set[tuple[str, str]]]:
    """What each role is offered on all pages, and on the first page of a portal without a bundle."""
    tokens = {role: make_token() for role in ROLES}
    people = [{"name": role, "role": role, "token": kept} for role, (_, kept) in tokens.items()]
    offered: dict[Role, set[tuple[str, str]]] = {role: set() for role in ROLES}
    with (
        portal_of(busy.portal.settings, people) as staffed,
        portal_of(portal_settings(tmp_path_factory.mktemp("empty")), people) as empty,
    ):
        for role, (token, _) in tokens.items():
            for portal, address in [(staffed, each) for each in busy.addresses] + [(empty, "/"), (empty, "/models")]:
                page = Forms(address)
                page.feed(portal.client.get(address, headers=HTML | {"Authorization": f"Bearer {token}"}).text)
                offered[role] |= page.found
    return offered


@contextmanager
def portal_of(settings: Settings, people) -> Iterator[Portal]:
    portal = type(settings.portal).model_validate({**settings.portal.model_dump(), "people": people})
    with listening(settings.model_copy(update={"portal": portal})) as running:
        yield running


def needed(routes: list[APIRoute], method: str, path: str) -> Role:
    """The role that what answers a form asks for."""
    of_needs = {needs(role): role for role in ROLES}
    route = next(one for one in routes if method in (one.methods or ()) and one.path_regex.match(path))
    stated = [of_needs[one.call] for one in route.dependant.dependencies if one.call in of_needs]
    return stated[0] if stated else "viewer"


def test_nobody_is_offered_a_form_that_their_role_may_not_send(busy, forms):
    routes = routes_of(busy.portal.settings)
    too_much = {
        f"{role}: {method} {path}"
        for role, offered in forms.items()
        for method, path in offered
        if not Person("x", role).may(needed(routes, method, path))
    }
    assert not too_much


def test_an_admin_is_offered_every_form_there_is_a_route_for(busy, forms):
    wanted = {
        route.path
        for route in routes_of(busy.portal.settings)
        if "POST" in (route.methods or ()) and not route.include_in_schema
    }
    offered = [path for method, path in forms["admin"] if method == "POST"]
    unseen = {path for path in wanted if not any(re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), one) for one in offered)}
    assert unseen == set()


# --- axe ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def axe() -> str:
    """The script, fetched by npm where it is not here yet."""
    if not AXE.exists():
        if shutil.which("npm") is None:
            pytest.skip("axe-core comes by npm, which is not here")
        done = subprocess.run([ROOT / "deploy" / "fetch_npm.sh", "axe-core", AXE.parent], timeout=120, check=False)
        if done.returncode:
            pytest.skip("npm could not fetch axe-core; is there a network?")
    return AXE.read_text(encoding="utf-8")


@pytest.mark.browser
def test_axe_finds_nothing_on_any_page_in_light_and_dark(busy, axe, browser):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.add_init_script("window.setInterval = () => 0")  # a page that comes anew would take the script away
    faults = []
    for address in busy.addresses:
        page.goto(busy.portal.address + address, wait_until="load")
        page.evaluate(axe)
        faults += [f"{address} {fault}" for fault in page.evaluate(RUN, {})]
        page.emulate_media(color_scheme="dark")
        faults += [f"{address} dark {fault}" for fault in page.evaluate(RUN, {"runOnly": ["color-contrast"]})]
        page.emulate_media(color_scheme="light")
    page.close()
    assert not faults, "\n".join(faults)
