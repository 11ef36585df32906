"""Figures of scored rows, against counts made by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from netwarden.evaluation.metrics import Outcome, flat, measure


@pytest.fixture
def outcome() -> Outcome:
    labels = ["benign"] * 4 + ["neptune"] * 3 + ["mailbomb"] * 2 + ["rootkit"]
    families = ["benign"] * 4 + ["dos"] * 5 + ["u2r"]
    scores = [0.1, 0.2, 0.6, 0.3, 0.9, 0.8, 0.4, 0.7, 0.2, 0.1]
    predicted = ["benign", "benign", "dos", "benign", "dos", "dos", "benign", "u2r", "benign", "benign"]
    return Outcome(np.array(labels), np.array(families), np.array(scores), np.array(scores) >= 0.5, np.array(predicted))


def test_figures_equal_counts_made_by_hand(outcome):
    figures = measure(outcome, frozenset({"benign", "neptune", "rootkit"}), 0.01, 1_000_000)
    assert figures["accuracy"] == pytest.approx(0.6)
    assert figures["precision"] == pytest.approx(3 / 4)
    assert figures["recall"] == pytest.approx(1 / 2)
    assert figures["f1"] == pytest.approx(0.6)
    assert figures["roc_auc"] == pytest.approx(17 / 24)  # pairs in the right order, ties half
    assert figures["false_positive_rate"] == 0.25
    assert figures["false_positive_budget"] == 0.01
    assert figures["false_alerts_per_day"] == 250_000
    assert figures["family_recall"] == {"dos": 0.6, "u2r": 0.0}
    assert (figures["recall_seen_attacks"], figures["seen_attack_rows"]) == (0.5, 4)
    assert (figures["recall_unseen_attacks"], figures["unseen_attack_rows"]) == (0.5, 2)
    assert figures["unseen_attack_names"] == 1
    assert 0 < figures["pr_auc"] < 1
    assert 0 < figures["family_macro_f1"] < 1


def test_an_alert_called_novel_is_of_no_family_and_counted_among_its_kind(outcome):
    named = np.where(outcome.labels == "mailbomb", "novel", outcome.predicted)
    figures = measure(replace(outcome, predicted=named), frozenset({"benign", "neptune", "rootkit"}), 0.01)
    assert figures["unseen_attacks_called_novel"] == 1.0  # of those that alert
    assert figures["seen_attacks_called_novel"] == 0.0
    assert figures["family_macro_f1"] == pytest.approx((2 * 3 / (4 + 5) + 2 * 2 / (5 + 3) + 0) / 3)
    forced = measure(replace(outcome, predicted=named, nearest=outcome.predicted), frozenset(), 0.01)
    assert forced["nearest_family_macro_f1"] == measure(outcome, frozenset(), 0.01)["family_macro_f1"]


def test_rows_of_one_class_give_null_and_not_a_guess(outcome):
    figures = measure(outcome.where(outcome.labels == "benign"), frozenset(), 0.01, 1000)
    assert figures["roc_auc"] is None
    assert figures["recall_seen_attacks"] is None
    assert figures["family_recall"] == {}
    assert json.loads(json.dumps(figures)) == figures


def test_flat_names_figures_by_their_path():
    assert flat({"test": {"f1": 0.5, "roc_auc": None, "family_recall": {"dos": 1}}}) == {
        "test.f1": 0.5,
        "test.family_recall.dos": 1.0,
    }
