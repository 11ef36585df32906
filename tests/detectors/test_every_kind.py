"""What every detector kind promises, checked over all of them."""

import copy
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from importlib.util import find_spec

import numpy as np
import pytest

from netwarden.detector_params import (
    AutoencoderParams,
    BlendedTreesParams,
    HybridParams,
    IsolationForestParams,
    RandomForestParams,
    StackingParams,
    XgbClassifierParams,
)
from netwarden.detectors.bundle import TrainingFacts, write_bundle
from netwarden.detectors.kinds import KINDS, detector_kind
from netwarden.detectors.reference import describe_training
from netwarden.detectors.threshold import choose_threshold, fit_calibration
from netwarden.errors import ConfigError, SchemaError, TrainingError
from netwarden.features.preprocessor import fit_preprocessor
from netwarden.flows.table import FlowTable
from netwarden.params import Params
from netwarden.scoring.scorer import Scorer
from tests.detectors.networks import numpy_autoencoder

SMALL = Params(
    hybrid=HybridParams(
        trees=BlendedTreesParams(boosters=4, n_estimators=10), family=XgbClassifierParams(n_estimators=10)
    ),
    xgb_classifier=XgbClassifierParams(n_estimators=20),
    random_forest=RandomForestParams(n_estimators=20),
    stacking=StackingParams(folds=2, random_forest=RandomForestParams(n_estimators=10)),
    isolation_forest=IsolationForestParams(n_estimators=30, max_samples=128),
    autoencoder=AutoencoderParams(hidden=(16,), max_epochs=5, device="cpu"),
)
SAFE_FORMATS = {".ubj", ".json", ".npz", ".skops"}


@pytest.fixture(scope="module", params=sorted(KINDS))
def kind(request):
    return detector_kind(request.param)


def fit(kind, rows, seed=1):
    """Fitted with small parameters: what is checked here does not hang on them.

    Without PyTorch, the autoencoder's network is made with NumPy.
    """
    if kind.name == "autoencoder" and find_spec("torch") is None:
        return numpy_autoencoder(rows)
    return kind.fit(rows, getattr(SMALL, kind.section), seed, threads=1)


@pytest.fixture(scope="module")
def detector(kind, rows):
    return fit(kind, rows)


def test_scores_are_finite_float64_between_0_and_1(detector, rows):
    scores = detector.score(rows.matrix)
    assert scores.dtype == np.float64 and scores.shape == (len(rows.matrix),)
    assert np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1


def test_higher_is_worse(detector, rows):
    scores = detector.score(rows.matrix)
    attacks, benign = scores[rows.attack == 1], scores[rows.attack == 0]
    assert np.mean(attacks[:, None] > benign[None, :]) > 0.8


def test_a_row_scores_the_same_alone_as_in_any_batch(detector, rows):
    whole = detector.score(rows.matrix)
    for start, stop in ((0, 1), (1, 3), (0, 63), (5, 70), (100, 613), (2999, 3000)):
        np.testing.assert_array_equal(detector.score(rows.matrix[start:stop]), whole[start:stop])
    alone = np.concatenate([detector.score(rows.matrix[at : at + 1]) for at in range(60)])
    np.testing.assert_array_equal(alone, whole[:60])


def test_no_rows_give_no_scores(detector, rows):
    none = rows.matrix[:0]
    assert detector.score(none).shape == detector.family_codes(none).shape == detector.known(none).shape == (0,)
    assert detector.evidence(none).shape == (0, len(detector.parts))
    assert detector.contributions(none).shape == (0, len(detector.parts), rows.matrix.shape[1] + 1)


def test_inputs_are_left_untouched(kind, detector, rows):
    given = copy.deepcopy(rows)
    fit(kind, given)
    for answer in (detector.score, detector.evidence, detector.contributions, detector.known, detector.adapted):
        answer(given.matrix[:100])
    for field in fields(rows):
        np.testing.assert_array_equal(getattr(given, field.name), getattr(rows, field.name))


def test_contributions_add_up_to_the_evidence_of_each_part(detector, rows):
    part = rows.matrix[:80]
    evidence = detector.evidence(part)
    assert len(detector.parts) == len(set(detector.parts)) == evidence.shape[1] > 0
    np.testing.assert_allclose(detector.contributions(part).sum(axis=2), evidence, rtol=1e-4, atol=1e-4)


def test_more_of_every_evidence_never_lowers_the_score(detector, rows):
    order = np.lexsort(detector.evidence(rows.matrix[:400]).T)
    evidence, scores = detector.evidence(rows.matrix[order]), detector.score(rows.matrix[order])
    no_less = (evidence[:, None, :] <= evidence[None, :, :]).all(axis=2)
    assert (scores[:, None] <= scores[None, :])[no_less].all()


def test_scores_families_and_contributions_survive_save_and_load(kind, detector, rows, tmp_path):
    detector.save(tmp_path)
    loaded = kind.load(tmp_path, threads=1)
    assert loaded.kind == kind.name and loaded.families == detector.families
    for answer in ("score", "evidence", "family_codes", "known"):
        np.testing.assert_array_equal(getattr(loaded, answer)(rows.matrix), getattr(detector, answer)(rows.matrix))
    few = rows.matrix[:100]
    np.testing.assert_array_equal(loaded.contributions(few), detector.contributions(few))


def test_files_are_of_formats_that_hold_no_code(detector, tmp_path):
    detector.save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= SAFE_FORMATS


def test_the_same_rows_and_seed_give_the_same_bytes(kind, detector, rows, tmp_path):
    for name, fitted in (("first", detector), ("second", fit(kind, rows))):
        (tmp_path / name).mkdir()
        fitted.save(tmp_path / name)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_several_threads_score_alike(detector, rows):
    whole = detector.score(rows.matrix)
    with ThreadPoolExecutor(4) as pool:
        for scores in pool.map(lambda _: detector.score(rows.matrix), range(6)):
            np.testing.assert_array_equal(scores, whole)


def test_contributions_are_given_while_others_score(detector, rows):
    part = rows.matrix[:20]
    expected = detector.contributions(part)
    with ThreadPoolExecutor(4) as pool:
        scoring = [pool.submit(detector.score, rows.matrix) for _ in range(8)]
        for shares in pool.map(lambda _: detector.contributions(part), range(8)):
            np.testing.assert_array_equal(shares, expected)
        assert all(len(each.result()) == len(rows.matrix) for each in scoring)


def test_every_attack_family_can_be_named_or_none(detector, rows):
    assert detector.families in ((), ("dos", "probe", "r2l"))
    if detector.families:
        named = np.array(detector.families)[detector.family_codes(rows.matrix[rows.attack == 1])]
        assert np.mean(named == rows.families[rows.attack == 1]) > 0.75


def test_a_kind_that_names_no_family_calls_every_alert_novel(detector, rows):
    assert detector.families or not detector.known(rows.matrix).any()


def test_labels_without_family_names_turn_the_family_head_off(kind, rows, tmp_path):
    nameless = np.where(rows.attack == 1, "attack", "benign")
    detector = fit(kind, replace(rows, families=nameless, labels=nameless))
    detector.save(tmp_path)
    assert detector.families == kind.load(tmp_path, threads=1).families == ()


def test_a_single_attack_family_is_named_on_every_known_alert(kind, rows, tmp_path):
    one = fit(kind, replace(rows, families=np.where(rows.attack == 1, "dos", "benign")))
    one.save(tmp_path)
    assert kind.load(tmp_path, threads=1).families == one.families in ((), ("dos",))
    assert not one.family_codes(rows.matrix).any()


def test_adapting_to_benign_rows_keeps_kind_and_families(detector, rows):
    adapted = detector.adapted(rows.matrix[rows.attack == 0][:500])
    assert (adapted.kind, adapted.families, adapted.parts) == (detector.kind, detector.families, detector.parts)
    assert np.isfinite(adapted.score(rows.matrix)).all()


@pytest.mark.parametrize("attack", [0, 1])
def test_a_single_class_is_refused_with_a_reason(kind, rows, attack):
    missing = "attack" if attack == 0 else "benign"
    with pytest.raises(TrainingError, match=f"^0 {missing} rows of .*is the label column the right one"):
        kind.fit(rows.where(rows.attack == attack), getattr(SMALL, kind.section), 1, 1)


def test_a_tiny_set_is_refused_with_a_reason(kind, rows):
    few = np.concatenate([np.flatnonzero(rows.attack == 0)[:5], np.flatnonzero(rows.attack == 1)[:5]])
    with pytest.raises(TrainingError, match=r"^5 benign rows of 10: .* at least 10"):
        kind.fit(rows.where(few), getattr(SMALL, kind.section), 1, 1)


@pytest.fixture(scope="module")
def scorer(detector, rows, flows, nsl_schema, tmp_path_factory):
    """The detector in a bundle, as everything that scores has it."""
    scores = detector.score(rows.matrix)
    calibration = fit_calibration(scores, rows.attack)
    calibrated = calibration.apply(scores)
    quiet = calibrated[rows.attack == 0]
    preprocessor = fit_preprocessor(flows, nsl_schema)
    bundle = write_bundle(
        tmp_path_factory.mktemp("kind") / "bundle",
        schema=nsl_schema,
        preprocessor=preprocessor,
        detector=detector,
        calibration=calibration,
        threshold=choose_threshold(quiet, 0.05),
        reference=describe_training(rows.matrix, rows.attack, calibrated, quiet, preprocessor),
        training=TrainingFacts(),
    )
    return Scorer(bundle, threads=1)


def test_column_order_and_further_columns_do_not_matter(scorer, flows):
    few = flows.slice(0, 300)
    turned = FlowTable(few.arrow.select([*reversed(few.names)]), few.schema_id)
    assert scorer.score(turned).equals(scorer.score(few))


def test_a_missing_column_is_refused_by_name(scorer, flows):
    with pytest.raises(SchemaError, match=r"1 of 41 columns of schema nsl_kdd missing: .*src_bytes"):
        scorer.score(FlowTable(flows.arrow.drop_columns(["src_bytes"]), flows.schema_id))


def test_alerts_are_known_attacks_of_a_family_or_novel(scorer, detector, flows):
    scored = scorer.score(flows)
    verdicts, families = (set(scored.column(name).to_pylist()) for name in ("verdict", "family"))
    spoken = {"supervised": "known_attack", "novelty": "novel"}
    assert verdicts <= {"benign", *(spoken[part] for part in detector.parts)} and len(verdicts) > 1
    assert families == {None, *detector.families}


def test_memory_stays_bounded_however_many_rows_there_are(detector, rows):
    many = np.tile(rows.matrix, (20, 1))
    tracemalloc.start()
    scores = detector.score(many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6 + 4 * scores.nbytes


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"no detector kind 'oracle'; known: .*boosted_trees"):
        detector_kind("oracle")
