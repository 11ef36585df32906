"""The audit finds what gives attacks away, and keeps still where nothing does."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from netwarden.errors import InputError
from netwarden.lab.audit import audit_days
from netwarden.lab.audit_features import Reason, identifiers, load_reasons, single_features
from netwarden.lab.audit_models import MODELS, rounds, threshold_of
from netwarden.lab.audit_page import COUNTS, audit_tables, counts_table, rewritten, write_page
from netwarden.lab.days import Days, load_days
from netwarden.params import TransformParams
from netwarden.settings import Settings
from tests.fixtures.data import ROOT
from tests.fixtures.lab_days import write_days

PARAMS = TransformParams()


@pytest.fixture(scope="module")
def days(tmp_path_factory) -> Days:
    folder = tmp_path_factory.mktemp("lab")
    return load_days(Settings(workspace=ROOT, home=folder, datasets=folder), write_days(folder / "data", rows=500))


@pytest.fixture(scope="module")
def audit(days):
    return audit_days(days, 2, PARAMS)


def with_column(days: Days, name: str, values: np.ndarray) -> Days:
    """The same days with one column replaced."""
    arrow = days.table.arrow
    place = arrow.schema.get_field_index(name)
    field = arrow.schema.field(place)
    changed = arrow.set_column(place, field, pa.array(values.tolist(), field.type))
    return Days(replace(days.table, arrow=changed), days.schema)


def test_attacks_of_the_test_day_are_seen_of_another_tool_or_unseen(audit):
    assert {attack.variant: attack.group for attack in audit.attacks} == {
        "ddos (hping3)": "seen",
        "port_scan (masscan)": "other tool",
        "bot (hping3)": "unseen",
    }
    assert sum(attack.flows for attack in audit.attacks) == sum(
        flows for (day, label), flows in audit.counts.items() if day == "day-5" and label != "benign"
    )


def test_every_model_has_a_recall_per_attack_and_seed(audit):
    assert all(set(attack.recalls) >= set(MODELS) for attack in audit.attacks)
    assert all(len(recalls) == 2 for attack in audit.attacks for recalls in attack.recalls.values())
    assert audit.recall("boosted trees", "seen").mean() > audit.recall("best feature", "seen").mean() + 0.15
    assert (audit.recall("majority") == 0).all()


def test_alerts_of_hours_and_activities_add_up_to_those_of_the_day(audit):
    benign = sum(hour.benign for hour in audit.hours)
    false_alerts = sum(hour.false_alerts for hour in audit.hours)
    assert false_alerts / benign == pytest.approx(np.mean(audit.false_positive_rates["boosted trees"]))
    assert sum(each.false_alerts for each in audit.activities) == pytest.approx(false_alerts)
    assert {each.activity for each in audit.activities} == {"browsing", "backup"}


def test_rows_of_a_round_come_from_their_days(days):
    at = next(rounds(days, 1, PARAMS))
    assert set(days.days[at.fit]) == {"day-1", "day-2", "day-3"} and set(days.days[at.test]) == {"day-5"}
    assert set(days.days[at.quiet]) == {"day-4"} == set(days.days[at.chosen_on])
    assert not days.attack[at.quiet].any() and not set(at.quiet) & set(at.chosen_on)


def test_a_feature_that_gives_an_attack_away_is_found_and_wants_a_reason(days):
    window = np.where(days.labels == "port_scan", 1024, 64240)
    telling = with_column(days, "fwd_init_window_bytes", window)
    found = {each.attack: each for each in single_features(telling, []) if each.separates}
    assert set(found) == {"port_scan"}
    assert (found["port_scan"].feature, found["port_scan"].recall) == ("fwd_init_window_bytes", 1.0)
    assert found["port_scan"].why == ""
    reason = Reason(attacks=("port_*",), features=("*_window_bytes",), why="made so by this test")
    assert [each.why for each in single_features(telling, [reason]) if each.separates] == ["made so by this test"]


def test_identifiers_that_follow_no_attack_are_at_chance_and_others_are_not(days):
    at = next(rounds(days, 1, PARAMS))
    assert all(abs(each.auc - 0.5) < 0.15 for each in identifiers(days, at))
    hosts = np.where(days.attack, "10.20.3.66", "10.20.1.5")
    told = {each.what: each for each in identifiers(with_column(days, "src_ip", hosts), at)}
    assert told["source and target address"].recall == told["source and target address"].auc == 1.0
    assert told["source port"].auc < 0.65


def test_a_threshold_lets_at_most_its_budget_of_benign_rows_alert():
    scores = np.repeat([0.1, 0.5, 0.9], [900, 98, 2])
    assert threshold_of(scores, 0.001) == 0.9
    assert threshold_of(scores, 0.002) == 0.5
    assert (scores > threshold_of(scores, 0.05)).mean() <= 0.05


def test_the_page_gets_the_tables_that_the_command_prints(days, audit, tmp_path):
    page = tmp_path / "card.md"
    marks = "".join(
        f"<!-- begin {name}: written by `netwarden lab audit` -->\nformer text\n<!-- end {name} -->\ntext\n"
        for name in ("counts", "audit")
    )
    page.write_text(f"# Card\n{marks}")
    write_page(page, days, audit)
    written = page.read_text()
    assert counts_table(days) in written and audit_tables(audit) in written and "former text" not in written
    assert rewritten(written, COUNTS, counts_table(days)) == written


def test_a_page_without_marks_is_refused():
    with pytest.raises(InputError, match=r"the page lacks the marks <!-- begin counts: .* and <!-- end counts -->"):
        rewritten("# Card", COUNTS, "")


def test_reasons_that_are_no_list_are_refused(tmp_path):
    path = tmp_path / "reasons.yaml"
    path.write_text("- {attacks: [scan], features: [x], because: of}")
    with pytest.raises(InputError, match=r"reasons.yaml is no list of attacks, features and why"):
        load_reasons(path)
