"""Which detector is judged or tuned, with which parameters, on which dataset of the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from netwarden.params import Params, load_params
from netwarden.settings import Settings
from netwarden.training.lineage import file_hash


@dataclass(frozen=True)
class Candidate:
    """Dataset and detector kind, by default those of the file of parameters, which is by default params.json."""

    dataset: str = ""
    detector: str = ""
    params_file: Path | None = None

    def path(self, settings: Settings) -> Path:
        """The file of parameters."""
        return self.params_file or settings.workspace / "params.json"

    def other_file(self, settings: Settings) -> Path | None:
        """The file of parameters where it is not params.json."""
        path = self.path(settings)
        return path if path.resolve() != (settings.workspace / "params.json").resolve() else None

    def said(self, settings: Settings, seeds: int) -> str:
        """Seeds, and the file of parameters where it is not params.json, for the record of looks."""
        other = self.other_file(settings)
        return f"{seeds} seeds" + (f", parameters of {other.name} ({file_hash(other)[:8]})" if other else "")

    def chosen(self, settings: Settings) -> tuple[Params, str]:
        """Its parameters, with its detector kind, and its dataset. Raises ConfigError where the file is no good."""
        params = load_params(self.path(settings))
        train = params.train.model_copy(update={"detector": self.detector or params.train.detector})
        return params.model_copy(update={"train": train}), self.dataset or params.ingest.dataset
