"""Which bundles serve: the champion of each schema, noticed anew without a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial

from netwarden.errors import BundleError, InputError, NetwardenError
from netwarden.logs import get
from netwarden.scoring.model import Model, load
from netwarden.settings import Settings
from netwarden.sources.connect import open_registry

_FORMER = 2  # bundles not in charge that stay loaded
_LOOK_EVERY_S = 2.0  # a promotion counts within five seconds
_log = get(__name__)


@dataclass(frozen=True)
class Serving:
    """The models in charge by schema, and why others cannot serve (schema → sentence)."""

    models: Mapping[str, Model] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)


class Champions:
    """Champions as the registry names them, looked up at most every two seconds. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._serving = Serving()
        self._looked_at = -_LOOK_EVERY_S
        self._former = lru_cache(_FORMER)(partial(load, settings=settings))

    def serving(self) -> Serving:
        """Models in charge now. A champion that cannot be loaded leaves the one before it in charge."""
        with self._lock:
            if time.monotonic() - self._looked_at >= _LOOK_EVERY_S:
                self._serving = self._look()
                self._looked_at = time.monotonic()
            return self._serving

    def look_again(self) -> None:
        """Ask the registry at the next request, whenever the last look was."""
        with self._lock:
            self._looked_at = -_LOOK_EVERY_S

    def choose(self, schema_id: str = "") -> Model:
        """Model of a schema, or the only one that serves.

        Raises BundleError where there is none, InputError where the choice is unknown or open.
        """
        serving = self.serving()
        if not serving.models:
            fault = "; ".join(serving.faults.values()) or "nothing has been trained or restored yet"
            raise BundleError(f"no detector serves: {fault}")
        known = ", ".join(sorted(serving.models))
        if schema_id and schema_id not in serving.models:
            raise InputError(f"no detector serves schema {schema_id!r}; choose one of: {known}")
        if not schema_id and len(serving.models) > 1:
            raise InputError(f"several detectors serve; name the schema of your flows, one of: {known}")
        return serving.models[schema_id or next(iter(serving.models))]

    def model(self, bundle_id: str) -> Model:
        """Model of a registered bundle, in charge or not. Raises NotFoundError or BundleError where it is not here."""
        in_charge = {model.bundle.bundle_id: model for model in self.serving().models.values()}
        return in_charge.get(bundle_id) or self._former(bundle_id)

    def _look(self) -> Serving:
        try:
            named = _champions(self._settings)
        except NetwardenError as error:
            # What serves goes on serving while the registry is away.
            _log.warning("registry cannot be read", extra={"error": str(error)})
            return Serving(self._serving.models, {"registry": str(error)})
        models: dict[str, Model] = {}
        faults: dict[str, str] = {}
        for schema_id, bundle_id in named.items():
            present = self._serving.models.get(schema_id)
            if present is not None and present.bundle.bundle_id == bundle_id:
                models[schema_id] = present
                continue
            try:
                models[schema_id] = load(bundle_id, self._settings)
                _log.info("bundle in charge", extra={"schema": schema_id, "bundle": bundle_id})
            except NetwardenError as error:
                faults[schema_id] = str(error)
                if self._serving.faults.get(schema_id) != str(error):
                    _log.error("champion cannot serve", extra={"schema": schema_id, "error": str(error)})
                if present is not None:
                    models[schema_id] = present
        return Serving(models, faults)


def _champions(settings: Settings) -> dict[str, str]:
    registry = open_registry(settings)
    try:
        schemas = sorted({entry.schema_id for entry in registry.entries()})
        found = {schema_id: registry.champion(schema_id) for schema_id in schemas}
    finally:
        registry.close()
    return {schema_id: entry.bundle_id for schema_id, entry in found.items() if entry}
