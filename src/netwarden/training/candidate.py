"""Which detector is judged or tuned, with which parameters, on which dataset of the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from netwarden.params import Params, load_params
from netwarden.settings import Settings


@dataclass(frozen=True)
class Candidate:
    """A dataset, a detector kind and a file of parameters; empty ones are those of params.json, or of the file."""

    dataset: str = ""
    detector: str = ""
    params_file: Path | None = None

    def path(self, settings: Settings) -> Path:
        """The file of parameters."""
        return self.params_file or settings.workspace / "params.json"

    def chosen(self, settings: Settings) -> tuple[Params, str]:
        """Its parameters, with its detector kind, and its dataset. Raises ConfigError where the file is none."""
        params = load_params(self.path(settings))
        train = params.train.model_copy(update={"detector": self.detector or params.train.detector})
        return params.model_copy(update={"train": train}), self.dataset or params.ingest.dataset
