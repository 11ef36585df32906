"""What manifests may name: commands with their options, environment names, keys of the configuration, metrics."""

import re
from collections.abc import Iterable
from typing import Any

import prometheus_client
import typer
import yaml

from netwarden import cli, telemetry
from netwarden.settings import ENVIRONMENT, Settings
from tests.fixtures.data import ROOT

DEPLOY = ROOT / "deploy"
# Read by MLflow, whose server is a role of the same image.
MLFLOW = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "MLFLOW_DISABLE_TELEMETRY"}


def parse_command(words: list[str]) -> None:
    """Fail unless `netwarden` takes these words: command, options with values, arguments."""
    assert words[0] == "netwarden", words
    command: Any = typer.main.get_command(cli.app)
    rest = words[1:]
    while hasattr(command, "commands"):
        assert rest and rest[0] in command.commands, f"{words}: no such command"
        command, rest = command.commands[rest[0]], rest[1:]
    with command.make_context(" ".join(words), list(rest)):  # raises UsageError for what it does not take
        pass


def netwarden_commands(words: list[str]) -> list[list[str]]:
    """Calls of netwarden in a command, also those inside `sh -c`."""
    if words[:2] == ["sh", "-c"]:
        return [found.split() for found in re.findall(r"(?:^|&& |; |do )(netwarden [^&|;]+)", words[2])]
    return [words] if words[0] == "netwarden" else []


def unknown_names(names: Iterable[str]) -> set[str]:
    """Environment names that nothing in the image reads."""
    return set(names) - set(ENVIRONMENT) - MLFLOW


def read_as_settings(text: str) -> Settings:
    """A config/netwarden.yaml as settings take it; raises where a key is unknown."""
    return Settings.model_validate({"workspace": ROOT, "home": ROOT, "datasets": ROOT, **yaml.safe_load(text)})


def metric_names() -> set[str]:
    """Names that /metrics shows, as queries spell them."""
    assert telemetry.QUEUE_DEPTH
    names = set()
    for metric in prometheus_client.REGISTRY.collect():
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(metric.type, [""])
        names |= {metric.name + ending for ending in endings}
    return names
