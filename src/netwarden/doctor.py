"""What `netwarden doctor` finds: each address, credential and permission that this deployment needs."""

from __future__ import annotations

import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from importlib.metadata import version as installed_version
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from netwarden.errors import NetwardenError
from netwarden.params import load_params
from netwarden.settings import Settings

Verdict = Literal["ok", "warn", "fail"]
_FEW_FREE_BYTES = 2 * 10**9


@dataclass(frozen=True)
class Finding:
    """One line of the report; `advice` says what to do where something is wrong."""

    verdict: Verdict
    subject: str
    text: str
    advice: str = ""

    def __str__(self) -> str:
        advice = f"\n{'':19}→ {self.advice}" if self.advice else ""
        return f"{self.verdict:5} {self.subject:12} {self.text}{advice}"


@dataclass(frozen=True)
class Report:
    """All findings; healthy unless one of them fails."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        return all(finding.verdict != "fail" for finding in self.findings)

    def __str__(self) -> str:
        faults = sum(finding.verdict == "fail" for finding in self.findings)
        closing = "all is well" if self.healthy else f"{faults} of {len(self.findings)} checks failed"
        return "\n".join([*map(str, self.findings), closing])


def examine(settings: Settings) -> Report:
    """Report on this deployment. Removes again what it wrote to try a permission; shows no secret."""
    checks: list[tuple[str, Callable[[Settings], Iterator[Finding]]]] = [
        ("python", _python),
        ("packages", _packages),
        ("environment", _environment),
        ("workspace", _workspace),
        ("home", _home),
        ("datasets", _datasets),
        ("store", _store),
        ("backup", _backup),
        ("tracking", _tracking),
        ("dagshub", _dagshub),
        ("redis", _redis),
        ("champion", _champion),
        ("dvc", _dvc),
        ("portal", _portal),
    ]
    return Report(tuple(finding for subject, check in checks for finding in _run(subject, check, settings)))


def _run(subject: str, check: Callable[[Settings], Iterator[Finding]], settings: Settings) -> list[Finding]:
    """Findings of a check, up to the error of ours that ended it: such an error says what to do by itself."""
    findings: list[Finding] = []
    try:
        findings.extend(check(settings))
    except NetwardenError as error:
        findings.append(Finding("fail", subject, str(error)))
    return findings


# --- this machine -------------------------------------------------------------------------------------------


def _python(_: Settings) -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] == (3, 11):
        yield Finding("ok", "python", found)
    else:
        yield Finding("fail", "python", f"{found}, but the locked packages are for 3.11", "make setup with Python 3.11")


def _packages(settings: Settings) -> Iterator[Finding]:
    needed = [re.split(r"[^A-Za-z0-9._-]", text)[0] for text in requires("netwarden") or [] if "extra ==" not in text]
    missing = [name for name in needed if _installed(name) is None]
    if missing:
        yield Finding("fail", "packages", f"not installed: {', '.join(missing)}", "make setup")
    if _installed("xgboost") and _installed("xgboost-cpu"):
        yield Finding("fail", "packages", "xgboost and xgboost-cpu overwrite each other", "pip uninstall xgboost-cpu")
    other = _differing(settings.workspace / "requirements.lock")
    if other:
        shown = ", ".join(other[:5]) + (", …" if len(other) > 5 else "")
        yield Finding("warn", "packages", f"{len(other)} differ from requirements.lock: {shown}", "make setup")
    if not missing and not other:
        yield Finding("ok", "packages", f"{len(needed)} needed, all there")


def _differing(lock: Path) -> list[str]:
    if not lock.exists():
        return []
    pins = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    found = ((name, pin, _installed(name)) for name, pin in pins)
    return [f"{name} {have} (locked: {pin})" for name, pin, have in found if have is not None and have != pin]


def _installed(name: str) -> str | None:
    try:
        return installed_version(name)
    except PackageNotFoundError:
        return None


def _environment(settings: Settings) -> Iterator[Finding]:
    for warning in settings.warnings:
        yield Finding("warn", "environment", warning, "rename or remove the variable; .env.example lists all of them")


def _workspace(settings: Settings) -> Iterator[Finding]:
    from netwarden.flows.labels import load_families  # noqa: PLC0415 - heavy: only when asked
    from netwarden.flows.schema import load_schema, schema_ids  # noqa: PLC0415

    if not (settings.workspace / "dvc.yaml").exists():
        yield Finding(
            "fail",
            "workspace",
            f"{settings.workspace} holds no dvc.yaml",
            "run from a checkout of Netwarden, or set NETWARDEN_WORKSPACE to one",
        )
        return
    load_params(settings.workspace / "params.json")
    load_families(settings.schema_dir / "families.yaml")
    names = [load_schema(name, settings.schema_dir).id for name in schema_ids(settings.schema_dir)]
    yield Finding("ok", "workspace", f"{settings.workspace}, schemas {', '.join(names)}")


def _home(settings: Settings) -> Iterator[Finding]:
    nearest = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        advice = "change its owner, or set NETWARDEN_HOME to a folder that can be written"
        yield Finding("fail", "home", f"{settings.home} cannot be written: {error.strerror}", advice)
        return
    free = shutil.disk_usage(nearest).free
    text = f"{settings.home}, {free / 1e9:.1f} GB free"
    few = free < _FEW_FREE_BYTES
    yield Finding("warn" if few else "ok", "home", text, "a training run may need 2 GB: make room" if few else "")


def _datasets(settings: Settings) -> Iterator[Finding]:
    there = settings.datasets.is_dir()
    yield Finding("ok", "datasets", f"{settings.datasets}" if there else f"{settings.datasets}: none downloaded yet")


# --- addresses and credentials ------------------------------------------------------------------------------


def _store(settings: Settings) -> Iterator[Finding]:
    from netwarden.sources.connect import open_alert_store, open_flow_store, open_registry  # noqa: PLC0415

    flows, alerts, registry = open_flow_store(settings), open_alert_store(settings), open_registry(settings)
    try:
        there = len(flows.datasets())
        name = f"doctor-{secrets.token_hex(8)}"
        try:
            written = flows.insert(name, "doctor", _probe_row()).inserted
            read = sum(table.num_rows for table in flows.scan(name))
        finally:
            flows.drop(name)
        if (written, read) != (1, 1):
            yield Finding("fail", "store", f"{flows.address}: of one row written, {read} came back")
            return
        facts = f"{there} datasets, {alerts.count()} alerts, {len(registry.entries())} bundles"
        yield Finding("ok", "store", f"{flows.address}: read, written and removed; {facts}")
    finally:
        for store in (flows, alerts, registry):
            store.close()


def _probe_row() -> Any:
    import pyarrow as pa  # noqa: PLC0415 - heavy: only when asked

    return pa.table({"row_id": pa.array([secrets.token_bytes(16)], pa.binary(16))})


def _backup(settings: Settings) -> Iterator[Finding]:
    from netwarden.sources.connect import open_backup  # noqa: PLC0415

    backup = open_backup(settings)
    backup.check()
    yield Finding("ok", "backup", f"{backup.address}: written, read and removed")


def _tracking(settings: Settings) -> Iterator[Finding]:
    from netwarden.training.remotes import probe_tracking  # noqa: PLC0415

    if not settings.mlflow_uri:
        yield Finding("ok", "tracking", "local MLflow store under NETWARDEN_HOME")
        return
    problem = probe_tracking(settings)
    if problem:
        advice = "check MLFLOW_TRACKING_URI and its user and password; until then runs are kept and synced later"
        yield Finding("fail", "tracking", problem, advice)
    else:
        web = settings.mlflow_uri.startswith("http")
        yield Finding("ok", "tracking", f"{settings.mlflow_uri}: {'signed in' if web else 'opened by MLflow itself'}")


def _dagshub(settings: Settings) -> Iterator[Finding]:
    from netwarden.training.remotes import probe_tracking  # noqa: PLC0415

    repo, token = settings.dagshub_repo, settings.dagshub_token
    if repo is None and token is None:
        return
    if repo is None or token is None:
        missing = "DAGSHUB_TOKEN" if repo else "DAGSHUB_REPO"
        advice = "make a token under User settings, Tokens on DagsHub" if repo else "set it to OWNER/REPO"
        yield Finding("fail", "dagshub", f"{missing} is not set", advice)
        return
    uri = f"{settings.dagshub_url}/{repo}.mlflow"
    signed = {"mlflow_uri": uri, "mlflow_username": repo.split("/")[0], "mlflow_password": token}
    problem = probe_tracking(settings.model_copy(update=signed))
    if problem:
        yield Finding("fail", "dagshub", problem, "check the repository's name and DAGSHUB_TOKEN")
    else:
        yield Finding("ok", "dagshub", f"{repo}: signed in")


def _redis(settings: Settings) -> Iterator[Finding]:
    if settings.redis_url is None:
        return
    from netwarden.sources.redis_queue import ping  # noqa: PLC0415

    yield Finding("ok", "redis", f"{ping(settings.redis_url.get_secret_value(), settings.store.timeout_s)} answers")


# --- what is in charge --------------------------------------------------------------------------------------


def _champion(settings: Settings) -> Iterator[Finding]:
    from netwarden.detectors.bundle import load_bundle  # noqa: PLC0415
    from netwarden.sources.connect import open_registry  # noqa: PLC0415

    registry = open_registry(settings)
    try:
        schemas = sorted({entry.schema_id for entry in registry.entries()})
        champions = [entry for entry in map(registry.champion, schemas) if entry]
    finally:
        registry.close()
    if not champions:
        yield Finding("ok", "champion", "none yet; `python main.py` or `netwarden restore` brings the first")
    for entry in champions:
        try:
            load_bundle(settings.bundles_dir / entry.location)
        except NetwardenError as error:
            advice = f"netwarden restore {entry.bundle_id}, or netwarden models promote another"
            yield Finding("fail", "champion", f"{entry.schema_id}: {error}", advice)
        else:
            yield Finding("ok", "champion", f"{entry.schema_id}: bundle {entry.bundle_id}, verified")


def _dvc(settings: Settings) -> Iterator[Finding]:
    found = _installed("dvc")
    if found is None:
        yield Finding("fail", "dvc", "not installed", "make setup")
    elif not (settings.workspace / ".dvc" / "config").exists():
        advice = f"dvc init --no-scm in {settings.workspace}, or check the project out with git"
        yield Finding("fail", "dvc", f"{found}, but {settings.workspace} is no DVC project", advice)
    else:
        yield Finding("ok", "dvc", found)


def _portal(settings: Settings) -> Iterator[Finding]:
    host, port = settings.portal.host, settings.portal.port
    if _loopback(host):
        yield Finding("ok", "portal", f"http://{host}:{port}, this machine only")
    elif settings.token:
        yield Finding("ok", "portal", f"http://{host}:{port}, login with NETWARDEN_TOKEN")
    else:
        advice = "set NETWARDEN_TOKEN to keep one login; otherwise each start logs a new one"
        yield Finding("warn", "portal", f"http://{host}:{port} is open to the network and has no token", advice)


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
