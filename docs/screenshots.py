"""Pictures of the portal: `python docs/screenshots.py [FOLDER]`, by default docs/screenshots.

Draws the pages of a portal that it starts on a free port, with made-up flows and a small detector, in Debian's
Chromium: those that the guides show, and in `pages` every page at two widths, light and dark, with a list of them.
"""

from __future__ import annotations

import io
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the test fixtures make the small detector

from netwarden import jobs  # noqa: E402
from netwarden.detectors.bundle import DetectorBundle  # noqa: E402
from netwarden.flows.schema import load_schema  # noqa: E402
from netwarden.scoring.budget import set_budget  # noqa: E402
from netwarden.scoring.codes import sample_npy  # noqa: E402
from netwarden.scoring.model import champion  # noqa: E402
from netwarden.settings import Settings  # noqa: E402
from netwarden.sources.connect import open_flow_store  # noqa: E402
from netwarden.sources.store import RejectedRow  # noqa: E402
from tests.fixtures.bundles import SMALL_HYBRID, made_up_flows, train_bundle  # noqa: E402
from tests.portal.conftest import NAMES, Portal, listening, make_champion, portal_settings  # noqa: E402
from tests.portal.stored import made_up_alerts, store_alerts  # noqa: E402
from tests.portal.streamed import labelled, sample, scored, stream  # noqa: E402
from tests.stores.rows import flow_rows  # noqa: E402

WIDTHS = {"wide": (1440, 900), "phone": (390, 844)}
COLOURS = ("light", "dark")
_TALLEST = 2400  # pixels; what is below repeats what is above
_PALETTE = 255  # colours of a kept picture: a third of its size, and nothing that one sees


def main() -> None:
    """Write the pictures."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "screenshots"
    (target / "pages").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        settings = portal_settings(Path(folder))
        schema = load_schema("nsl_kdd", settings.schema_dir)
        with listening(settings) as portal:
            chromium = playwright.chromium.launch(
                executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-background-networking"]
            )
            bare = {"empty": "/", "no-alerts": "/alerts?state=new"}
            for name, address in bare.items():
                draw(chromium, portal, name, address, target / "pages")
            flows = made_up_flows(schema, 3000, 1)
            bundle = train_bundle(Path(folder) / "b", schema, flows, kind="hybrid", params=SMALL_HYBRID)
            make_champion(settings, bundle)
            pages = fill(portal) | fill_alerts(portal, bundle)
            pages |= fill_rest(portal, pages["verdicts"])
            pages |= fill_stream(portal, bundle)
            shown = open_page(chromium, "wide", "light")
            for name in ("detect", "verdicts", "why", "stored", "alert"):
                shown.goto(portal.address + pages[name])
                shown.screenshot(path=target / f"{name}.png")
            with flowing(portal, bundle):
                for name, address in pages.items():
                    draw(chromium, portal, name, address, target / "pages")
            draw(chromium, portal, "unfolded", pages["alerts"], target / "pages", press="a.why")
            list_pages(target / "pages", [*bare, *pages, "unfolded"])
            chromium.close()


def list_pages(folder: Path, names: list[str]) -> None:
    """A page with a row of links for each page drawn."""
    kinds = [(width, colours) for width in WIDTHS for colours in COLOURS]
    head = [f"| page | {' | '.join(f'{WIDTHS[width][0]} px, {colours}' for width, colours in kinds)} |"]
    rows = [
        f"| {name} | {' | '.join(f'[picture]({name}-{width}-{colours}.png)' for width, colours in kinds)} |"
        for name in sorted(names)
    ]
    text = [
        "# Every page of the portal",
        "",
        "Drawn by `make screenshots`, with made-up flows and a small detector.",
        "",
    ]
    (folder / "README.md").write_text("\n".join([*text, *head, "|---" * (len(kinds) + 1) + "|", *rows]) + "\n")


def fill(portal: Portal) -> dict[str, str]:
    """Addresses of pages worth a picture, once there is something on them."""
    portal.client.get("/ready")
    model = None
    while model is None:
        model = champion(portal.settings)
    flows = made_up_flows(model.schema, 1200, 5).arrow.drop_columns(["label", "family"])
    rows = flows.to_pandas()
    rows.loc[3, "protocol_type"] = "sctp9"
    address = ""
    for name, part in (("night.csv", rows[:400]), ("gateway-eu-1.csv", rows)):
        files = {"file": (name, part.to_csv(index=False).encode())}
        address = _sent(portal, files)
    array = io.BytesIO()
    np.save(array, sample_npy(model.schema, model.vocabulary, 60))
    _sent(portal, {"file": ("sample.npy", array.getvalue())})
    labels = [NAMES[name] for name in made_up_flows(model.schema, 1200, 5).arrow.column("family").to_pylist()]
    told = _sent(portal, {"file": ("labelled.csv", rows.assign(label=labels).to_csv(index=False).encode())})
    return {
        "uploads": "/uploads",
        "truth": f"{told}/truth",
        "models": "/models",
        "model": f"/models/{model.bundle.bundle_id}",
        "train": "/runs/new",
        "detect": "/",
        "verdicts": address,
        "alerts": f"{address}?show=alerts",
        "why": _first_reasons(portal, address),
        "runs": "/runs",
        "login": "/login",
        "missing": "/nothing",
        "docs": "/docs",
    }


def fill_alerts(portal: Portal, bundle: DetectorBundle) -> dict[str, str]:
    """Addresses of the pages on stored alerts, once there are some."""
    flows = made_up_flows(load_schema("nsl_kdd", portal.settings.schema_dir), 900, 6)
    store_alerts(portal.settings, made_up_alerts(bundle, flows, datetime.now(UTC)))
    judged = {"state": "false_positive", "note": "the nightly backup", "who": "Ada"}
    portal.client.post("/api/v1/triage?source=10.0.0.3", json=judged).raise_for_status()
    newest = portal.client.get("/api/v1/alerts?family=dos&limit=1").json()["alerts"][0]["alert_id"]
    judged = {"state": "true_positive", "note": "seen on the web server too", "who": "Ada"}
    portal.client.post(f"/api/v1/alerts/{newest}/triage", json=judged).raise_for_status()
    hides = {"reason": "our own load test", "days": 7, "who": "Ada"}
    portal.client.post("/api/v1/suppressions?source=10.0.0.4&family=dos", json=hides).raise_for_status()
    return {
        "stored": "/alerts?state=new",
        "repeats": "/alerts?state=new&view=repeats",
        "suppress": f"/suppressions/new?source=10.0.0.3&family=probe&alert={newest}",
        "suppressions": "/suppressions",
        "filtered": "/alerts?family=dos&source=10.0.0.1&score_from=0.5",
        "alert": f"/alerts/{newest}",
        "triage": "/triage/all?state=new&source=10.0.0.1",
        "trail": "/triage",
    }


def fill_stream(portal: Portal, bundle: DetectorBundle) -> dict[str, str]:
    """Addresses of the watching pages, once two minutes of flows have come from a sensor."""
    flows = made_up_flows(load_schema("nsl_kdd", portal.settings.schema_dir), 3000, 7)
    portal.client.get("/api/v1/live").raise_for_status()
    now = datetime.now(UTC)
    for second in range(120, 0, -1):
        at = now - timedelta(seconds=second)
        stream(portal.settings, scored(bundle, flows.slice(second * 23 % 2900, 40 + second * 7 % 30), at))
    stream(portal.settings, scored(bundle, labelled(flows), now, "lab", "replay"))
    sample(portal.settings, flows)
    while portal.client.get("/api/v1/drift").json()["state"] == "measuring":
        time.sleep(0.2)
    return {
        "overview": "/overview",
        "live": "/live",
        "data": "/data",
        "schema": "/data/schemas/netwarden_flow",
        "drift": "/drift",
    }


@contextmanager
def flowing(portal: Portal, bundle: DetectorBundle) -> Iterator[None]:
    """Some fifty flows a second from a sensor, while the block lasts."""
    flows = made_up_flows(load_schema("nsl_kdd", portal.settings.schema_dir), 3000, 8)
    ended = threading.Event()

    def flow() -> None:
        chance = random.Random(8)  # noqa: S311 - made-up traffic
        while not ended.wait(0.5):
            stream(
                portal.settings,
                scored(bundle, flows.slice(chance.randrange(2900), chance.randint(15, 40)), datetime.now(UTC)),
            )

    thread = threading.Thread(target=flow)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def fill_rest(portal: Portal, upload: str) -> dict[str, str]:
    """Addresses of the pages on what is seldom looked at, once there is something on them."""
    other = set_budget(portal.settings, 0.05, who="Ada").bundle_id
    for name, shape in (("soc", "plain"), ("slack-night-shift", "slack")):
        webhook = {"name": name, "shape": shape, "url": f"http://127.0.0.1:9/services/T0AB12CD3/B0EF45GH6/{name}"}
        portal.client.post("/api/v1/notify", json=webhook).raise_for_status()
    portal.client.post("/api/v1/notify/soc/test")  # nobody is there, which the page says
    portal.client.post(f"/api/v1{upload}/rescore", json={"bundle_id": other}).raise_for_status()
    with closing(open_flow_store(portal.settings)) as store:
        for start, end, split, label in (
            (0, 700, "train", "benign"),
            (700, 800, "train", "neptune"),
            (800, 830, "test", "nmap"),
        ):
            store.insert("office", "nsl_kdd", flow_rows(range(start, end), split, label))
        text = "0,tcp,http,SF,181,5450,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,8,8,0.00,0.00"
        store.quarantine(
            "office", [RejectedRow("monday.csv", line, f"duration: 'v{line}' is no number", text) for line in range(70)]
        )
    run = _finished_run(portal.settings, other)
    return {
        "audit": "/audit",
        "notify": "/notify",
        "rescored": f"{upload}/rescored/{other}",
        "run": f"/runs/{run}",
        "dataset": "/data/sets/office",
    }


def _finished_run(settings: Settings, bundle_id: str) -> str:
    """Id of a run that has ended well, after one that failed."""
    jobs.start(settings.home, "train", ["false"], settings.workspace).wait(20)
    job = jobs.start(settings.home, "train", ["echo", "1,200 flows read"], settings.workspace)
    job.wait(20)
    (job.folder / "results" / "plots").mkdir(parents=True)
    (job.folder / "params.json").write_bytes((ROOT / "params.json").read_bytes())
    metrics = {"recall": 0.9312, "false_positive_rate": 0.0031, "f1": 0.9417, "precision": 0.9524, "roc_auc": 0.9871}
    (job.folder / "results" / "metrics.json").write_text(json.dumps({"test": metrics}))
    receipt = {"bundle_id": bundle_id, "champion": True, "why": "no worse on validation", "run_id": ""}
    (job.folder / "results" / "receipt.json").write_text(json.dumps(receipt))
    (job.folder / "results" / "plots" / "confusion.csv").write_text(
        "actual,predicted\n" + "dos,dos\ndos,benign\nbenign,benign\n" * 20
    )
    return job.id


def _sent(portal: Portal, files: dict[str, tuple[str, bytes]]) -> str:
    for _ in range(60):  # the portal looks for a new champion every two seconds
        answer = portal.client.post("/predict", files=files)
        if answer.status_code != 503:
            break
    answer.raise_for_status()
    return answer.headers["content-location"]


def _first_reasons(portal: Portal, address: str) -> str:
    rows = portal.client.get(address, headers={"Accept": "application/json"}).json()["predictions"]
    return f"{address}/rows/{next(row['row'] for row in rows if row['prediction'])}"


def open_page(chromium: Browser, width: str, colours: str) -> Page:
    """A browser window of a width and a colour scheme."""
    size = WIDTHS[width]
    return chromium.new_page(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if colours == "dark" else "light"
    )


def draw(chromium: Browser, portal: Portal, name: str, address: str, target: Path, press: str = "") -> None:
    """A page at every width, light and dark, in full height; after a click on what `press` selects, if anything."""
    for width in WIDTHS:
        for colours in COLOURS:
            page = open_page(chromium, width, colours)
            page.on("console", lambda message: print("console:", address, message.text))  # noqa: T201 - told to whoever runs this
            page.goto(portal.address + address, wait_until="networkidle")
            if name == "docs":
                page.wait_for_selector(".opblock")
            if press:
                page.locator(press).first.click()
                page.wait_for_selector("#why")
            drawn = Image.open(io.BytesIO(page.screenshot(full_page=name != "docs")))
            small = (
                drawn.crop((0, 0, drawn.width, min(drawn.height, _TALLEST)))
                .convert("RGB")
                .quantize(_PALETTE, dither=Image.Dither.NONE)
            )
            small.save(target / f"{name}-{width}-{colours}.png", optimize=True)
            page.close()


if __name__ == "__main__":
    main()
