"""deploy/prometheus and the dashboard: about metrics that exist, and taken by a real Prometheus."""

import json
import re
import shutil
import subprocess

import httpx
import pytest
import yaml

from netwarden import telemetry
from netwarden.streaming.health import Health, served
from tests.deploy.product import DEPLOY, metric_names
from tests.fixtures.servers import free_port, serving, wait_until

FOLDER = DEPLOY / "prometheus"
RULES = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
BOARD = json.loads((DEPLOY / "grafana/netwarden.json").read_text(encoding="utf-8"))
QUERIES = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="prometheus and promtool are not installed (Debian: apt-get install prometheus); rules were not tried",
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_is_about_metrics_of_ours(rule):
    named = set(re.findall(r"netwarden_\w+", rule["expr"]))
    assert named <= metric_names()
    assert named or rule["expr"].startswith("up{")


def test_every_alert_is_tried_healthy_and_at_fault():
    tried = yaml.safe_load((FOLDER / "alerts.test.yaml").read_text(encoding="utf-8"))["tests"]
    for test in tried:
        assert {one["alertname"] for one in test["alert_rule_test"]} == {rule["alert"] for rule in RULES}, test["name"]


def test_the_prometheus_operator_gets_the_same_rules():
    folder = DEPLOY / "k8s" / "components" / "alerts"
    component, rule = (
        yaml.safe_load((folder / name).read_text(encoding="utf-8")) for name in ("kustomization.yaml", "rules.yaml")
    )
    assert component["resources"] == ["rules.yaml"]
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))


@needs_prometheus
def test_promtool_takes_configuration_and_rules_and_each_alert_is_raised_by_its_fault_alone():
    for words in (["check", "config", "prometheus.yaml"], ["test", "rules", "alerts.test.yaml"]):
        run = subprocess.run(["promtool", *words], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr


@needs_prometheus
def test_a_real_prometheus_scrapes_a_role_raises_an_alert_and_has_data_for_every_query_of_the_dashboard(tmp_path):
    health, port = Health("worker"), free_port()
    health.report("store", "disk full")
    with served(health, "127.0.0.1", 0) as worker:
        command = [
            "prometheus",
            f"--config.file={impatient(tmp_path, worker)}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        storage = [f"--storage.tsdb.path={tmp_path / 'data'}"]
        address = f"http://127.0.0.1:{port}/api/v1"
        with serving(command + storage, port, tmp_path / "log"), httpx.Client(base_url=address, timeout=10) as asked:
            wait_until(lambda: "NetwardenWaits" in firing(asked), "the alert", 20)
            assert firing(asked) == {"NetwardenWaits"}
            wait_until(lambda: work_goes_on() and not without_data(asked), f"data for {without_data(asked)}", 20)


def work_goes_on() -> bool:
    """One more of everything that roles count: this process is the worker whom Prometheus asks."""
    for counter, labels in {
        telemetry.STREAM_FLOWS: ("worker", "live"),
        telemetry.HTTP_REQUESTS: ("GET", "/", "200"),
        telemetry.STREAM_ALERTS: (),
        telemetry.STREAM_DEAD_LETTERS: (),
    }.items():
        (counter.labels(*labels) if labels else counter).inc()
    telemetry.STREAM_SECONDS.observe(0.01)
    telemetry.HTTP_SECONDS.labels("/").observe(0.01)
    telemetry.QUEUE_DEPTH.set(3)
    telemetry.CAPTURE_DROPPED.labels("edge").set(0)
    telemetry.CAPTURE_OPEN_FLOWS.labels("edge").set(7)
    telemetry.CAPTURE_TABLE_FLOWS.labels("edge").set(100)
    telemetry.SPOOL_BYTES.labels("edge").set(0)
    telemetry.BUNDLE_INFO.labels("nsl_kdd", "a").set(1)
    telemetry.JOBS_RUNNING.labels("train").set(1)
    return True


def without_data(asked: httpx.Client) -> list[str]:
    """Queries of the dashboard that give no number."""
    answers = {query: asked.get("query", params={"query": query}).json() for query in QUERIES}
    assert all(answer["status"] == "success" for answer in answers.values()), answers
    return [
        query
        for query, answer in answers.items()
        if not any(series["value"][1] != "NaN" for series in answer["data"]["result"])
    ]


def impatient(folder, worker):
    """The configuration with a scrape a second of one worker alone, and alerts that wait for nothing."""
    settings = yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings["scrape_configs"] = [job for job in settings["scrape_configs"] if job["job_name"] == "worker"]
    settings["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{worker}"]}]
    rules = [{**rule, "for": "0s"} for rule in RULES if rule["alert"] in ("NetwardenRoleDown", "NetwardenWaits")]
    (folder / "alerts.yaml").write_text(yaml.safe_dump({"groups": [{"name": "netwarden", "rules": rules}]}))
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    return folder / "prometheus.yaml"


def firing(asked: httpx.Client) -> set[str]:
    alerts = asked.get("alerts").json()["data"]["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
