"""What is particular to the autoencoder: PyTorch fits it, NumPy scores it."""

import subprocess
import sys

import numpy as np
import pytest

from netwarden.detector_params import AutoencoderParams
from netwarden.detectors.autoencoder import AutoencoderKind, rebuild
from netwarden.errors import ConfigError
from tests.detectors.networks import numpy_autoencoder

KIND = AutoencoderKind()


def test_a_network_is_scored_without_torch(rows, tmp_path):
    numpy_autoencoder(rows).save(tmp_path)
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from netwarden.detectors.kinds import detector_kind\n"
        f"detector = detector_kind('autoencoder').load(Path({str(tmp_path)!r}), 1)\n"
        f"assert 0 < detector.score(np.zeros((1, {rows.matrix.shape[1]}), np.float32))[0] < 1\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_one_of_twenty_benign_rows_scores_above_a_half(rows):
    scores = numpy_autoencoder(rows).score(rows.matrix[rows.attack == 0])
    assert np.mean(scores > 0.5) == pytest.approx(0.05, abs=0.002)


def test_a_row_far_from_all_benign_ones_scores_higher(rows):
    odd = np.array(rows.matrix[:1])
    odd[0, 4:9] = 1e9
    detector = numpy_autoencoder(rows)
    assert detector.score(odd)[0] > detector.score(rows.matrix).max() * 0.9
    assert np.argmax(detector.contributions(odd)[0, 0, :-1]) in range(4, 9)


def test_adapting_discounts_what_the_network_always_misses_there(rows):
    elsewhere = np.array(rows.matrix[rows.attack == 0])
    elsewhere[:, 5] = 1e9
    detector = numpy_autoencoder(rows)
    adapted = detector.adapted(elsewhere)
    assert detector.score(elsewhere).mean() > 0.5 > adapted.score(elsewhere).mean()
    assert adapted.feature_weights[5] < detector.feature_weights[5]


def test_without_torch_fitting_says_which_extra_brings_it(rows, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match="PyTorch, which is not installed; the extra `deep` brings it"):
        KIND.fit(rows, AutoencoderParams(), 1, 1)


def test_a_fitted_network_rebuilds_benign_rows_better_than_their_mean(rows):
    pytest.importorskip("torch", reason="PyTorch fits autoencoders; it is not installed (extra `deep`)")
    fitted = KIND.fit(rows, AutoencoderParams(hidden=(32, 8, 32), max_epochs=40, device="cpu"), 1, 1)
    columns = fitted.scaling.columns(rows.matrix[rows.attack == 0])
    missed = np.mean((columns - rebuild(columns, fitted.layers)) ** 2)
    assert missed < 0.9 * columns.var(axis=0).mean()


def test_fitting_stops_where_held_out_rows_stop_improving_and_keeps_the_best_network(rows):
    pytest.importorskip("torch", reason="PyTorch fits autoencoders; it is not installed (extra `deep`)")
    patient = AutoencoderParams(hidden=(8,), learning_rate=1e-9, patience=2, max_epochs=10_000, device="cpu")
    few = rows.where(np.arange(300))
    assert KIND.fit(few, patient, 1, 1).layers[0][0].shape[1] == 8


def test_a_cuda_device_that_is_not_there_is_named(rows):
    torch = pytest.importorskip("torch", reason="PyTorch fits autoencoders; it is not installed (extra `deep`)")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ConfigError, match=r"autoencoder\.device is cuda, but PyTorch sees no CUDA device"):
        KIND.fit(rows, AutoencoderParams(device="cuda"), 1, 1)
