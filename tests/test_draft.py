"""`netwarden schema draft`: a dataset that no schema here knows trains with no code change."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import f1_score

from netwarden.detector_params import XgbClassifierParams
from netwarden.detectors.base import FitRows
from netwarden.detectors.bundle import load_bundle
from netwarden.detectors.kinds import detector_kind
from netwarden.errors import InputError, NetwardenError, SchemaError
from netwarden.evaluation.split import TEST, assign_parts
from netwarden.features.preprocessor import fit_preprocessor
from netwarden.flows.labels import load_families
from netwarden.flows.schema import load_schema
from netwarden.flows.table import FlowTable
from netwarden.params import Params, TransformParams
from netwarden.scoring.model import load
from netwarden.settings import load_settings
from netwarden.sources.draft import draft_schema
from netwarden.sources.etl import run_etl
from netwarden.sources.files import read_batches
from netwarden.stages import ingest, train, transform, validate
from tests.fixtures.data import ROOT


@pytest.fixture
def settings(tmp_path):
    """A workspace that holds the family table and no schema at all."""
    (tmp_path / "ws" / "schema").mkdir(parents=True)
    shutil.copy(ROOT / "schema" / "families.yaml", tmp_path / "ws" / "schema")
    return load_settings({"NETWARDEN_WORKSPACE": str(tmp_path / "ws"), "NETWARDEN_HOME": str(tmp_path / "home")})


def sessions(rows=1500, seed=5) -> pd.DataFrame:
    """A made-up table of 12 columns with strings, dates, missing values and −1/1 labels."""
    draw = np.random.default_rng(seed)
    attack = draw.random(rows) < 0.3
    volume = np.exp(draw.normal(6, 1, rows) + attack)
    frame = pd.DataFrame(
        {
            "Session ID": [f"s-{number:06x}" for number in draw.permutation(rows)],
            "Opened": [f"{d}/{m}/2024 {h}:{n:02}" for d, m, h, n in draw.integers(1, [29, 13, 24, 60], (rows, 4))],
            "Client IP": [f"10.0.{a}.{b}" for a, b in draw.integers(0, 250, (rows, 2))],
            "Dst Port": draw.choice([22, 80, 443], rows),
            "Protocol Name": draw.choice(["TCP", "UDP", "QUIC"], rows),
            "App": np.where(attack & (draw.random(rows) < 0.6), "ssh", draw.choice(["web", "mail", "dns"], rows)),
            "Duration (s)": draw.exponential(3, rows).round(3),
            "Bytes Out": volume.round().astype(int),
            "Bytes In": draw.integers(0, 5000, rows),
            "Loss %": draw.uniform(0, 1 + attack, rows).round(4),
            "Encrypted": draw.choice(["yes", "no"], rows),
            "Verdict": np.where(attack, -1, 1),
        }
    )
    gaps = draw.random((rows, 2)) < 0.05
    return frame.assign(
        **{"Loss %": frame["Loss %"].astype(object).mask(gaps[:, 0], "?"), "App": frame["App"].mask(gaps[:, 1])}
    )


def written(folder: Path, frame: pd.DataFrame, name: str = "sessions.csv") -> Path:
    frame.to_csv(folder / name, index=False)
    return folder / name


def trained(settings, file, schema_id):
    """Bundle of a file, by way of the store and the pipeline's own stages."""
    run_etl(settings, [file], dataset=schema_id, schema=schema_id, labels=None)
    params = Params.model_validate(
        {"ingest": {"dataset": schema_id}, "xgb_classifier": {"n_estimators": 30}, "train": {"threads": 1}}
    )
    for stage in (ingest, validate, transform, train):
        stage.run(settings, params)
    return load_bundle(settings.pipeline_dir / "train" / "bundle")


def roles(schema):
    return {column.name: (column.type, column.role) for column in schema.columns}


def test_a_made_up_table_of_twelve_columns_is_drafted_as_a_person_would(settings, tmp_path):
    draft = draft_schema(settings, written(tmp_path, sessions()), label="Verdict")
    assert draft.path == settings.schema_dir / "sessions.yaml"
    assert roles(draft.schema) == {
        "Verdict": ("string", "label"),
        "Session ID": ("string", "identifier"),
        "Opened": ("time", "time"),
        "Client IP": ("ip", "identifier"),
        "Dst Port": ("int", "identifier"),
        "Protocol Name": ("string", "feature"),
        "App": ("string", "feature"),
        "Duration (s)": ("float", "feature"),
        "Bytes Out": ("int", "feature"),
        "Bytes In": ("int", "feature"),
        "Loss %": ("float", "feature"),
        "Encrypted": ("string", "feature"),
    }
    assert draft.schema.label.binary
    assert (draft.schema.label.benign, draft.schema.label.attack) == (("1",), ("-1",))
    assert "?" in draft.schema.file.missing
    assert draft.schema.column("App").categories == ("dns", "mail", "ssh", "web")
    assert "label 1 is taken for benign and -1 for attack" in str(draft)


@pytest.mark.slow
def test_the_made_up_table_trains_and_scores_with_no_code_change(settings, tmp_path):
    file = written(tmp_path, sessions())
    draft_schema(settings, file, label="Verdict")
    bundle = trained(settings, file, "sessions")
    assert bundle.manifest.families == ()
    model = load(bundle.folder, settings)
    fresh = sessions(seed=6)
    result = model.score(fresh)
    attack = (fresh["Verdict"] == -1).to_numpy()
    assert result["score"][attack].mean() > result["score"][~attack].mean() + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("label", ["label", "detailed-label"])
def test_a_labelled_zeek_log_trains_by_either_of_its_labels_and_the_other_is_no_feature(
    settings, sensor_logs, tmp_path, label
):
    file = tmp_path / "iot.log.labeled"
    with gzip.open(sensor_logs / "zeek_iot23_conn.log.labeled.gz", "rt") as lines:
        file.write_text("".join(lines))
    draft = draft_schema(settings, file, label=label)
    kinds = roles(draft.schema)
    other = "file_label" if label == "detailed-label" else "detailed-label"
    assert kinds[other][1] == "leak"
    assert kinds["ts"] == ("time", "time")
    assert kinds["id.orig_h"] == ("ip", "identifier")
    assert kinds["conn_state"] == ("string", "feature")
    bundle = trained(settings, file, "iot")
    assert bundle.manifest.families == (("botnet", "dos", "probe") if label == "detailed-label" else ())


def labelled(file: Path, schema, families) -> FlowTable:
    tables = [batch.table.arrow for batch in read_batches(file, schema, families, labelled=True)]
    table = pa.concat_tables(tables).combine_chunks()
    return FlowTable(table.append_column("split", pa.repeat("", len(table))), schema.id)


def family_f1(table: FlowTable, schema, parts) -> float:
    """Macro-F1 over families on rows that did not train."""
    truth = np.array(table.arrow.column("family").to_pylist())
    tests = parts == TEST
    preprocessor = fit_preprocessor(FlowTable(table.arrow.filter(~tests), schema.id), schema, "all")
    matrix = preprocessor.transform(table.arrow)
    rows = FitRows.of(matrix[~tests], truth[~tests], truth[~tests], preprocessor.categorical)
    trees = detector_kind("boosted_trees").fit(rows, XgbClassifierParams(n_estimators=60), 1, 1)
    named = np.array(trees.families, object)[trees.family_codes(matrix[tests])]
    predicted = np.where(trees.score(matrix[tests]) >= 0.5, named, "benign")
    return float(f1_score(truth[tests], predicted, average="macro"))


@pytest.mark.slow
def test_on_the_cic_sample_the_draft_comes_within_a_hundredth_of_the_hand_written_schema(settings, cic_ids2017):
    """Mean over six splits, the same rows for both: infiltration has 7 test rows, so one split tells little."""
    file = cic_ids2017 / "machine_learning_cve_sample.csv.gz"
    families = load_families(settings.schema_dir / "families.yaml")
    by_hand, drafted = load_schema("cic_flow", ROOT / "schema"), draft_schema(settings, file, label="Label").schema
    tables = [labelled(file, schema, families) for schema in (by_hand, drafted)]
    scores = []
    for seed in range(6):
        parts = assign_parts(tables[0], by_hand, TransformParams.model_validate({"seed": seed}))
        scores.append(
            [family_f1(table, schema, parts) for table, schema in zip(tables, (by_hand, drafted), strict=True)]
        )
    mean_by_hand, mean_drafted = np.mean(scores, axis=0)
    assert mean_by_hand > 0.95
    assert abs(mean_drafted - mean_by_hand) < 0.01, scores


def test_the_cic_sample_trains_from_its_draft(settings, cic_ids2017):
    file = cic_ids2017 / "machine_learning_cve_sample.csv.gz"
    draft = draft_schema(settings, file, label="Label")
    assert len(draft.schema.features) == 77
    bundle = trained(settings, file, draft.schema.id)
    assert set(bundle.manifest.families) == {"botnet", "brute_force", "dos", "infiltration", "probe", "web_attack"}


@pytest.mark.parametrize(
    ("values", "benign", "attack"),
    [
        (["0", "1"], ("0",), ("1",)),
        (["1.0", "-1.0"], ("1",), ("-1",)),
        (["yes", "no"], ("no",), ("yes",)),
        (["False", "True"], ("False",), ("True",)),
        (["Normal", "Anomaly"], ("Normal",), ("Anomaly",)),
        (["Benign", "Malicious"], ("Benign",), ("Malicious",)),
    ],
)
def test_two_labels_are_understood_in_their_usual_spellings(settings, tmp_path, values, benign, attack):
    frame = sessions(100).assign(Verdict=[values[row % 2] for row in range(100)])
    rule = draft_schema(settings, written(tmp_path, frame), label="verdict").schema.label
    assert (rule.binary, rule.benign, rule.attack) == (True, benign, attack)


def test_attack_names_are_placed_in_families_and_the_unknown_ones_named_to_the_reader(settings, tmp_path):
    names = ["usual", "usual", "PortScan", "SYN-flood-3000", "Zebra"]
    frame = sessions(100).assign(Verdict=[names[row % 5] for row in range(100)])
    draft = draft_schema(settings, written(tmp_path, frame), label="Verdict")
    assert draft.schema.label.benign == ("usual",)
    assert draft.schema.label.families == {"SYN-flood-3000": "dos", "Zebra": "other"}
    assert "label 'usual', the most frequent, is taken for benign" in str(draft)
    assert "SYN-flood-3000 → dos" in str(draft)


@pytest.mark.parametrize(
    ("name", "texts", "expected"),
    [
        ("when", ["2024-05-06T07:08:09Z", "2024-05-07T07:08:09.5+02:00"], "iso"),
        ("when", ["2024-05-06 07:08:09", "2024-05-07"], "iso"),
        ("when", ["6/5/2024 7:08:09", "28/5/2024 7:08:09"], "%d/%m/%Y %H:%M:%S"),
        ("when", ["5/6/2024 7:08", "5/28/2024 7:08"], "%m/%d/%Y %H:%M"),
        ("when", ["05/06/2024 07:08:09 PM", "25/06/2024 07:08:09 AM"], "%d/%m/%Y %I:%M:%S %p"),
        ("ts", ["1545403816.962094", "1545403817.5"], "epoch_s"),
        ("timestamp", ["1545403816962", "1545403817000"], "epoch_ms"),
    ],
)
def test_times_are_found_in_their_usual_spellings(settings, tmp_path, name, texts, expected):
    frame = sessions(100).drop(columns="Opened").assign(**{name: [texts[row % 2] for row in range(100)]})
    column = draft_schema(settings, written(tmp_path, frame), label="Verdict").schema.time_column
    assert column is not None
    assert column.time is not None
    assert [pattern.format for pattern in column.time.formats] == [expected]


def test_a_date_that_reads_both_ways_is_pointed_out(settings, tmp_path):
    frame = sessions(100).assign(Opened=[f"{row % 12 + 1}/{row % 11 + 1}/2024 10:00" for row in range(100)])
    draft = draft_schema(settings, written(tmp_path, frame), label="Verdict")
    assert "Opened: day or month first? every value fits both" in str(draft)


def test_a_parquet_file_a_semicolon_file_and_one_without_header_are_drafted(settings, tmp_path):
    frame = sessions(200)
    frame["Loss %"] = pd.to_numeric(frame["Loss %"], errors="coerce")
    frame["Fast"] = frame["Duration (s)"] < 1
    frame.to_parquet(tmp_path / "typed.parquet")
    typed = draft_schema(settings, tmp_path / "typed.parquet", label="Verdict").schema
    assert roles(typed)["Fast"] == ("int", "feature")
    frame.to_csv(tmp_path / "semi.csv", sep=";", index=False)
    assert draft_schema(settings, tmp_path / "semi.csv", label="Verdict").schema.file.delimiter == ";"
    frame.insert(3, "Nothing", "")
    frame.to_csv(tmp_path / "bare.csv", header=False, index=False)
    bare = draft_schema(settings, tmp_path / "bare.csv", label="column_13").schema
    assert not bare.file.header
    assert bare.label_column is not None
    for schema, file in ((typed, "typed.parquet"), (bare, "bare.csv")):
        (batch,) = read_batches(tmp_path / file, schema, labelled=True)
        assert len(batch.table) == 200


def test_reserved_and_awkward_names_survive(settings, tmp_path):
    frame = sessions(100).rename(columns={"Verdict": "label", "App": "family", "Encrypted": "no", "Bytes In": "a: #b"})
    draft = draft_schema(settings, written(tmp_path, frame), label="label")
    kinds = roles(draft.schema)
    assert kinds["file_label"] == ("string", "label")
    assert kinds["file_family"] == ("string", "feature")
    assert {"no", "a: #b"} <= set(kinds)


def test_a_schema_is_never_overwritten(settings, tmp_path):
    file = written(tmp_path, sessions(100))
    draft_schema(settings, file, label="Verdict")
    with pytest.raises(SchemaError, match="is there already; name another"):
        draft_schema(settings, file, label="Verdict")


def test_a_schema_for_a_folder_that_is_not_there_is_refused(settings, tmp_path):
    with pytest.raises(InputError, match=r"nowhere/mine\.yaml cannot be written: there is no folder"):
        draft_schema(
            settings, written(tmp_path, sessions(100)), label="Verdict", output=tmp_path / "nowhere" / "mine.yaml"
        )


def test_a_file_that_cannot_be_drafted_is_refused_with_the_reason(settings, tmp_path):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("a,b,label\n")
    cases: list[tuple[Path, str, type[NetwardenError], str]] = [
        (written(tmp_path, sessions(50)), "Truth", SchemaError, "no column 'Truth'; its columns: Session ID, Opened"),
        (written(tmp_path, sessions(50).assign(Verdict=1), "one.csv"), "Verdict", SchemaError, "one value only"),
        (written(tmp_path, sessions(900), "many.csv"), "Session ID", SchemaError, "is it really the label"),
        (written(tmp_path, sessions(50)[["Verdict"]], "only.csv"), "Verdict", SchemaError, "no column besides"),
        (tmp_path / "empty.csv", "x", InputError, "empty"),
        (tmp_path / "header.csv", "label", InputError, "holds no rows"),
    ]
    for file, label, error, message in cases:
        with pytest.raises(error, match=message):
            draft_schema(settings, file, label=label)
    assert [path.name for path in settings.schema_dir.iterdir()] == ["families.yaml"]


def test_the_draft_says_in_comments_what_to_check_and_is_plain_yaml(settings, tmp_path):
    frame = sessions(300)
    frame["attack_kind"] = np.where(frame["Verdict"] == 1, "none", "flood")
    draft = draft_schema(settings, written(tmp_path, frame), label="Verdict")
    text = draft.path.read_text()
    assert "# CHECK: attack_kind is kept out as a leak" in text
    assert load_schema("sessions", settings.schema_dir) == draft.schema
    assert json.loads(draft.schema.model_dump_json())
