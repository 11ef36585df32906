"""The champion behind BentoML: `bentoml serve service:Netwarden`, or built into a Bento with `bentoml build`.

Without a sound model it starts, is not ready, answers 503 and says why at /info: it never scores with a damaged one.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from functools import cached_property
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
HERE = Path(__file__).resolve().parent
if find_spec("netwarden") is None:
    sys.path.insert(0, str(HERE / "src"))  # in a Bento the package travels as source

import bentoml  # noqa: E402 - after the switch it reads
import numpy as np  # noqa: E402
from bentoml.exceptions import BentoMLException, NotFound  # noqa: E402

from netwarden.errors import BundleError, InputError, JobBusyError, NetwardenError, SchemaError  # noqa: E402
from netwarden.portal.models.champions import Champions  # noqa: E402
from netwarden.portal.runs.runs import start_training  # noqa: E402
from netwarden.scoring.model import Model, load  # noqa: E402
from netwarden.scoring.output import prediction  # noqa: E402
from netwarden.settings import load_settings  # noqa: E402

PACKED = "netwarden:latest"
_STATUS = {
    InputError: HTTPStatus.BAD_REQUEST,
    SchemaError: HTTPStatus.BAD_REQUEST,
    BundleError: HTTPStatus.SERVICE_UNAVAILABLE,
    JobBusyError: HTTPStatus.CONFLICT,
}


@bentoml.service(name="netwarden", workers=1)
class Netwarden:
    """Scores flows with the registry's champion or, where there is no registry, with the model packed in the Bento."""

    def __init__(self) -> None:
        self.settings = load_settings(start=HERE)
        self.champions = Champions(self.settings)

    @bentoml.api
    def predict(self, input_data: np.ndarray, schema: str = "") -> np.ndarray:
        """0 for benign and −1 for intrusion per row of numbers in schema feature order, categories as codes."""
        try:
            return np.asarray(prediction(self.model(schema).score(input_data)))
        except NetwardenError as error:
            raise _refusal(error) from None

    @bentoml.api
    def score(self, rows: list[dict[str, Any]], schema: str = "") -> list[dict[str, Any]]:
        """Score, verdict, family and threshold per flow, given by column name."""
        try:
            result: list[dict[str, Any]] = self.model(schema).score(rows).to_pylist()
        except NetwardenError as error:
            raise _refusal(error) from None
        return result

    @bentoml.api
    def info(self, schema: str = "") -> dict[str, Any]:
        """What serves (bundle, schema, features, threshold), or why nothing does: BentoML hides the text of a 503."""
        try:
            return {"ready": True, **asdict(self.model(schema).info())}
        except NetwardenError as error:
            return {"ready": False, "error": str(error)}

    @bentoml.api
    def train(self) -> dict[str, str]:
        """Start the training pipeline as a process of its own; its run is followed in the portal."""
        try:
            if not (self.settings.workspace / "dvc.yaml").exists():
                raise InputError(f"{self.settings.workspace} has no dvc.yaml; training needs a checkout, not a Bento")
            job = start_training(self.settings)
        except NetwardenError as error:
            raise _refusal(error) from None
        return {"run": job.id, "state": job.state}

    def __is_ready__(self) -> bool:
        try:
            self.model("")
        except InputError:  # several champions serve; each request names its schema
            return True
        except NetwardenError:
            return False
        return True

    def model(self, schema: str) -> Model:
        """The champion of a schema. The packed model stands in only where there is no champion, damaged or not."""
        serving = self.champions.serving()
        if serving.models or serving.faults:
            return self.champions.choose(schema)
        if schema not in ("", self._packed.schema.id):
            raise InputError(f"no detector serves schema {schema!r}; this one serves {self._packed.schema.id}")
        return self._packed

    @cached_property
    def _packed(self) -> Model:
        try:
            stored = bentoml.models.get(PACKED)
        except NotFound:
            raise BundleError(
                "no detector serves: the registry has no champion and BentoML's store no netwarden model; "
                "train one with `python main.py`"
            ) from None
        return load(stored.path_of("bundle"), self.settings)


def _refusal(error: NetwardenError) -> BentoMLException:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    return BentoMLException(str(error), error_code=status)
