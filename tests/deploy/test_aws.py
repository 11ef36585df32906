"""deploy/aws: what AWS's own descriptions accept, what the product knows, and what its S3 calls need."""

import json
import os
import re
import subprocess
from collections.abc import Iterator

import boto3
import botocore.session
import httpx
import pytest
from botocore.validate import ParamValidator

from netwarden.errors import BackupError
from netwarden.settings import load_settings
from netwarden.sources.connect import open_backup
from netwarden.sources.store import Backup
from tests.deploy.product import DEPLOY, netwarden_commands, parse_command, read_as_settings, unknown_names
from tests.deploy.test_kubernetes import PODS
from tests.fixtures.data import ROOT
from tests.fixtures.servers import free_port, script, serving

AWS = DEPLOY / "aws"
ROLES = ["portal", "worker", "mlflow"]
SECRETS = {"NETWARDEN_TOKEN", "MONGODB_URI", "REDIS_URL"}
REQUESTS = {
    "task": ("ecs", "RegisterTaskDefinition"),
    "service": ("ecs", "CreateService"),
    "target-group": ("elbv2", "CreateTargetGroup"),
}


def read(name: str):
    return json.loads((AWS / f"{name}.json").read_text(encoding="utf-8"))


def faults(service: str, operation: str, request) -> str:
    """What botocore finds wrong with a request; it also names unknown members."""
    model = botocore.session.get_session().get_service_model(service)
    report = ParamValidator().validate(request, model.operation_model(operation).input_shape)
    return str(report.generate_report())


FILES = sorted(path.stem for path in AWS.glob("*.json"))


@pytest.mark.parametrize("name", [name for name in FILES if name.rpartition("-")[0] in REQUESTS])
def test_every_request_is_as_botocore_describes_it(name):
    assert faults(*REQUESTS[name.rpartition("-")[0]], read(name)) == ""


@pytest.mark.parametrize("role", ["portal", "worker"])
def test_scaling_is_as_botocore_describes_it_and_of_a_service_that_is_there(role):
    scaling, service = read(f"scaling-{role}"), read(f"service-{role}")
    assert faults("application-autoscaling", "RegisterScalableTarget", scaling["target"]) == ""
    assert faults("application-autoscaling", "PutScalingPolicy", scaling["policy"]) == ""
    for part in scaling.values():
        assert part["ResourceId"] == f"service/{service['cluster']}/{service['serviceName']}"
    assert scaling["target"]["MinCapacity"] <= service["desiredCount"] <= scaling["target"]["MaxCapacity"]


def test_a_misspelled_member_would_be_found():
    assert "cpus" in faults("ecs", "RegisterTaskDefinition", {**read("task-worker"), "cpus": "1"})


@pytest.mark.parametrize("role", ROLES)
def test_the_product_knows_every_command_environment_name_and_secret(role):
    for container in read(f"task-{role}")["containerDefinitions"]:
        for words in netwarden_commands(container["command"]):
            parse_command(words)
        given = {item["name"] for item in container.get("environment", [])}
        assert unknown_names(given) == set() and not given & SECRETS
        secret = {item["name"] for item in container.get("secrets", [])}
        assert secret <= SECRETS and unknown_names(secret) == set()
        assert container["readonlyRootFilesystem"] and "@sha256:" in container["image"]


def test_each_role_has_the_words_that_other_tests_start_it_with():
    for role in ("portal", "worker"):
        container = PODS[role]["containers"][0]
        assert read(f"task-{role}")["containerDefinitions"][-1]["command"] == [
            *container["command"],
            *container["args"],
        ]


def test_the_portals_first_container_makes_a_workspace_that_the_portal_can_write(tmp_path):
    first = read("task-portal")["containerDefinitions"][0]
    (tmp_path / "app/config").mkdir(parents=True)
    (tmp_path / "app/dvc.yaml").touch()
    (tmp_path / "workspace").mkdir()
    places = {"/app": tmp_path / "app", "/workspace": tmp_path / "workspace", "/tmp": tmp_path}  # noqa: S108 - replaced, not used
    mapped = re.sub(r"(?<![\w.])/(app|workspace|tmp)\b", lambda found: str(places[found[0]]), first["command"][-1])
    words = [*first["command"][:-1], mapped if os.geteuid() == 0 else mapped.replace("chown", "true")]
    subprocess.run(words, check=True)
    assert (tmp_path / "workspace/dvc.yaml").exists()
    assert "allowed_hosts" in (tmp_path / "workspace/config/netwarden.yaml").read_text()
    assert os.geteuid() != 0 or (tmp_path / "workspace/config").stat().st_uid == 10001


def test_the_configuration_that_the_portal_gets_is_one_that_settings_take():
    first = read("task-portal")["containerDefinitions"][0]
    assert read_as_settings(first["command"][2].split("'")[1]).portal.allowed_hosts == ["netwarden.example.org"]


@pytest.mark.parametrize("role", ROLES)
def test_containers_listen_where_health_checks_and_the_balancer_ask(role):
    container = read(f"task-{role}")["containerDefinitions"][-1]
    port = container["portMappings"][0]["containerPort"]
    assert str(port) in " ".join(container["command"])
    assert f":{port}/health" in container["healthCheck"]["command"][-1]
    service = read(f"service-{role}")
    assert service["taskDefinition"] == read(f"task-{role}")["family"]
    for balancer in service.get("loadBalancers", []):
        assert (balancer["containerName"], balancer["containerPort"]) == (container["name"], port)
        group = read("target-group-portal")
        assert (group["Port"], group["HealthCheckPath"]) == (port, "/health")


def test_two_mlflow_servers_never_write_one_database():
    service = read("service-mlflow")
    limits = service["deploymentConfiguration"]
    assert (service["desiredCount"], limits["minimumHealthyPercent"], limits["maximumPercent"]) == (1, 0, 100)


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("policy-")])
def test_a_policy_allows_no_wildcard_but_the_login_that_has_no_resource(name):
    for statement in read(name)["Statement"]:
        assert not any("*" in action for action in statement["Action"])
        assert ("*" in statement["Resource"]) == (statement["Action"] == ["ecr:GetAuthorizationToken"])


# --- policies enforced, by a server that checks them ----------------------------------------------------------


@pytest.fixture(scope="module")
def aws(tmp_path_factory) -> Iterator[str]:
    """Address of a server of its own that speaks for AWS: from here on every call needs a right."""
    port = free_port()
    with serving(
        [script("moto_server"), "-H", "127.0.0.1", "-p", str(port)], port, tmp_path_factory.mktemp("aws") / "log"
    ):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def backup_of_a_task(aws, tmp_path) -> Iterator[Backup]:
    """The bucket as a task sees it, whose rights are those of policy-task.json."""
    known = {"endpoint_url": aws, "region_name": "us-east-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    boto3.client("s3", **known).create_bucket(Bucket="netwarden-example")
    iam = boto3.client("iam", **known)
    for name in FILES:
        if name.startswith("policy-"):
            iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(read(name)))
    role = json.dumps(read("trust-tasks"))
    iam.create_role(RoleName="netwarden-task", AssumeRolePolicyDocument=role)
    iam.create_user(UserName="task")
    iam.put_user_policy(UserName="task", PolicyName="task", PolicyDocument=json.dumps(read("policy-task")))
    key = iam.create_access_key(UserName="task")["AccessKey"]
    assert httpx.post(f"{aws}/moto-api/reset-auth", content=b"0").status_code == 200
    yield open_backup(
        load_settings(
            {
                "NETWARDEN_WORKSPACE": str(ROOT),
                "S3_BUCKET": "netwarden-example",
                "AWS_ENDPOINT_URL_S3": aws,
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            }
        )
    )


def test_a_tasks_rights_are_enough_for_its_backups_and_for_no_others(backup_of_a_task, tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "bundle.json").write_bytes(b"{}")
    backup_of_a_task.check()
    for key in ("bundles/a", "reports/a/1", "manifests/lab/1"):
        assert backup_of_a_task.put_folder(key, folder).uploaded
        backup_of_a_task.get_folder(key, tmp_path / "back" / key)
    assert backup_of_a_task.keys("bundles/") == ["bundles/a"]
    with pytest.raises(BackupError, match="this key may not do that"):
        backup_of_a_task.put_folder("mlflow/a", folder)
