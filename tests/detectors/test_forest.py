"""Trees of scikit-learn's say the same as XGBoost's booster, whatever the values and wherever they are missing."""

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from netwarden.detector_params import DecisionTreeParams, IsolationForestParams, RandomForestParams
from netwarden.detectors.decision_tree import DecisionTreeKind
from netwarden.detectors.forest import as_booster
from netwarden.detectors.isolation_forest import IsolationForestKind
from netwarden.detectors.random_forest import RandomForestKind


@pytest.fixture(scope="module")
def writable(rows):
    return np.array(rows.matrix)


def test_a_random_forest_votes_as_in_scikit_learn(rows, writable):
    ours = RandomForestKind().fit(rows, RandomForestParams(n_estimators=15), seed=3, threads=1)
    theirs = RandomForestClassifier(15, random_state=3).fit(writable, rows.attack, rows.weights)
    np.testing.assert_allclose(ours.evidence(rows.matrix)[:, 0], theirs.predict_proba(writable)[:, 1], atol=1e-6)
    attacks = rows.attack == 1
    families = RandomForestClassifier(15, random_state=3)
    families.fit(writable[attacks], rows.families[attacks], rows.weights[attacks])
    shares = families.predict_proba(writable)
    named = ours.family_codes(rows.matrix)
    np.testing.assert_allclose(shares[np.arange(len(named)), named], shares.max(axis=1), atol=1e-6)


def test_a_decision_tree_says_what_scikit_learns_says(rows, writable):
    ours = DecisionTreeKind().fit(rows, DecisionTreeParams(max_depth=5), seed=3, threads=1)
    theirs = DecisionTreeClassifier(max_depth=5, min_samples_leaf=20, random_state=3).fit(writable, rows.attack)
    np.testing.assert_allclose(ours.evidence(rows.matrix)[:, 0], theirs.predict_proba(writable)[:, 1], atol=1e-6)


def test_an_isolation_forest_scores_as_in_scikit_learn(rows, writable):
    params = IsolationForestParams(n_estimators=20, max_samples=64)
    ours = IsolationForestKind().fit(rows, params, seed=3, threads=1)
    theirs = IsolationForest(n_estimators=20, max_samples=64, random_state=3).fit(writable[rows.attack == 0])
    np.testing.assert_allclose(ours.score(rows.matrix), -theirs.score_samples(writable), atol=1e-6)


def test_weights_count_as_in_scikit_learn(rows, writable):
    weighted = rows.where(np.arange(len(rows)))
    weighted.weights[rows.families == "r2l"] = 5
    ours = DecisionTreeKind().fit(weighted, DecisionTreeParams(), seed=1, threads=1)
    theirs = DecisionTreeClassifier(max_depth=12, min_samples_leaf=20, random_state=1)
    theirs.fit(writable, rows.attack, weighted.weights)
    np.testing.assert_allclose(ours.evidence(rows.matrix)[:, 0], theirs.predict_proba(writable)[:, 1], atol=1e-6)


def test_values_on_and_beside_a_threshold_go_the_same_way():
    values = np.array([[0.1], [0.2], [1e30], [-3.4e38], [3.4e38], [np.nan], [0.0], [-0.0]], np.float32)
    for at in range(len(values)):
        tree = DecisionTreeClassifier(random_state=0).fit(values, np.arange(len(values)) > at)
        booster = as_booster(
            [(tree.tree_, tree.tree_.value[:, 0, 1:] if tree.n_classes_ > 1 else np.zeros((1, 1)))], 1, 1
        )
        around = np.concatenate([values, np.nextafter(values, np.float32(0)), np.nextafter(values, np.float32(9e37))])
        expected = tree.predict_proba(around)[:, 1] if tree.n_classes_ > 1 else np.zeros(len(around))
        np.testing.assert_array_equal(booster.margin(around), expected)
