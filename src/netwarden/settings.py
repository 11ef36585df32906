"""What changes a deployment: config/ and the environment; the only reader of both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError

from netwarden.errors import ConfigError
from netwarden.notify_settings import NotifySettings
from netwarden.sections import (
    EtlSettings,
    NetworksSettings,
    PortalSettings,
    RetentionSettings,
    ScoringSettings,
    Section,
    StoreSettings,
    StreamSettings,
    TrackingSettings,
    first_fault,
)


class Settings(Section):
    """How this deployment is wired. Secrets are SecretStr: they never print."""

    workspace: Path = Field(description="Folder of dvc.yaml, params.json, schema/, config/")
    home: Path = Field(description="State: embedded store, bundles, jobs, spool, caches")
    datasets: Path = Field(description="Where given or downloaded datasets lie; may be read-only")
    mongodb_uri: SecretStr | None = None
    s3_bucket: str | None = None
    s3_endpoint: str | None = None
    aws_access_key_id: str | None = Field(None, description="Unset: boto3 looks where it always does")
    aws_secret_access_key: SecretStr | None = None
    aws_session_token: SecretStr | None = None
    aws_region: str | None = None
    redis_url: SecretStr | None = None
    mlflow_uri: str | None = Field(None, description="Unset: sqlite under home")
    mlflow_username: str | None = None
    mlflow_password: SecretStr | None = None
    dagshub_repo: str | None = Field(None, description="owner/name")
    dagshub_token: SecretStr | None = None
    dagshub_url: str = Field("https://dagshub.com", description="Address of DagsHub itself")
    token: SecretStr | None = Field(None, description="Login and bearer token of the portal")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"
    etl: EtlSettings = Field(default_factory=EtlSettings)
    scoring: ScoringSettings = Field(default_factory=ScoringSettings)
    portal: PortalSettings = Field(default_factory=PortalSettings)
    networks: NetworksSettings = Field(default_factory=NetworksSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    notify: NotifySettings = Field(default_factory=NotifySettings)
    tracking: TrackingSettings = Field(default_factory=TrackingSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    stream: StreamSettings = Field(default_factory=StreamSettings)
    log_dir: Path | None = Field(None, description="Scored flows as JSON lines, on request; unset: logs/ under home")
    warnings: tuple[str, ...] = Field((), description="Near misses in the environment, to be shown once")

    @property
    def schema_dir(self) -> Path:
        return self.workspace / "schema"

    @property
    def manifests_dir(self) -> Path:
        """Dataset manifests: part of the workspace (git), not of the state."""
        return self.workspace / "data" / "manifests"

    @property
    def pipeline_dir(self) -> Path:
        """Stage outputs, one folder per stage; DVC tracks them."""
        return self.workspace / "data" / "pipeline"

    @property
    def aws_environment(self) -> dict[str, str]:
        """AWS variables for a child process such as DVC: a .env file reaches it no other way."""
        facts = {
            "AWS_ACCESS_KEY_ID": self.aws_access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.aws_secret_access_key and self.aws_secret_access_key.get_secret_value(),
            "AWS_SESSION_TOKEN": self.aws_session_token and self.aws_session_token.get_secret_value(),
            "AWS_REGION": self.aws_region,
            "AWS_DEFAULT_REGION": self.aws_region,
            "AWS_ENDPOINT_URL_S3": self.s3_endpoint,
        }
        return {name: value for name, value in facts.items() if value}

    @property
    def predictions_dir(self) -> Path:
        """Folder of scored flows as JSON lines."""
        return self.log_dir or self.home / "logs"

    @property
    def bundles_dir(self) -> Path:
        return self.home / "bundles"


# Every variable Netwarden reads, with what it does; .env.example and the docs are tested against this table.
ENVIRONMENT: dict[str, str] = {
    "MONGODB_URI": "MongoDB or Atlas address; unset: embedded store under NETWARDEN_HOME",
    "URI": "same as MONGODB_URI; counts only if it starts with mongodb",
    "S3_BUCKET": "bucket for backups and the DVC remote; unset: a local folder",
    "AWS_ACCESS_KEY_ID": "key of the bucket; unset: boto3 looks where it always does (profile, instance role)",
    "AWS_SECRET_ACCESS_KEY": "secret of that key",
    "AWS_SESSION_TOKEN": "for temporary keys",
    "AWS_REGION": "region of the bucket",
    "AWS_DEFAULT_REGION": "same as AWS_REGION",
    "AWS_ENDPOINT_URL_S3": "address of an S3-compatible store other than AWS",
    "REDIS_URL": "Redis for the stream; unset: one process",
    "MLFLOW_TRACKING_URI": "MLflow server, or https://dagshub.com/<owner>/<repo>.mlflow; unset: local sqlite",
    "MLFLOW_TRACKING_USERNAME": "basic auth of the MLflow server",
    "MLFLOW_TRACKING_PASSWORD": "basic auth of the MLflow server",
    "DAGSHUB_REPO": "owner/name; sets the MLflow address when that is unset",
    "DAGSHUB_TOKEN": "DagsHub token: password of MLflow and of the DVC remote",
    "DAGSHUB_CLIENT_HOST": "address of a DagsHub of one's own; unset: https://dagshub.com",
    "LOG_DIR": "folder of positive_predictions.log and negative_predictions.log; unset: $NETWARDEN_HOME/logs",
    "NETWARDEN_TOKEN": "login and bearer token of the portal",
    "NETWARDEN_HOME": "state folder; unset: data/",
    "NETWARDEN_DATA": "folder of given datasets; unset: $NETWARDEN_HOME/datasets",
    "NETWARDEN_WORKSPACE": "folder of dvc.yaml; unset: the current folder or the nearest above it",
    "NETWARDEN_HOST": "address the portal binds; unset: config/netwarden.yaml",
    "NETWARDEN_PORT": "port the portal binds; unset: config/netwarden.yaml",
    "NETWARDEN_LOG_LEVEL": "DEBUG, INFO, WARNING or ERROR",
    "NETWARDEN_LOG_FORMAT": "text or json",
}

# Names people type instead, seen in tutorials and support questions.
_NEAR_MISSES = {
    "MONGO_URI": "MONGODB_URI",
    "MONGO_URL": "MONGODB_URI",
    "MONGODB_URL": "MONGODB_URI",
    "MONGO_DB_URL": "MONGODB_URI",
    "AWS_BUCKET": "S3_BUCKET",
    "S3_BUCKET_NAME": "S3_BUCKET",
    "BUCKET_NAME": "S3_BUCKET",
    "AWS_ENDPOINT_URL": "AWS_ENDPOINT_URL_S3",
    "MLFLOW_URI": "MLFLOW_TRACKING_URI",
    "DAGSHUB_USER_TOKEN": "DAGSHUB_TOKEN",
    "REDIS_URI": "REDIS_URL",
    "REDIS_HOST": "REDIS_URL",
}

# Misspellings are looked for only among names that nobody else's software uses.
_OUR_PREFIXES = ("NETWARDEN_", "MONGODB_", "DAGSHUB_")
_LIKENESS = 0.87


def load_settings(environ: Mapping[str, str] | None = None, start: Path | None = None) -> Settings:
    """Settings from config/netwarden.yaml, .env and the environment; later ones win.

    Raises ConfigError that names the variable or the key.
    """
    environ = os.environ if environ is None else environ
    workspace = _find_workspace(environ, start or Path.cwd())
    env = {**_dotenv(workspace / ".env"), **{k: v for k, v in environ.items() if v != ""}}
    home = Path(env.get("NETWARDEN_HOME") or workspace / "data").expanduser().resolve()
    warnings = [
        f"{name} is set but not read; did you mean {right}?"
        for name in sorted(env)
        if (right := _meant(name)) and right not in env
    ]
    mongodb_uri = env.get("MONGODB_URI")
    uri = env.get("URI")
    if mongodb_uri is None and uri is not None:
        if uri.startswith("mongodb"):
            mongodb_uri = uri
        else:
            warnings.append("URI is set but does not start with mongodb, so it is not used")
    config = _read_config(workspace / "config" / "netwarden.yaml")
    portal = config.pop("portal", None) or {}
    bound = {key: env[name] for key, name in (("host", "NETWARDEN_HOST"), ("port", "NETWARDEN_PORT")) if name in env}
    try:
        return Settings.model_validate(
            {
                **config,
                "portal": {**portal, **bound} if isinstance(portal, dict) else portal,
                "workspace": workspace,
                "home": home,
                "datasets": Path(env.get("NETWARDEN_DATA") or home / "datasets").expanduser().resolve(),
                "mongodb_uri": mongodb_uri,
                "s3_bucket": env.get("S3_BUCKET"),
                "s3_endpoint": env.get("AWS_ENDPOINT_URL_S3"),
                "aws_access_key_id": env.get("AWS_ACCESS_KEY_ID"),
                "aws_secret_access_key": env.get("AWS_SECRET_ACCESS_KEY"),
                "aws_session_token": env.get("AWS_SESSION_TOKEN"),
                "aws_region": env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION"),
                "redis_url": env.get("REDIS_URL"),
                **_tracking_from(env),
                "token": env.get("NETWARDEN_TOKEN"),
                "log_dir": Path(env["LOG_DIR"]).expanduser().resolve() if "LOG_DIR" in env else None,
                "log_level": env.get("NETWARDEN_LOG_LEVEL", "INFO").upper(),
                "log_format": env.get("NETWARDEN_LOG_FORMAT", "text"),
                "warnings": tuple(warnings),
            }
        )
    except ValidationError as error:
        raise ConfigError(f"config/netwarden.yaml or the environment: {first_fault(error)}") from None


def _meant(name: str) -> str:
    """Variable that somebody who set another one seems to have meant, or nothing."""
    if name in ENVIRONMENT or name in _NEAR_MISSES or not name.startswith(_OUR_PREFIXES):
        return _NEAR_MISSES.get(name, "")
    return next(iter(get_close_matches(name, ENVIRONMENT, n=1, cutoff=_LIKENESS)), "")


def _find_workspace(environ: Mapping[str, str], start: Path) -> Path:
    given = environ.get("NETWARDEN_WORKSPACE")
    if given:
        return Path(given).expanduser().resolve()
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").exists():
            return folder.resolve()
    return start.resolve()


def _dotenv(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    from dotenv import dotenv_values  # noqa: PLC0415 - only where there is a .env

    return {key: value for key, value in dotenv_values(path).items() if value}


def _read_config(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    from box import Box  # noqa: PLC0415 - Box stays inside this function
    from box.exceptions import BoxError  # noqa: PLC0415
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - what Box reads YAML with

    try:
        return dict(Box.from_yaml(filename=path).to_dict())
    except (BoxError, YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML with one section per topic: {error}") from None


def _tracking_from(env: Mapping[str, str]) -> dict[str, str | None]:
    """MLflow and DagsHub: owner and repository come from the address, the token is its password."""
    uri = env.get("MLFLOW_TRACKING_URI")
    repo = env.get("DAGSHUB_REPO")
    token = env.get("DAGSHUB_TOKEN")
    home = env.get("DAGSHUB_CLIENT_HOST", "https://dagshub.com").rstrip("/")
    if uri is None and repo is not None:
        uri = f"{home}/{repo}.mlflow"
    if uri is not None and repo is None:
        parts = urlsplit(uri)
        if parts.netloc.rpartition("@")[2] == urlsplit(home).netloc and parts.path.rstrip("/").endswith(".mlflow"):
            repo = parts.path.rstrip("/").removesuffix(".mlflow").strip("/")
    owner = repo.split("/")[0] if repo else None
    uri, user, password = _apart(uri)
    return {
        "mlflow_uri": uri,
        "dagshub_repo": repo,
        "dagshub_token": token,
        "dagshub_url": home,
        "mlflow_username": env.get("MLFLOW_TRACKING_USERNAME") or user or (owner if token else None),
        "mlflow_password": env.get("MLFLOW_TRACKING_PASSWORD") or password or token,
    }


def _apart(uri: str | None) -> tuple[str | None, str | None, str | None]:
    """Web address without the user and password it may hold: addresses are printed, secrets never are."""
    parts = urlsplit(uri or "")
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return uri, None, None
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return bare, unquote(parts.username or "") or None, unquote(parts.password or "") or None
