"""deploy/k8s: valid for the newest versions of Kubernetes, and true of the product."""

import os
import shutil
import subprocess
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import all_versions, major_minor

from netwarden.capture.identity import name_flows
from netwarden.settings import load_settings
from netwarden.sources.connect import open_queue
from tests.deploy.product import DEPLOY, parse_command, read_as_settings, unknown_names
from tests.fixtures.container import can_confine, confined, give_to, open_folder
from tests.fixtures.data import ROOT
from tests.fixtures.servers import free_port, script, serving, wait_until

K8S = DEPLOY / "k8s"
BASE = yaml.safe_load((K8S / "base/kustomization.yaml").read_text(encoding="utf-8"))
# Kinds of operators, whose definitions no package has; what they name is checked below.
CUSTOM = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor"}
VERSIONS = sorted({major_minor(version) for version in all_versions()}, key=lambda it: int(it.split(".")[1]))[-3:]
ENVIRONMENT = dict(pair.split("=", 1) for pair in BASE["configMapGenerator"][1]["literals"])


def documents():
    for name in BASE["resources"]:
        yield from yaml.safe_load_all((K8S / "base" / name).read_text(encoding="utf-8"))


OBJECTS = list(documents())


def named(kind: str, name: str):
    return next(it for it in OBJECTS if (it["kind"], it["metadata"]["name"]) == (kind, name))


def pod(item):
    if item["kind"] == "CronJob":
        return item["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return item["spec"]["template"]["spec"]


PODS = {it["metadata"]["name"]: pod(it) for it in OBJECTS if it["kind"] in ("Deployment", "DaemonSet", "CronJob")}
CONTAINERS = [
    (role, box) for role, spec in PODS.items() for box in (*spec.get("initContainers", []), *spec["containers"])
]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid_for_the_three_newest_versions(version):
    for item in OBJECTS:
        if item["kind"] not in CUSTOM:
            kubernetes_validate.validate(item, version, strict=True)


def test_a_misspelled_key_would_be_found():
    portal = {**named("Deployment", "portal"), "specs": {}}
    with pytest.raises(kubernetes_validate.ValidationError, match="specs"):
        kubernetes_validate.validate(portal, VERSIONS[-1], strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, which renders overlays")
@pytest.mark.parametrize("overlay", ["small", "production"])
def test_every_overlay_renders_to_valid_manifests(overlay, tmp_path):
    run = subprocess.run(
        ["kubectl", "kustomize", K8S / "overlays" / overlay],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    rendered = list(yaml.safe_load_all(run.stdout))
    assert len(rendered) == len(OBJECTS) + 2  # and two ConfigMaps
    for item in rendered:
        if item["kind"] not in CUSTOM:
            kubernetes_validate.validate(item, VERSIONS[-1], strict=True)
    assert {it["metadata"].get("namespace", "netwarden") for it in rendered} == {"netwarden"}


@pytest.mark.parametrize(("role", "container"), CONTAINERS, ids=lambda it: it if isinstance(it, str) else it["name"])
def test_every_container_keeps_to_what_it_needs(role, container):
    guard = container["securityContext"]
    assert guard["readOnlyRootFilesystem"] and not guard["allowPrivilegeEscalation"]
    assert guard["capabilities"]["drop"] == ["ALL"]
    assert guard["capabilities"].get("add", []) == (["NET_RAW"] if container["name"] == "sensor" else [])
    assert PODS[role]["securityContext"].get("runAsNonRoot") is (None if role == "sensor" else True)
    assert {"cpu", "memory"} <= set(container["resources"]["requests"]) and container["resources"]["limits"]["memory"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted <= {volume["name"] for volume in PODS[role]["volumes"]}


@pytest.mark.parametrize("role", PODS)
def test_the_product_knows_every_command_option_and_environment_name(role):
    for container in PODS[role]["containers"]:
        parse_command([*container["command"], *container["args"]])
        assert unknown_names(item["name"] for item in container.get("env", [])) == set()
    assert unknown_names(ENVIRONMENT) == set()


def test_the_configuration_is_one_that_settings_take():
    settings = read_as_settings((K8S / "base/netwarden.yaml").read_text(encoding="utf-8"))
    assert settings.stream.host != "127.0.0.1", "the kubelet asks from outside the pod"
    hosts = [rule["host"] for rule in named("Ingress", "portal")["spec"]["rules"]]
    assert settings.portal.allowed_hosts == hosts


@pytest.mark.parametrize("role", ["portal", "worker", "sensor"])
def test_port_service_monitor_and_arguments_agree(role):
    container = PODS[role]["containers"][0]
    (port,) = container["ports"]
    words = container["args"]
    assert int(words[words.index("--port") + 1]) == port["containerPort"]
    for kind in ("startup", "liveness", "readiness"):
        probe = container[f"{kind}Probe"]
        assert (probe.get("httpGet") or probe["tcpSocket"])["port"] == port["name"]
    service = named("Service", role)
    pods = named("DaemonSet" if role == "sensor" else "Deployment", role)["spec"]["template"]
    assert service["spec"]["selector"] == pods["metadata"]["labels"]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert monitored(service["metadata"]["labels"]["app.kubernetes.io/name"]) == service["spec"]["ports"][0]["name"]


def monitored(label: str) -> str:
    """Name of the port that Prometheus asks a role at."""
    for item in OBJECTS:
        if item["kind"] == "ServiceMonitor":
            chosen = item["spec"]["selector"]
            wanted = [
                *chosen.get("matchLabels", {}).values(),
                *chosen.get("matchExpressions", [{}])[0].get("values", []),
            ]
            if label in wanted:
                return str(item["spec"]["endpoints"][0]["port"])
    raise AssertionError(f"nothing monitors {label}")


def test_each_deployment_has_one_scaler_and_no_number_of_its_own():
    targets = [
        it["spec"]["scaleTargetRef"]["name"]
        for it in OBJECTS
        if it["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
    ]
    deployments = [it for it in OBJECTS if it["kind"] == "Deployment"]
    assert sorted(targets) == sorted(it["metadata"]["name"] for it in deployments)
    assert not any("replicas" in it["spec"] for it in deployments)


def test_keda_asks_for_the_stream_that_holds_unfinished_batches(redis_url):
    import redis  # noqa: PLC0415 - as fixtures do

    (trigger,) = named("ScaledObject", "worker")["spec"]["triggers"]
    stream = trigger["metadata"]["stream"]
    settings = load_settings({"NETWARDEN_WORKSPACE": str(ROOT), "REDIS_URL": redis_url})
    with closing(open_queue(settings)) as queue, redis.Redis.from_url(redis_url) as client:
        queue.publish(b"a")
        queue.publish(b"b")
        assert client.xlen(stream) == queue.depth() == 2
    assert trigger["authenticationRef"]["name"] == named("TriggerAuthentication", "redis")["metadata"]["name"]


@contextmanager
def started(role: str, *writable: Path, **servers: str):
    """Address of a role that runs with its manifest's command, environment, configuration, user and rights."""
    spec, port = PODS[role], free_port()
    container, guard = spec["containers"][0], spec["containers"][0]["securityContext"]
    with open_folder() as folder:
        home, workspace = folder / "home", workspace_of_the_image(folder / "app")
        here = {str(container["ports"][0]["containerPort"]): str(port), "eth0": "lo"}
        words = [here.get(word, word) for word in container["args"]]
        given = {name: value for name, value in ENVIRONMENT.items() if name != "S3_BUCKET"}  # at AWS: left alone
        own = {"NETWARDEN_WORKSPACE": str(workspace), "NETWARDEN_HOME": str(home), "HOME": str(home)}
        user = spec["securityContext"]["runAsUser"]
        confinement = confined(
            give_to(home, user), *writable, user=user, capabilities=tuple(guard["capabilities"].get("add", []))
        )
        with serving([*confinement, script("netwarden"), *words], port, folder / "log", given | own | servers):
            yield f"http://127.0.0.1:{port}"


def workspace_of_the_image(folder: Path) -> Path:
    shutil.copytree(ROOT / "schema", folder / "schema")
    (folder / "dvc.yaml").touch()
    (folder / "config").mkdir()
    shutil.copy(K8S / "base/netwarden.yaml", folder / "config/netwarden.yaml")
    return folder


@pytest.mark.slow
def test_the_portal_starts_as_its_manifest_says_and_answers_its_probes_and_prometheus():
    container = PODS["portal"]["containers"][0]
    with started("portal", NETWARDEN_TOKEN="open") as address:
        for kind in ("startup", "liveness", "readiness"):
            path = container[f"{kind}Probe"]["httpGet"]["path"]
            assert httpx.get(address + path, timeout=20).status_code == 200
        endpoint = named("ServiceMonitor", "portal")["spec"]["endpoints"][0]
        assert endpoint["authorization"]["credentials"]["key"] == "NETWARDEN_TOKEN"
        answer = httpx.get(address + endpoint["path"], headers={"Authorization": "Bearer open"}, timeout=20)
        assert answer.status_code == 200 and "netwarden_http_requests_total" in answer.text
        host = named("Ingress", "portal")["spec"]["rules"][0]["host"]
        assert httpx.get(f"{address}/ready", headers={"Host": host}, timeout=20).status_code == 503


@pytest.mark.slow
def test_a_worker_starts_as_its_manifest_says_and_answers_its_probe_and_prometheus(redis_url):
    container = PODS["worker"]["containers"][0]
    with started("worker", REDIS_URL=redis_url) as address:
        path = container["readinessProbe"]["httpGet"]["path"]
        wait_until(lambda: httpx.get(address + path, timeout=20).status_code == 200, "a healthy worker")
        path = named("ServiceMonitor", "roles")["spec"]["endpoints"][0]["path"]
        assert "netwarden_queue_depth" in httpx.get(address + path, timeout=20).text


@pytest.mark.slow
def test_a_sensor_opens_its_socket_with_net_raw_alone_on_read_only_paths(redis_url, kernels):
    cache = Path(name_flows.stats.cache_path)  # the volume of kernels
    if not can_confine():
        pytest.skip("needs root and a mount namespace")
    with started("sensor", cache, REDIS_URL=redis_url) as address:
        path = PODS["sensor"]["containers"][0]["readinessProbe"]["httpGet"]["path"]
        wait_until(lambda: httpx.get(address + path, timeout=20).status_code == 200, "a healthy sensor")
        assert "netwarden_capture_packets" in httpx.get(f"{address}/metrics", timeout=20).text


@pytest.mark.slow
def test_a_sensor_without_net_raw_says_what_it_lacks(kernels, tmp_path):
    if not can_confine():
        pytest.skip("needs root and a mount namespace")
    guard = confined(tmp_path, Path(name_flows.stats.cache_path), user=0)
    command = [*guard, script("netwarden"), "sensor", "--interface", "lo", "--port", "0"]
    servers = {"REDIS_URL": "redis://127.0.0.1:1", "NETWARDEN_HOME": str(tmp_path), "NETWARDEN_WORKSPACE": str(ROOT)}
    run = subprocess.run(
        command, env={**os.environ, **servers}, capture_output=True, text=True, check=False, timeout=150
    )
    assert run.returncode == 1 and "needs the capability NET_RAW" in run.stderr
