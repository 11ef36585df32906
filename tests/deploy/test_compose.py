"""deploy/compose.yaml: as the specification has it, and true of the product."""

import json
import re
import stat
import subprocess
import sys

import httpx
import pytest
import yaml

from deploy.compose import make_secrets
from netwarden.settings import load_settings
from netwarden.sources.redis_queue import ping
from tests.deploy.product import (
    DEPLOY,
    metric_names,
    netwarden_commands,
    parse_command,
    read_as_settings,
    unknown_names,
)
from tests.deploy.test_kubernetes import PODS
from tests.fixtures.data import ROOT
from tests.fixtures.servers import free_port, listening, script, serving, wait_until

COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "netwarden" in service["image"]}
LASTING = {name: service for name, service in SERVICES.items() if service["restart"] != "no"}


def test_it_is_as_the_compose_specification_has_it():
    run = subprocess.run(
        [script("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def test_both_profiles_hold_what_they_promise():
    demo, full = ({name for name, it in SERVICES.items() if kind in it["profiles"]} for kind in ("demo", "full"))
    assert {"portal", "worker", "sensor", "redis", "mongodb", "s3", "mlflow"} < demo
    assert full - demo == {"prometheus", "grafana"} and demo < full
    assert SERVICES["worker"]["deploy"]["replicas"] == 2


def test_what_a_service_needs_is_in_its_profiles_and_named_in_the_file():
    for name, service in SERVICES.items():
        for other in service.get("depends_on", {}):
            assert set(service["profiles"]) <= set(SERVICES[other]["profiles"]), f"{name} needs {other}"
        named = {volume.split(":")[0] for volume in service.get("volumes", [])}
        assert named <= set(COMPOSE["volumes"]), name
        assert sources(service, "secrets") <= set(COMPOSE["secrets"]), name
        assert sources(service, "configs") <= set(COMPOSE["configs"]), name
    assert all((DEPLOY / config["file"]).exists() for config in COMPOSE["configs"].values())


def sources(service, kind) -> set[str]:
    return {item if isinstance(item, str) else item["source"] for item in service.get(kind, [])}


@pytest.mark.parametrize("name", LASTING)
def test_every_lasting_service_has_a_healthcheck_and_no_privileges(name):
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("name", OURS)
def test_the_product_knows_every_command_and_every_environment_name(name):
    service = OURS[name]
    assert service["read_only"] is True
    assert unknown_names(service.get("environment", {})) == set()
    for words in netwarden_commands(service["command"]):
        parse_command(words)


def test_each_role_has_the_words_that_the_test_of_kubernetes_starts_it_with():
    for role in ("portal", "worker"):
        container = PODS[role]["containers"][0]
        assert SERVICES[role]["command"] == [*container["command"], *container["args"]]
    assert "netwarden train" in SERVICES["retrain"]["command"][-1] and PODS["retrain"]["containers"][0]["args"] == [
        "train"
    ]


def test_the_configuration_is_one_that_settings_take():
    settings = read_as_settings((DEPLOY / "compose/netwarden.yaml").read_text(encoding="utf-8"))
    assert settings.portal.allowed_hosts == ["portal"]
    assert settings.stream.host != "127.0.0.1", "health checks of other containers must reach it"


def test_ports_that_prometheus_asks_are_those_that_roles_listen_on():
    jobs = yaml.safe_load((DEPLOY / "compose/prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    asked = {job["job_name"]: job for job in jobs}
    for name in ("portal", "sensor"):
        assert asked[name]["static_configs"][0]["targets"] == [f"{name}:{port_of(name)}"]
    assert asked["worker"]["dns_sd_configs"][0]["port"] == port_of("worker")


def port_of(name) -> int:
    words = SERVICES[name]["command"]
    port = int(words[words.index("--port") + 1])
    assert f":{port}/health" in SERVICES[name]["healthcheck"]["test"][-1]
    return port


def test_every_secret_file_is_made_once_and_only_for_its_owner(tmp_path, capsys):
    folder = tmp_path / "secrets"
    make_secrets.main(folder)
    named = {secret["file"].removeprefix("compose/secrets/") for secret in COMPOSE["secrets"].values()}
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(made) == named
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    make_secrets.main(folder)
    assert "holds files already" in capsys.readouterr().out
    assert {path.name: path.read_text() for path in folder.iterdir()} == made


def test_secrets_reach_the_settings_by_the_file_alone(tmp_path):
    make_secrets.main(tmp_path / "secrets")
    (tmp_path / ".env").write_text((tmp_path / "secrets/netwarden.env").read_text())
    settings = load_settings({"NETWARDEN_WORKSPACE": str(tmp_path), **OURS["worker"]["environment"]})
    assert settings.warnings == ()
    for secret in (settings.token, settings.mongodb_uri, settings.redis_url, settings.aws_secret_access_key):
        assert secret is not None
    token = (tmp_path / "secrets/portal_token").read_text()
    assert settings.token is not None and settings.token.get_secret_value() == token
    given = json.loads((tmp_path / "secrets/s3.json").read_text())["identities"][0]["credentials"][0]
    assert given["accessKey"] == settings.aws_access_key_id


def test_redis_starts_with_its_secret_file_and_takes_the_address_in_ours(tmp_path):
    make_secrets.main(tmp_path / "secrets")
    port, conf = free_port(), tmp_path / "secrets/redis.conf"
    command = ["redis-server", str(conf), "--port", str(port), "--dir", str(tmp_path)]
    url = re.search(r"REDIS_URL=(\S+)", (tmp_path / "secrets/netwarden.env").read_text())
    assert url
    with serving(command, port, tmp_path / "redis.log"):
        assert "requirepass" in conf.read_text()
        assert ping(url[1].replace("redis:6379", f"127.0.0.1:{port}"), 5)


def test_the_bucket_is_made_once(s3_bucket):
    environment = {**s3_bucket.environment, "S3_BUCKET": f"new-{s3_bucket.name}"}
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, DEPLOY / "compose/make_bucket.py"],
            env={"PATH": "/usr/bin:/bin", "NETWARDEN_WORKSPACE": str(ROOT), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert run.stdout == f"bucket {environment['S3_BUCKET']}: there\n"


@pytest.mark.slow
def test_mlflow_starts_with_its_arguments_and_answers_its_health_check(tmp_path):
    port = free_port()
    words = SERVICES["mlflow"]["command"]
    assert words[0] == "mlflow"
    places = {"5000": str(port), "0.0.0.0": "127.0.0.1", "/var/lib/netwarden": str(tmp_path)}  # noqa: S104 - replaced, not bound
    command = [re.sub("|".join(places), lambda found: places[found[0]], word) for word in words[1:]]
    with serving([script("mlflow"), *command], port, tmp_path / "log", SERVICES["mlflow"]["environment"]):
        check = SERVICES["mlflow"]["healthcheck"]["test"][1:]
        probe = [sys.executable, *(word.replace("5000", str(port)) for word in check[1:])]
        wait_until(lambda: listening(port) and subprocess.run(probe, check=False).returncode == 0, "MLflow's answer")
        address = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1"
        asked = [httpx.get(address, headers={"Host": f"{name}:{port}"}).status_code for name in ("mlflow", "elsewhere")]
        assert asked == [200, 403], "by the name that the other services know it by, and by no other"


def test_every_metric_of_the_dashboard_is_one_of_ours():
    board = json.loads((DEPLOY / "grafana/netwarden.json").read_text(encoding="utf-8"))
    source = yaml.safe_load((DEPLOY / "grafana/source.yaml").read_text(encoding="utf-8"))["datasources"][0]
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["uid"]}
    for panel in board["panels"]:
        for target in panel["targets"]:
            named = set(re.findall(r"netwarden_\w+", target["expr"]))
            assert named and named <= metric_names(), target["expr"]
