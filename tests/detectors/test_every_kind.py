"""What every detector kind promises, checked over all of them."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from netwarden.detectors.kinds import KINDS, detector_kind
from netwarden.errors import ConfigError, TrainingError

SAFE_FORMATS = {".ubj", ".json", ".npz", ".skops"}


@pytest.fixture(scope="module", params=sorted(KINDS))
def kind(request):
    return detector_kind(request.param)


@pytest.fixture(scope="module")
def detector(kind, rows):
    return kind.fit(**rows.arguments())


def test_scores_are_finite_float64_between_0_and_1(detector, rows):
    scores = detector.score(rows.matrix)
    assert scores.dtype == np.float64 and scores.shape == (len(rows.matrix),)
    assert np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1


def test_higher_is_worse(detector, rows):
    scores = detector.score(rows.matrix)
    attacks, benign = scores[rows.labels == 1], scores[rows.labels == 0]
    assert np.mean(attacks[:, None] > benign[None, :]) > 0.9


def test_a_row_scores_the_same_alone_as_in_any_batch(detector, rows):
    whole = detector.score(rows.matrix)
    for start, stop in ((0, 1), (1, 3), (0, 63), (5, 70), (100, 613), (2999, 3000)):
        np.testing.assert_array_equal(detector.score(rows.matrix[start:stop]), whole[start:stop])
    alone = np.concatenate([detector.score(rows.matrix[at : at + 1]) for at in range(200)])
    np.testing.assert_array_equal(alone, whole[:200])


def test_no_rows_give_no_scores(detector, rows):
    none = rows.matrix[:0]
    assert detector.score(none).shape == detector.family_codes(none).shape == detector.known(none).shape == (0,)
    assert detector.contributions(none).shape == (0, rows.matrix.shape[1] + 1)


def test_inputs_are_left_untouched(kind, detector, rows):
    given = rows.arguments(
        **{name: value.copy() for name, value in rows.of(slice(None)).items()}, params={"max_depth": 2}
    )
    before = copy.deepcopy(given)
    kind.fit(**given)
    detector.score(given["matrix"])
    for name, value in given.items():
        np.testing.assert_array_equal(value, before[name])


def test_scores_families_and_contributions_survive_save_and_load(kind, detector, rows, tmp_path):
    detector.save(tmp_path)
    loaded = kind.load(tmp_path, threads=1)
    assert loaded.kind == kind.name and loaded.families == detector.families
    for answer in ("score", "family_codes", "known", "contributions"):
        np.testing.assert_array_equal(getattr(loaded, answer)(rows.matrix), getattr(detector, answer)(rows.matrix))


def test_files_are_of_formats_that_hold_no_code(detector, tmp_path):
    detector.save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= SAFE_FORMATS


def test_the_same_rows_and_seed_give_the_same_bytes(kind, detector, rows, tmp_path):
    for name, fitted in (("first", detector), ("second", kind.fit(**rows.arguments()))):
        (tmp_path / name).mkdir()
        fitted.save(tmp_path / name)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_several_threads_score_alike(detector, rows):
    whole = detector.score(rows.matrix)
    with ThreadPoolExecutor(4) as pool:
        for scores in pool.map(lambda _: detector.score(rows.matrix), range(12)):
            np.testing.assert_array_equal(scores, whole)


def test_contributions_are_given_while_others_score(detector, rows):
    part = rows.matrix[:300]
    expected = detector.contributions(part)
    with ThreadPoolExecutor(4) as pool:
        scoring = [pool.submit(detector.score, rows.matrix) for _ in range(8)]
        for shares in pool.map(lambda _: detector.contributions(part), range(8)):
            np.testing.assert_array_equal(shares, expected)
        assert all(len(each.result()) == len(rows.matrix) for each in scoring)


def test_every_attack_family_can_be_named(detector, rows):
    assert detector.families == ("dos", "probe", "r2l")
    named = np.array(detector.families)[detector.family_codes(rows.matrix[rows.labels == 1])]
    assert np.mean(named == rows.families[rows.labels == 1]) > 0.9


def test_labels_without_family_names_turn_the_family_head_off(kind, rows, tmp_path):
    nameless = np.where(rows.labels == 1, "attack", "benign").astype(object)
    detector = kind.fit(**rows.arguments(families=nameless))
    detector.save(tmp_path)
    assert detector.families == kind.load(tmp_path, threads=1).families == ()


def test_a_single_attack_family_is_named_on_every_alert(kind, rows, tmp_path):
    one = np.where(rows.labels == 1, "dos", "benign").astype(object)
    detector = kind.fit(**rows.arguments(families=one))
    detector.save(tmp_path)
    assert kind.load(tmp_path, threads=1).families == ("dos",)
    assert not detector.family_codes(rows.matrix).any()


@pytest.mark.parametrize("label", [0, 1])
def test_a_single_class_is_refused_with_a_reason(kind, rows, label):
    missing = "attack" if label == 0 else "benign"
    with pytest.raises(TrainingError, match=f"^0 {missing} rows of .*is the label column the right one"):
        kind.fit(**rows.arguments(**rows.of(rows.labels == label)))


def test_a_tiny_set_is_refused_with_a_reason(kind, rows):
    few = np.concatenate([np.flatnonzero(rows.labels == 0)[:5], np.flatnonzero(rows.labels == 1)[:5]])
    with pytest.raises(TrainingError, match=r"^5 benign rows of 10: .* at least 10"):
        kind.fit(**rows.arguments(**rows.of(few)))


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"no detector kind 'oracle'; known: .*boosted_trees"):
        detector_kind("oracle")
