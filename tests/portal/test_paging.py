"""Every list comes a page at a time, in the API and on pages, and no page holds what another one held."""

import io
import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pyarrow.csv as pacsv
import pytest

from netwarden import jobs
from netwarden.portal.runs.runs import KIND
from netwarden.portal.uploads.uploads import SUMMARY, uploads_folder
from netwarden.scoring.budget import set_budget
from netwarden.settings import Settings
from netwarden.sources.connect import open_alert_store, open_flow_store, open_portal_store, open_registry
from netwarden.sources.portal_store import AuditLine, line_id
from netwarden.sources.store import RejectedRow
from netwarden.triage.decisions import decide
from netwarden.triage.suppression import hide
from tests.portal.conftest import Portal, listening, make_champion, portal_settings
from tests.portal.stored import made_up_alerts, store_alerts
from tests.stores.rows import flow_rows

HTML = {"Accept": "text/html"}
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MANY = 105  # over what any page shows


@dataclass(frozen=True)
class House:
    """A portal with long lists, and what stands in addresses."""

    portal: Portal
    names: dict[str, str]


@pytest.fixture(scope="module")
def house(bundle, flows, tmp_path_factory) -> Iterator[House]:
    settings = portal_settings(tmp_path_factory.mktemp("paging"))
    make_champion(settings, bundle)
    other = set_budget(settings, 0.05, who="test").bundle_id
    store_alerts(settings, made_up_alerts(bundle, flows, NOON)[:60])
    for _ in range(4):
        jobs.start(settings.home, KIND, ["true"], settings.workspace).wait(20)
    _fill_stores(settings)
    with listening(settings) as portal:
        yield House(portal, {"upload_id": _uploads(portal, flows, bundle.bundle_id), "bundle_id": bundle.bundle_id})
    assert other != bundle.bundle_id  # the file is scored by the one, and again by the other


def _fill_stores(settings: Settings) -> None:
    with closing(open_alert_store(settings)) as alerts:
        for number in range(MANY):
            at = NOON + timedelta(seconds=number)
            decide(alerts, {"sensor": "edge"}, "new", who="ada", at=at, chosen="all", note=f"note {number}.")
            hide(alerts, {"target": "192.0.2.1"}, owner="ada", reason=f"reason {number}.", at=at, expires_at=None)
    with closing(open_portal_store(settings)) as log:
        for number in range(MANY):
            log.append(AuditLine(line_id(NOON), NOON, "ada", "admin", "192.0.2.7", "test", "it", f"line {number}."))
    with closing(open_flow_store(settings)) as store:
        for number in range(30):
            store.insert(f"set-{number}", "nsl_kdd", flow_rows([number]))
        store.quarantine("set-7", [RejectedRow("a:b.csv", line, f"reason {line}.", "x") for line in range(MANY)])
    with closing(open_registry(settings)) as registry:
        entry = registry.entries()[-1]
        for number in range(60):
            registry.register(replace(entry, bundle_id=f"{number:016x}", location="gone"), who="test", why="test")


def _uploads(portal: Portal, flows, other: str) -> str:
    """Id of a file that two bundles have scored; copies of its summary make a long history."""
    content = io.BytesIO()
    pacsv.write_csv(flows.arrow.drop_columns(["label", "family"]).slice(0, 900), content)
    answer = portal.client.post("/predict", files={"file": ("night.csv", content.getvalue())})
    upload_id = str(answer.headers["content-location"].rpartition("/")[2])
    portal.client.post(f"/api/v1/uploads/{upload_id}/rescore", json={"bundle_id": other}).raise_for_status()
    folder = uploads_folder(portal.settings)
    summary = json.loads((folder / upload_id / SUMMARY).read_text())
    for number in range(60):
        copy = f"20250101-000000-{number:06d}-5f0c2a91"
        (folder / copy).mkdir()
        (folder / copy / SUMMARY).write_text(json.dumps({**summary, "id": copy}))
    return upload_id


# Each list that the reference declares with a cursor, and what its items are called.
LISTS = {
    "/api/v1/alerts": "alerts",
    "/api/v1/alerts/groups": "groups",
    "/api/v1/audit": "lines",
    "/api/v1/datasets": "datasets",
    "/api/v1/datasets/set-7/quarantine": "rows",
    "/api/v1/models": "models",
    "/api/v1/models/history": "changes",
    "/api/v1/runs": "runs",
    "/api/v1/suppressions": "suppressions",
    "/api/v1/triage": "decisions",
    "/api/v1/uploads": "uploads",
    "/api/v1/uploads/{upload_id}/rescored/{bundle_id}/rows": "rows",
    "/api/v1/uploads/{upload_id}/rows": "rows",
}


def test_every_list_with_a_cursor_gives_each_item_once_in_pages_of_the_size_asked_for(house):
    client = house.portal.client
    paths = client.get("/openapi.json").json()["paths"]
    declared = {path for path in paths if _has_cursor(paths[path].get("get", {}))}
    assert declared == {path.replace("set-7", "{name}") for path in LISTS}
    for path, items in LISTS.items():
        address = path.format(**house.names)
        whole = client.get(address, params={"limit": 100 if items == "runs" else 1000}).json()
        assert whole["cursor"] is None and len(whole[items]) > 2, address
        limit = -(-len(whole[items]) // 3)
        sizes, found = [], []
        cursor: str | None = ""
        while cursor is not None:
            page = client.get(address, params={"limit": limit, "cursor": cursor}).json()
            sizes.append(len(page[items]))
            found += page[items]
            cursor = page["cursor"]
        assert found == whole[items], address
        assert len({json.dumps(each) for each in found}) == len(found), address
        assert set(sizes[:-1]) == {limit} and 1 <= sizes[-1] <= limit, (address, sizes)


def test_a_cursor_that_no_page_gave_is_refused_in_words(house):
    for path in LISTS:
        answer = house.portal.client.get(path.format(**house.names), params={"cursor": "no such page"})
        assert answer.status_code == 422, path
        assert answer.headers["content-type"] == "application/problem+json"
        assert "cursor" in answer.json()["detail"] and "'no such page'" in answer.json()["detail"], path
    ranked = house.portal.client.get("/api/v1/alerts/groups?sort=count&cursor=1~x")
    assert (ranked.status_code, "have one page" in ranked.json()["detail"]) == (422, True)


@pytest.mark.parametrize(
    ("path", "item", "many"),
    [
        ("/triage", r"note \d+\.", MANY),
        ("/suppressions", r"reason \d+\.", MANY),
        ("/audit?action=test", r"line \d+\.", MANY),
        ("/uploads", r'href="/uploads/([\w-]+)"', 61),
        ("/models", r'name="bundle" value="(\w+)"', 62),
        ("/data", r'id="set-set-(\d+)"', 30),
        ("/data/sets/set-7", r"a:b.csv:(\d+)", MANY),
        ("/alerts", r'href="/alerts/([0-9a-f]{32,})[?"]', 60),
    ],
)
def test_pages_of_long_lists_lead_on_and_back(house, path, item, many):
    found, address, pages = [], path, 0
    while address and pages < 10:
        text = house.portal.client.get(address, headers=HTML).text
        found += list(dict.fromkeys(re.findall(item, text)))
        onward = re.search(r'rel="next" href="([^"]+[?;]cursor=[^"]+)"', text)
        address, pages = onward[1].replace("&amp;", "&").partition("#")[0] if onward else "", pages + 1
    assert (len(found), len(set(found))) == (many, many)
    assert pages > 1 and (">Newest</a>" in text or ">First</a>" in text)


def _has_cursor(operation) -> bool:
    return "cursor" in {each["name"] for each in operation.get("parameters", [])}


@pytest.mark.browser
@pytest.mark.slow
def test_long_lists_fit_a_phone_and_their_filters_are_at_hand(house, browser):
    upload, bundle = house.names["upload_id"], house.names["bundle_id"]
    hook = {"name": "a-name-of-forty-letters-such-as-this-one", "url": f"http://127.0.0.1:9/{'services/' * 12}"}
    house.portal.client.post("/api/v1/notify", json=hook).raise_for_status()
    page = browser.new_page(viewport={"width": 390, "height": 844})
    lists = (
        "/audit",
        "/triage",
        "/suppressions",
        "/uploads",
        "/models",
        "/data",
        "/data/sets/set-7",
        "/notify",
        "/runs",
    )
    for path in (*lists, f"/uploads/{upload}/rescored/{bundle}"):
        page.goto(house.portal.address + path)
        assert page.evaluate(_TOO_WIDE) == [], path
    page.goto(house.portal.address + "/audit")
    page.get_by_label("Action").fill("rescore")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**/audit?who=&action=rescore")
    page.close()


_TOO_WIDE = """() => [document.documentElement, ...document.querySelectorAll(".scroll")]
  .filter(each => each.scrollWidth > each.clientWidth + 1)
  .map(each => (each.getAttribute("aria-label") || each.localName) + " " + each.scrollWidth)"""
