"""Autoencoder on benign rows only: what it cannot put together again is unlike what is usual.

PyTorch (the optional extra `deep`) fits the network; its weights are plain arrays, scored with NumPy. It learns nothing
from attacks and names no family: each of its alerts is `novel`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from netwarden import logs
from netwarden.detector_params import AutoencoderParams
from netwarden.detectors.base import FitRows, Matrix, Part, Scores
from netwarden.detectors.dense import Floats, by_chunks, product, rounded_inputs, rounded_weights
from netwarden.detectors.scaling import SCALING_ARRAYS, Scaling, fit_scaling, restored_scaling
from netwarden.errors import ConfigError
from netwarden.features.arrays import read_arrays, write_arrays

_log = logs.get(__name__)
_FILE = "autoencoder.npz"
_USUAL_QUANTILE = 0.95
_HELD_OUT_FOLDS = 10  # one of them tells when to stop

Layer = tuple[Floats, Floats]  # weights (inputs, outputs), biases (outputs,)


@dataclass(frozen=True)
class Autoencoder:
    """Fitted network: rectified linear layers, the last one linear. `usual`: 95 % of benign rows miss by less."""

    scaling: Scaling
    layers: tuple[Layer, ...]
    feature_weights: Floats  # (features,): how much a feature's squared residual counts
    usual: float
    families: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ("novelty",)
    kind: str = "autoencoder"

    def score(self, matrix: Matrix) -> Scores:
        """0.5 where a row is missed by as much as one of twenty benign rows, towards 1 beyond."""
        missed = self._missed(matrix)
        return missed / (missed + self.usual)

    def evidence(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Sum over features of what the network misses."""
        return self._missed(matrix)[:, None]

    def contributions(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """What it misses of each feature; the base is 0."""
        missed = self._missed_by_feature(matrix)
        return np.hstack([missed, np.zeros((len(matrix), 1))])[:, None, :]

    def _missed(self, matrix: Matrix) -> Floats:
        return by_chunks(lambda rows: self._missed_by_feature(rows).sum(axis=1), matrix)

    def _missed_by_feature(self, matrix: Matrix) -> Floats:
        columns = self.scaling.columns(matrix)
        squared = (columns - rebuild(columns, self.layers)) ** 2
        return self.scaling.by_feature(squared, len(self.feature_weights)) * self.feature_weights

    def known(self, matrix: Matrix) -> npt.NDArray[np.bool_]:
        """False for every row: this kind knows no attacks."""
        return np.zeros(len(matrix), np.bool_)

    def family_codes(self, matrix: Matrix) -> npt.NDArray[np.int64]:
        """Nothing to tell apart."""
        return np.zeros(len(matrix), np.int64)

    def adapted(self, benign: Matrix) -> Autoencoder:
        """The same network; what it always misses on these rows counts for less."""
        return assemble(self.scaling, self.layers, benign, len(self.feature_weights))

    def save(self, folder: Path) -> None:
        """Write plain arrays."""
        layers = {
            f"{name}_{at}": values
            for at, layer in enumerate(self.layers)
            for name, values in zip(("weights", "biases"), layer, strict=True)
        }
        facts = {"feature_weights": self.feature_weights, "usual": np.array(self.usual)}
        write_arrays(folder / _FILE, {**self.scaling.arrays(), **facts, "depth": np.array(len(self.layers)), **layers})


@dataclass(frozen=True)
class AutoencoderKind:
    """Fits (with PyTorch) and loads (without) autoencoders."""

    name: str = "autoencoder"
    section: str = "autoencoder"

    def fit(self, rows: FitRows, params: AutoencoderParams, seed: int, threads: int) -> Autoencoder:
        """Network fitted on the benign rows.

        Raises TrainingError for a single class or too few rows, ConfigError where PyTorch or the device is missing.
        """
        rows.require_classes("an autoencoder with calibrated scores")
        benign = rows.where(rows.attack == 0)
        scaling = fit_scaling(benign.matrix, rows.categorical)
        waiting = benign.folds(_HELD_OUT_FOLDS, seed) == 0
        columns = scaling.columns(benign.matrix).astype(np.float32)
        layers = _train(columns[~waiting], columns[waiting], params, seed, threads)
        return assemble(scaling, layers, benign.matrix, rows.matrix.shape[1])

    def load(self, folder: Path, threads: int) -> Autoencoder:  # noqa: ARG002 - BLAS decides
        """Network that `save` wrote."""
        depth = int(read_arrays(folder / _FILE, ["depth"])["depth"])
        names = [f"{name}_{at}" for at in range(depth) for name in ("weights", "biases")]
        arrays = read_arrays(folder / _FILE, (*SCALING_ARRAYS, "feature_weights", "usual", *names))
        layers = tuple((arrays[f"weights_{at}"], arrays[f"biases_{at}"]) for at in range(depth))
        return Autoencoder(restored_scaling(arrays), layers, arrays["feature_weights"], float(arrays["usual"]))


def assemble(scaling: Scaling, layers: Sequence[Layer], benign: Matrix, features: int) -> Autoencoder:
    """Autoencoder of a fitted network, its sense of what is usual taken from benign rows.

    A feature counts by how well it is rebuilt: its squared residual in units of its mean, or of the mean over all
    features where that is larger, so that a feature which hardly ever misses cannot drown the others.
    """
    rounded = tuple((rounded_weights(weights), rounded_inputs(biases)) for weights, biases in layers)
    plain = Autoencoder(scaling, rounded, np.ones(features), 1.0)
    mean = by_chunks(plain._missed_by_feature, benign).mean(axis=0)
    floor = max(float(mean.mean()), 1e-6)
    weights = 1.0 / np.maximum(mean, floor)
    weighted = Autoencoder(scaling, rounded, weights, 1.0)
    usual = float(np.quantile(weighted.evidence(benign), _USUAL_QUANTILE))
    return Autoencoder(scaling, rounded, weights, max(usual, 1e-6))


def rebuild(columns: Floats, layers: Sequence[Layer]) -> Floats:
    """Columns as the network puts them together again."""
    values = columns
    for weights, biases in layers[:-1]:
        values = rounded_inputs(np.maximum(product(values, weights) + biases, 0.0))
    weights, biases = layers[-1]
    return rounded_inputs(product(values, weights) + biases)


def _train(
    columns: npt.NDArray[np.float32],
    waiting: npt.NDArray[np.float32],
    params: AutoencoderParams,
    seed: int,
    threads: int,
) -> list[Layer]:
    """Layers of the epoch with the least loss on the waiting rows."""
    torch = _torch()
    device = _device(torch, params.device)
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _descend(torch, device, columns, waiting, params)
    finally:
        torch.set_num_threads(before)


def _descend(torch: Any, device: Any, columns: Any, waiting: Any, params: AutoencoderParams) -> list[Layer]:
    widths = (columns.shape[1], *params.hidden, columns.shape[1])
    parts = [torch.nn.Linear(*sides) for sides in itertools.pairwise(widths)]
    network = torch.nn.Sequential(*[each for part in parts for each in (part, torch.nn.ReLU())][:-1]).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=params.learning_rate)
    rows, held_out = (torch.from_numpy(values).to(device) for values in (columns, waiting))
    least, kept, since = float("inf"), network.state_dict(), 0
    for _ in range(params.max_epochs):
        for batch in torch.randperm(len(rows)).to(device).split(params.batch_rows):
            target = rows[batch]
            shown = target * (torch.rand(target.shape).to(device) >= params.masked_share)
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(network(shown), target).backward()
            optimiser.step()
        with torch.no_grad():
            loss = float(torch.nn.functional.mse_loss(network(held_out), held_out))
        since = 0 if loss < least else since + 1
        if not since:
            least, kept = loss, {name: value.clone() for name, value in network.state_dict().items()}
        if since >= params.patience:
            break
    _log.info("autoencoder fitted", extra={"loss": round(least, 6), "device": str(device)})
    network.load_state_dict(kept)
    return [(_array(part.weight).T.copy(), _array(part.bias)) for part in parts]


def _array(parameter: Any) -> Floats:
    values: Floats = parameter.detach().cpu().numpy().astype(np.float64)
    return values


def _torch() -> Any:
    try:
        import torch  # noqa: PLC0415 - an optional extra, and nothing but fitting needs it
    except ImportError:
        raise ConfigError(
            "an autoencoder is fitted with PyTorch, which is not installed; the extra `deep` brings it: "
            "pip install 'netwarden[deep]'. Scoring with a fitted one needs no PyTorch"
        ) from None
    return torch


def _device(torch: Any, wanted: str) -> Any:
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise ConfigError("autoencoder.device is cuda, but PyTorch sees no CUDA device; set it to auto or cpu")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")
