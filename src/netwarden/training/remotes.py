"""Addresses beyond this machine: the tracking server, DagsHub, and the DVC remotes that hold data snapshots."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from concurrent.futures import Future
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from netwarden import logs
from netwarden.errors import BackupError, ConfigError, TrackingError
from netwarden.settings import Settings

_log = logs.get(__name__)
SNAPSHOTS, DAGSHUB = "snapshots", "dagshub"
_EXPERIMENTS = "/api/2.0/mlflow/experiments/search?max_results=1"


# --- tracking server ----------------------------------------------------------------------------------------------


def probe_tracking(settings: Settings) -> str:
    """Empty where the tracking server answers and takes our credentials, else what is wrong in one phrase.

    Takes `tracking.timeout_s` at most, whatever the network does.
    """
    address = settings.mlflow_uri or ""
    if not address.startswith(("http://", "https://")):
        return (
            "" if _names_a_store(address) else f"{address} is no address of a tracking server; it begins with https://"
        )
    password = settings.mlflow_password.get_secret_value() if settings.mlflow_password else ""
    user = settings.mlflow_username or ""
    return _problem(address, address.rstrip("/") + _EXPERIMENTS, user, password, settings.tracking.timeout_s)


def _names_a_store(address: str) -> bool:
    """Whether MLflow opens the address itself: a folder, or a database."""
    scheme, separator, _ = address.partition("://")
    return not separator or scheme.split("+")[0] in ("file", "sqlite", "postgresql", "mysql", "mssql")


def _problem(address: str, url: str, user: str, password: str, timeout_s: float) -> str:
    try:
        status = _within(timeout_s, url, user, password)
    except TimeoutError:
        return f"{address} did not answer within {timeout_s:g} s"
    except (OSError, HTTPException) as error:
        return f"{address} cannot be reached: {getattr(error, 'reason', error)}"
    if status in (401, 403):
        return f"{address} refuses the credentials of user {user or '(none)'} (HTTP {status})"
    return f"{address} answers HTTP {status}; is the address right?" if status >= 300 else ""


def _within(timeout_s: float, url: str, user: str, password: str) -> int:
    """Status of a GET, or TimeoutError: looking a name up has no timeout of its own, so a thread waits for it."""
    answer: Future[int] = Future()

    def ask() -> None:
        try:
            answer.set_result(_status(url, user, password, timeout_s))
        except (OSError, HTTPException) as error:
            answer.set_exception(error)

    Thread(target=ask, name="probe", daemon=True).start()
    return answer.result(timeout_s)


def _status(url: str, user: str, password: str, timeout_s: float) -> int:
    request = Request(url)  # noqa: S310 - callers pass http and https only
    if password:
        secret = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {secret}")
    try:
        with build_opener(_Stay).open(request, timeout=timeout_s) as response:
            return int(response.status)
    except HTTPError as error:
        error.close()
        return error.code


class _Stay(HTTPRedirectHandler):
    """Follows no redirect, which would carry the credentials to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


# --- DagsHub ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Connection:
    """What `connect` set up and verified."""

    repo: str
    tracking: str
    remote: str
    note: str = ""

    def __str__(self) -> str:
        lines = [f"DagsHub {self.repo}: signed in", f"MLflow      {self.tracking}", f"DVC remote  {self.remote}"]
        return "\n".join([*lines, self.note] if self.note else lines)


def connect(settings: Settings, repo: str) -> Connection:
    """DagsHub as tracking server and DVC remote of this workspace, verified with a request to each.

    Raises ConfigError without a token or for a name that is not OWNER/REPO, TrackingError where DagsHub refuses.
    """
    owner, _, name = repo.partition("/")
    if not owner or not name or "/" in name:
        raise ConfigError(f"{repo!r} is not OWNER/REPO, as in the repository's address on DagsHub")
    if settings.dagshub_token is None:
        raise ConfigError(
            "DAGSHUB_TOKEN is not set; make one under User settings, Tokens on DagsHub, and put it in .env"
        )
    tracking, remote = f"{settings.dagshub_url}/{repo}.mlflow", f"{settings.dagshub_url}/{repo}.dvc"
    token = settings.dagshub_token.get_secret_value()
    for address, url in ((tracking, tracking + _EXPERIMENTS), (remote, remote)):
        problem = _problem(address, url, owner, token, settings.tracking.timeout_s)
        # A DVC remote has no page of its own: anything but a refusal shows that it is there and lets us in.
        if problem and not (address == remote and "answers HTTP" in problem):
            raise TrackingError(f"{problem}; check the repository's name and DAGSHUB_TOKEN")
    linked = settings.model_copy(update={"dagshub_repo": repo})
    configure_remotes(linked)
    return Connection(repo, tracking, remote, _remember(settings, repo, tracking))


def _remember(settings: Settings, repo: str, tracking: str) -> str:
    """Write DAGSHUB_REPO to .env, so that later runs track there; what to do by hand where another address wins."""
    if settings.mlflow_uri == tracking:
        return ""
    if settings.mlflow_uri:
        return f"MLFLOW_TRACKING_URI is set to {settings.mlflow_uri} and wins; set it to {tracking} to track there"
    from dotenv import set_key  # noqa: PLC0415 - only here

    set_key(settings.workspace / ".env", "DAGSHUB_REPO", repo, quote_mode="never")
    return f"DAGSHUB_REPO={repo} written to {settings.workspace / '.env'}"


# --- DVC remotes --------------------------------------------------------------------------------------------------


def configure_remotes(settings: Settings) -> list[str]:
    """Names of the DVC remotes, after .dvc/config.local (which git ignores) says where they are."""
    wanted = {SNAPSHOTS: _snapshots(settings)}
    if settings.dagshub_repo and settings.dagshub_token:
        wanted[DAGSHUB] = {
            "url": f"{settings.dagshub_url}/{settings.dagshub_repo}.dvc",
            "auth": "basic",
            "user": settings.dagshub_repo.split("/")[0],
            "password": settings.dagshub_token.get_secret_value(),
        }
    _write_local_config(settings.workspace / ".dvc", wanted)
    return list(wanted)


def push_snapshots(settings: Settings) -> list[str]:
    """Names of the remotes that now hold the outputs of every finished stage; none where DVC is not at work.

    Raises BackupError where S3 or the local folder refuses. DagsHub only warns: it holds a second copy.
    """
    pushed: list[str] = []
    if not (settings.workspace / ".dvc").is_dir():
        return pushed  # the driver of Spark: its stages are not DVC's
    for remote in configure_remotes(settings):
        problem = ""
        if remote == DAGSHUB:
            problem = probe_tracking(settings)
        problem = problem or _dvc(settings, "push", "--quiet", "--remote", remote)
        if not problem:
            pushed.append(remote)
        elif remote == DAGSHUB:
            _log.warning(
                "data snapshot not pushed to DagsHub; `dvc push -r dagshub` does it later", extra={"why": problem}
            )
        else:
            raise BackupError(f"data snapshot not pushed to {_snapshots(settings)['url']}: {problem}")
    return pushed


def pull_snapshots(settings: Settings) -> str:
    """One line saying that the data of this commit is back. Raises BackupError."""
    configure_remotes(settings)
    problem = _dvc(settings, "pull", "--quiet", "--remote", SNAPSHOTS)
    if problem:
        raise BackupError(f"cannot pull from {_snapshots(settings)['url']}: {problem}")
    return f"data of this commit is back from {_snapshots(settings)['url']}"


def _snapshots(settings: Settings) -> dict[str, str]:
    if not settings.s3_bucket:
        return {"url": str(settings.home / "snapshots")}
    place = {"url": f"s3://{settings.s3_bucket}/snapshots"}
    return {**place, "endpointurl": settings.s3_endpoint} if settings.s3_endpoint else place


def _write_local_config(folder: Path, remotes: dict[str, dict[str, str]]) -> None:
    from dvc.config import Config  # noqa: PLC0415 - takes a quarter of a second

    path = folder / "config.local"
    path.touch(mode=0o600)  # it may hold a token
    with Config(str(folder), validate=False).edit("local") as config:
        for name, facts in remotes.items():
            config.setdefault("remote", {})[name] = facts
    path.chmod(0o600)


def _dvc(settings: Settings, *arguments: str) -> str:
    """Empty, or why DVC failed. A process of its own: DVC's locks do not hold between threads."""
    run = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=settings.workspace,
        env={**os.environ, **settings.aws_environment},
        capture_output=True,
        text=True,
        check=False,
    )
    said = (run.stderr.strip() or run.stdout.strip()).splitlines()
    return (said[-1] if said else f"dvc ended with {run.returncode} and said nothing") if run.returncode else ""
