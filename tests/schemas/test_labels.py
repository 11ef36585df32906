"""Labels of every dataset to one name, one family, one technique."""

import re
from collections import Counter

import pyarrow as pa
import pytest

from netwarden.errors import SchemaError
from netwarden.flows.conform import conform
from netwarden.flows.labels import load_families
from netwarden.flows.schema import FlowSchema, load_schema
from netwarden.sources.files import read_batches
from tests.fixtures.data import ROOT

FAMILIES = load_families(ROOT / "schema" / "families.yaml")


def _read(labels, **rule):
    schema = FlowSchema.model_validate(
        {
            "id": "made_up",
            "columns": [{"name": "x", "type": "int"}, {"name": "truth", "type": "string", "role": "label"}],
            "label": rule,
        }
    )
    found = conform(pa.table({"x": ["1"] * len(labels), "truth": labels}), schema, FAMILIES, labelled=True)
    pairs = zip(found.table.arrow["label"].to_pylist(), found.table.arrow["family"].to_pylist(), strict=True)
    return list(pairs), [fault.reason for fault in found.rejected]


@pytest.mark.parametrize(
    ("spelled", "label", "family"),
    [
        ("normal", "benign", "benign"),
        ("BENIGN", "benign", "benign"),
        ("neptune.", "neptune", "dos"),
        ("DoS slowloris", "dos_slowloris", "dos"),
        ("Web Attack \x96 XSS", "web_xss", "web_attack"),
        ("Web Attack – Sql Injection", "web_sql_injection", "web_attack"),
        ("Web Attack \ufffd Brute Force", "web_brute_force", "web_attack"),
        ("DDOS attack-LOIC-UDP", "ddos_loic_udp", "dos"),
        ("Brute Force -XSS", "web_xss", "web_attack"),
        ("Infilteration", "infiltration", "infiltration"),
        (" Fuzzers ", "fuzzers", "fuzzing"),
        ("Backdoors", "backdoor", "backdoor"),
        ("PartOfAHorizontalPortScan", "horizontal_port_scan", "probe"),
        ("C&C-HeartBeat", "c2_heartbeat", "botnet"),
    ],
)
def test_a_label_in_any_spelling_has_one_name_and_one_family(spelled, label, family):
    assert _read([spelled]) == ([(label, family)], [])


def test_unknown_and_missing_labels_refuse_their_rows():
    assert _read(["normal", "NeedManualLabel", "", None]) == (
        [("benign", "benign")],
        ["unknown label 'NeedManualLabel'", "label missing", "label missing"],
    )


def test_a_schema_may_keep_unknown_labels_as_other():
    assert _read(["gremlin"], unknown="other") == ([("gremlin", "other")], [])


def test_a_schema_may_add_attack_names():
    assert _read(["Gremlin"], families={"gremlin": "dos"}) == ([("gremlin", "dos")], [])


def test_a_schema_may_say_that_a_blank_means_benign():
    assert _read(["", None, "Worms"], benign=["", "-"])[0] == [("benign", "benign")] * 2 + [("worms", "worm")]


@pytest.mark.parametrize("labels", [["1", "-1"], ["1.0", "-1.0"], [1, -1], [1.0, -1.0]])
def test_binary_labels_keep_their_sign(labels):
    found, faults = _read(labels, binary=True, benign=["1"], attack=["-1"])
    assert found == [("benign", "benign"), ("attack", "attack")] and not faults


def test_binary_labels_refuse_what_is_neither():
    assert _read(["0", "1", "2"], binary=True, benign=["0"], attack=["1"])[1] == ["unknown label '2'"]


def test_binary_labels_without_attack_spellings_take_all_but_benign_as_attacks():
    assert _read(["ok", "bad"], binary=True, benign=["ok"])[0][1] == ("attack", "attack")


def test_a_file_without_its_label_column_says_so():
    schema = load_schema("cic_flow", ROOT / "schema")
    raw = pa.table({column.name: ["1"] for column in schema.features})
    with pytest.raises(SchemaError, match="1 of 77 columns of schema cic_flow missing: attack_name"):
        conform(raw, schema, FAMILIES, labelled=True)


def test_every_attack_has_an_attack_technique_or_says_why_not():
    without = {name for name in FAMILIES.attacks if not FAMILIES.technique(name)}
    assert without == {"generic"}
    assert all(
        re.fullmatch(r"T\d{4}(\.\d{3})?", FAMILIES.technique(name)) for name in FAMILIES.attacks if name not in without
    )


def test_nsl_kdd_families_have_the_published_test_counts(nsl_kdd):
    schema = load_schema("nsl_kdd", ROOT / "schema")
    found: Counter[str] = Counter()
    for batch in read_batches(nsl_kdd / "KDDTest+.txt.gz", schema, FAMILIES, labelled=True):
        found.update(batch.table.arrow["family"].to_pylist())
    assert found == {"benign": 9711, "dos": 7458, "probe": 2421, "r2l": 2754, "u2r": 200}
