"""Runs of our command on Spark, each with a driver of its own: two slots on this machine, nothing listens elsewhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LOCAL = ["--engine", "spark", "--conf", "spark.master=local[2]", "--conf", "spark.sql.shuffle.partitions=4"]


def require_spark() -> None:
    """Skip where Spark cannot run, or fail in CI."""
    pytest.importorskip("pyspark", reason="PySpark is not installed: it is the extra `spark`")
    if shutil.which("java") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no java on PATH: Spark needs Java 17")


def started(settings, *arguments) -> subprocess.Popen[str]:
    """A run under way, in a process group of its own."""
    command = [str(Path(sys.executable).with_name("netwarden")), *map(str, arguments), *LOCAL]
    places = {"NETWARDEN_WORKSPACE": str(settings.workspace), "NETWARDEN_HOME": str(settings.home)}
    return subprocess.Popen(
        command,
        env=os.environ | places,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finished(settings, *arguments) -> str:
    """What a run printed."""
    run = started(settings, *arguments)
    out, faults = run.communicate(timeout=600)
    assert run.returncode == 0, faults
    return out
