"""Configuration from params.json, config/netwarden.yaml, .env and the environment."""

import json

import pytest

from netwarden.detectors.kinds import KINDS
from netwarden.errors import ConfigError
from netwarden.params import load_params
from netwarden.settings import load_settings
from tests.fixtures.data import ROOT

CARD = """\
URI=mongodb+srv://user:secret@cluster0.example.mongodb.net/
AWS_ACCESS_KEY_ID=AKIAEXAMPLE
AWS_SECRET_ACCESS_KEY=aws-secret
S3_BUCKET=flows
MLFLOW_TRACKING_URI=https://dagshub.com/owner/repo.mlflow
DAGSHUB_TOKEN=dagshub-secret
"""


def settings_of(folder, **environ):
    return load_settings({"NETWARDEN_WORKSPACE": str(folder), **environ})


def test_with_nothing_configured_everything_is_embedded(tmp_path):
    settings = settings_of(tmp_path)
    assert (settings.mongodb_uri, settings.s3_bucket, settings.mlflow_uri, settings.redis_url) == (None,) * 4
    assert settings.home == tmp_path / "data"
    assert settings.datasets == tmp_path / "data" / "datasets"
    assert settings.warnings == ()


def test_the_six_lines_of_an_env_file_are_enough(tmp_path):
    (tmp_path / ".env").write_text(CARD)
    settings = settings_of(tmp_path)
    assert settings.mongodb_uri.get_secret_value().startswith("mongodb+srv://user:secret@")
    assert (settings.s3_bucket, settings.aws_access_key_id) == ("flows", "AKIAEXAMPLE")
    assert (settings.dagshub_repo, settings.mlflow_username) == ("owner/repo", "owner")
    assert settings.mlflow_password.get_secret_value() == "dagshub-secret"
    assert settings.warnings == ()
    assert "secret@" not in repr(settings) and "aws-secret" not in repr(settings) and "dagshub-s" not in repr(settings)


def test_the_environment_wins_over_the_env_file(tmp_path):
    (tmp_path / ".env").write_text(CARD)
    assert settings_of(tmp_path, S3_BUCKET="other").s3_bucket == "other"


def test_a_dagshub_repository_alone_gives_the_tracking_address(tmp_path):
    settings = settings_of(tmp_path, DAGSHUB_REPO="owner/repo", DAGSHUB_TOKEN="token")
    assert settings.mlflow_uri == "https://dagshub.com/owner/repo.mlflow"


def test_credentials_within_a_tracking_address_are_taken_out_of_it(tmp_path):
    settings = settings_of(tmp_path, MLFLOW_TRACKING_URI="https://ada:hush%40hush@dagshub.com/owner/repo.mlflow")
    assert settings.mlflow_uri == "https://dagshub.com/owner/repo.mlflow"
    assert (settings.mlflow_username, settings.dagshub_repo) == ("ada", "owner/repo")
    assert settings.mlflow_password.get_secret_value() == "hush@hush"
    assert "hush" not in repr(settings)


def test_uri_counts_only_where_it_is_one_of_mongodb(tmp_path):
    settings = settings_of(tmp_path, URI="postgres://user:secret@host/db")
    assert settings.mongodb_uri is None
    assert settings.warnings == ("URI is set but does not start with mongodb, so it is not used",)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("MONGO_URI", "MONGODB_URI"),
        ("MONGODB_URL", "MONGODB_URI"),
        ("AWS_BUCKET", "S3_BUCKET"),
        ("DAGSHUB_TOKN", "DAGSHUB_TOKEN"),
        ("NETWARDEN_TOKNE", "NETWARDEN_TOKEN"),
        ("NETWARDEN_LOGLEVEL", "NETWARDEN_LOG_LEVEL"),
    ],
)
def test_a_name_that_nearly_is_ours_is_pointed_out(tmp_path, wrong, right):
    assert settings_of(tmp_path, **{wrong: "x"}).warnings == (f"{wrong} is set but not read; did you mean {right}?",)


def test_names_of_other_software_are_let_pass(tmp_path):
    others = {"AWS_REGION_NAME": "x", "MLFLOW_TRACKING_TOKEN": "x", "NETWARDEN_PCAPS": "x", "S3_BUCKETS": "x"}
    assert settings_of(tmp_path, **others).warnings == ()


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"NETWARDEN_PORT": "abc"}, r"'portal\.port': Input should be a valid integer"),
        ({"NETWARDEN_LOG_LEVEL": "loud"}, "'log_level': Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ({"NETWARDEN_LOG_FORMAT": "xml"}, "'log_format': Input should be 'text' or 'json'"),
    ],
)
def test_a_variable_that_cannot_be_read_is_refused_by_name(tmp_path, environ, message):
    with pytest.raises(ConfigError, match=message):
        settings_of(tmp_path, **environ)


def test_a_log_level_may_be_written_small(tmp_path):
    assert settings_of(tmp_path, NETWARDEN_LOG_LEVEL="debug").log_level == "DEBUG"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("etl: {batch_row: 16}", r"unknown key 'etl\.batch_row'"),
        ("etll: {}", "unknown key 'etll'"),
        ("etl: {batch_rows: 0}", r"'etl\.batch_rows': Input should be greater than or equal to 1"),
        ("etl: [", r"netwarden\.yaml is not YAML with one section per topic"),
        ("- etl", r"netwarden\.yaml is not YAML with one section per topic"),
        ("portal: 8000", "'portal': Input should be a valid dictionary"),
    ],
)
def test_a_fault_in_the_configuration_is_named(tmp_path, text, message):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "netwarden.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        settings_of(tmp_path)


def test_params_hold_one_section_per_stage_and_per_detector_kind():
    params = load_params(ROOT / "params.json")
    sections = set(json.loads((ROOT / "params.json").read_text()))
    stages = {"ingest", "validate", "transform", "train", "evaluate", "register"}
    assert sections == stages | {kind.section for kind in KINDS.values()}
    assert params.xgb_classifier.max_depth == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"trian": {}}', "params.json: unknown key 'trian'; check its spelling"),
        ('{"train": {"resmaple": {}}}', r"params.json: unknown key 'train\.resmaple'"),
        ('{"xgb_classifier": {"max_depth": "six"}}', r"'xgb_classifier\.max_depth': Input should be a valid integer"),
        (
            '{"train": {"resample": {"method": "smoote"}}}',
            r"'train\.resample\.method': Input should be 'none', 'class_weights', 'smote'",
        ),
        ("{,}", "params.json: Invalid JSON"),
    ],
)
def test_a_fault_in_the_params_is_named(tmp_path, text, message):
    (tmp_path / "params.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_params(tmp_path / "params.json")


def test_params_that_are_not_there_say_where_to_run(tmp_path):
    with pytest.raises(ConfigError, match=r"params\.json is missing; run from the folder that holds dvc\.yaml"):
        load_params(tmp_path / "params.json")
