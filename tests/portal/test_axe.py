"""axe-core finds nothing on any page, light or dark."""

import shutil
import subprocess
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from netwarden.portal.app import create_app
from netwarden.sources.connect import open_alert_store
from tests.fixtures.bundles import made_up_flows
from tests.fixtures.data import ROOT
from tests.portal.conftest import listening, make_champion, portal_settings
from tests.portal.stored import made_up_alerts

pytestmark = [pytest.mark.browser, pytest.mark.slow]
AXE = ROOT / ".tools" / "axe" / "axe.min.js"
NO_PAGES = {"/train", "/logout", "/api/v1", "/static", "/openapi.json", "/metrics", "/health", "/ready"}
# The reference is drawn by Swagger UI, which is not ours to mend; the page around it is.
RUN = """async (rules) => (await axe.run({exclude: ['#swagger', '.js-plotly-plot']}, rules)).violations.map(
  found => `${found.id}: ${found.help}: ${found.nodes.slice(0, 3).map(node => node.html.slice(0, 120)).join(' | ')}`)"""


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


@pytest.fixture(scope="module")
def busy(bundle, nsl_schema, tmp_path_factory):
    """A portal with something on every page."""
    settings = portal_settings(tmp_path_factory.mktemp("busy"))
    make_champion(settings, bundle)
    with closing(open_alert_store(settings)) as store:
        store.add(made_up_alerts(bundle, made_up_flows(nsl_schema, 300, 6), datetime.now(UTC)))
    with listening(settings) as running:
        running.client.post("/api/v1/notify", json={"name": "soc", "url": "http://127.0.0.1:1/"})
        running.client.post("/api/v1/triage?source=10.0.0.3", json={"state": "false_positive", "note": "backup"})
        yield running


@pytest.fixture(scope="module")
def addresses(busy, tmp_path_factory) -> list[str]:
    """Every page: those without a parameter as the routes say them, the others by what there is."""
    routes = [one.original_route for one in iter_route_contexts(create_app(portal_settings(Path("unused"))).routes)]
    plain = {
        route.path
        for route in routes
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()) and not route.include_in_schema
        if "{" not in route.path and not any(route.path.startswith(other) for other in NO_PAGES)
    }
    client = busy.client
    sample = client.get("/schemas/nsl_kdd/sample.npy").content
    upload = client.post("/predict", files={"file": ("a.npy", sample)}).headers["content-location"]
    rows = client.get(upload, headers={"Accept": "application/json"}).json()["predictions"]
    alert = client.get("/api/v1/alerts?limit=1").json()["alerts"][0]["alert_id"]
    bundle_id = client.get("/ready").json()["bundles"]["nsl_kdd"]
    flagged = next((row["row"] for row in rows if row["prediction"]), None)
    some = [
        upload,
        f"/alerts/{alert}",
        f"/models/{bundle_id}",
        "/alerts?state=new",
        "/triage/all?state=new",
        "/nothing",
    ]
    return sorted({*plain, *some, *([f"{upload}/rows/{flagged}"] if flagged is not None else [])})


def test_axe_finds_nothing_on_any_page_in_light_and_dark(busy, addresses, axe, browser):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    faults, seen = [], 0
    for address in addresses:
        answer = page.goto(busy.address + address, wait_until="load")
        if "text/html" not in answer.headers.get("content-type", ""):
            continue
        seen += 1
        page.evaluate(axe)
        faults += [f"{address} {fault}" for fault in page.evaluate(RUN, {})]
        page.emulate_media(color_scheme="dark")
        faults += [f"{address} dark {fault}" for fault in page.evaluate(RUN, {"runOnly": ["color-contrast"]})]
        page.emulate_media(color_scheme="light")
    page.close()
    assert not faults, "\n".join(faults)
    assert seen >= 12
