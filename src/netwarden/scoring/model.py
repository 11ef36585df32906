"""The Python API: a registered bundle, or one in a folder, ready to score.

>>> model = load("champion", settings)
>>> model.info().schema_id
'nsl_kdd'
>>> result = model.score_one(flow)
>>> result.verdict
'benign'
>>> result.score < result.threshold
True
>>> model.score([flow, flow]).column_names
['score', 'verdict', 'family', 'threshold']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from netwarden.detectors.bundle import MANIFEST, DetectorBundle, load_bundle
from netwarden.errors import BundleError, InputError, NotFoundError
from netwarden.flows.alert import Verdict
from netwarden.flows.schema import FlowSchema, load_schema
from netwarden.flows.table import FlowTable
from netwarden.scoring.codes import Vocabulary, category_codes, vocabulary_of
from netwarden.scoring.explain import Reason
from netwarden.scoring.explain import explain as reasons_for
from netwarden.scoring.intake import FlowBatch, read_array, read_table
from netwarden.scoring.records import raw_table
from netwarden.scoring.restore import restore_bundle
from netwarden.scoring.scorer import Scorer
from netwarden.settings import Settings, load_settings
from netwarden.sources.connect import open_registry
from netwarden.sources.store import BundleEntry, Registry

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CHAMPION",
    "FlowScore",
    "Model",
    "ModelInfo",
    "champion",
    "champion_entry",
    "load",
    "restore_bundle",
]

CHAMPION = "champion"
_SHOWN_REJECTIONS = 3


@dataclass(frozen=True)
class FlowScore:
    """What the detector says of one flow. `family` is None unless the verdict is known_attack."""

    score: float
    verdict: Verdict
    family: str | None
    threshold: float

    @property
    def alert(self) -> bool:
        """Whether the score reached the threshold."""
        return self.score >= self.threshold


@dataclass(frozen=True)
class ModelInfo:
    """What a model is, what it expects and when it alerts."""

    bundle_id: str
    kind: str
    schema_id: str
    features: tuple[str, ...]
    families: tuple[str, ...]
    threshold: float
    false_positive_budget: float
    dataset: str
    trained_rows: dict[str, int]
    validation: dict[str, float]
    libraries: dict[str, str]


@dataclass(frozen=True)
class Model:
    """A bundle with the schema of its flows. Safe to call from several threads."""

    scorer: Scorer
    schema: FlowSchema

    @property
    def bundle(self) -> DetectorBundle:
        return self.scorer.bundle

    @property
    def vocabulary(self) -> Vocabulary:
        """What category codes in arrays mean to this bundle; `category_codes()` is the same for people."""
        return vocabulary_of(self.bundle.preprocessor)

    @property
    def published(self) -> bool:
        """Whether it was trained on columns that published files share with our meter: the build-stable ones."""
        used = {feature.name for feature in self.bundle.manifest.features}
        return any(not column.stable and column.name not in used for column in self.schema.features)

    @overload
    def score(self, flows: pd.DataFrame) -> pd.DataFrame: ...
    @overload
    def score(self, flows: FlowTable | Sequence[Mapping[str, Any]] | Any) -> Any: ...
    def score(self, flows: Any) -> Any:
        """Score, verdict, family and threshold of every flow, in the same order.

        `flows` is a FlowTable, an Arrow table, a DataFrame or a list of dicts, with columns by any name the schema
        knows, or a NumPy array as a `.npy` upload holds it. The answer is an Arrow table; for a DataFrame, a DataFrame
        of the same index.
        Raises SchemaError for missing columns and InputError where a row does not fit: to set such rows apart, read
        them with `netwarden.scoring.intake`, or score the file with `netwarden batch`.
        """
        result = self.scorer.score(self._table(flows))
        return result.to_pandas().set_index(flows.index) if hasattr(flows, "iloc") else result

    def explain(self, flows: Any, top: int = 5) -> list[list[Reason]]:
        """For every flow, the `top` features that moved its score most, in plain words; `flows` as `score` takes them.

        Exact, and so some hundreds of flows a second: give it alerts.
        """
        return reasons_for(self.bundle, self._table(flows), top)

    def _table(self, flows: Any) -> FlowTable:
        if isinstance(flows, FlowTable):
            return flows
        batch = self._read(flows)
        _require_all(batch)
        return batch.table

    def _read(self, flows: Any) -> FlowBatch:
        if isinstance(flows, np.ndarray):
            return next(read_array(flows, self.schema, self.vocabulary, batch_rows=max(flows.size, 1)))
        return read_table(raw_table(flows, self.schema), self.schema)

    def score_one(self, flow: Mapping[str, Any]) -> FlowScore:
        """Result for one flow, given by column name. Raises as `score` does."""
        return FlowScore(**self.score([flow]).to_pylist()[0])

    def info(self) -> ModelInfo:
        """Facts about the bundle."""
        manifest = self.bundle.manifest
        return ModelInfo(
            bundle_id=self.bundle.bundle_id,
            kind=manifest.kind,
            schema_id=manifest.schema_id,
            features=tuple(feature.name for feature in manifest.features),
            families=manifest.families,
            threshold=manifest.threshold.value,
            false_positive_budget=manifest.threshold.budget,
            dataset=manifest.training.dataset,
            trained_rows=manifest.training.rows,
            validation=manifest.training.metrics,
            libraries=manifest.libraries,
        )

    def category_codes(self) -> dict[str, dict[str, int]]:
        """Column → category → the code that stands for it in a `.npy` upload."""
        return category_codes(self.schema, self.vocabulary)


def load(
    name_or_path: str | Path = CHAMPION, settings: Settings | None = None, schema: FlowSchema | str | None = None
) -> Model:
    """Model of the champion, of a registered bundle (by id or unique start of it), or of a bundle folder.

    `schema` says whose champion, where several schemas have one; for a folder it may be a schema that is not in the
    workspace. Raises NotFoundError where nothing is registered, and BundleError for a damaged bundle.
    """
    settings = settings or load_settings()
    if name_or_path == CHAMPION:
        return _load_champion(settings, schema)
    folder = Path(name_or_path)
    if (folder / MANIFEST).exists() or len(folder.parts) > 1:
        return _model(load_bundle(folder), settings, schema)
    with closing(open_registry(settings)) as registry:
        entry = registry.entry(str(name_or_path))
    return _load_entry(entry, settings, schema)


def champion(settings: Settings, schema_id: str | None = None) -> Model | None:
    """Model of a schema's champion, or None; without a schema, of the champion that was promoted last."""
    with closing(open_registry(settings)) as registry:
        entry = champion_entry(registry, schema_id)
    return _load_entry(entry, settings, None) if entry else None


def champion_entry(registry: Registry, schema_id: str | None = None) -> BundleEntry | None:
    """A schema's champion in the registry, or None; without a schema, the champion that was promoted last."""
    if schema_id:
        return registry.champion(schema_id)
    # History is newest first, and the first event of a schema that has a champion is that schema's latest.
    schemas = dict.fromkeys(event.schema_id for event in registry.history() if event.action != "register")
    return next((entry for name in schemas if (entry := registry.champion(name))), None)


def _load_champion(settings: Settings, schema: FlowSchema | str | None) -> Model:
    schema_id = schema.id if isinstance(schema, FlowSchema) else schema
    with closing(open_registry(settings)) as registry:
        entry = champion_entry(registry, schema_id)
    if entry is None:
        whose = f"schema {schema_id} has" if schema_id else "there is"
        raise NotFoundError(f"{whose} no champion yet; train one with `python main.py` or bring one back with restore")
    return _load_entry(entry, settings, schema)


def _load_entry(entry: BundleEntry, settings: Settings, schema: FlowSchema | str | None) -> Model:
    folder = settings.bundles_dir / entry.location
    if settings.s3_bucket and not folder.exists():
        restore_bundle(settings, entry.bundle_id)  # trained on another machine
    if not folder.exists():
        raise BundleError(
            f"bundle {entry.bundle_id} is registered but {folder} is not there; "
            f"bring it back with `netwarden restore {entry.bundle_id}`"
        )
    bundle = load_bundle(folder)
    if bundle.bundle_id != entry.bundle_id:
        raise BundleError(
            f"{folder} holds bundle {bundle.bundle_id}, not {entry.bundle_id} as registered; "
            f"bring that back with `netwarden restore {entry.bundle_id}`"
        )
    return _model(bundle, settings, schema)


def _model(bundle: DetectorBundle, settings: Settings, schema: FlowSchema | str | None) -> Model:
    if not isinstance(schema, FlowSchema):
        schema = load_schema(schema or bundle.schema_id, settings.schema_dir)
    bundle.require_schema(schema)
    return Model(Scorer(bundle, settings.scoring.threads, settings.scoring.chunk_rows), schema)


def _require_all(batch: FlowBatch) -> None:
    if not batch.rejected:
        return
    shown = "; ".join(f"row {item.row}: {item.reason}" for item in batch.rejected[:_SHOWN_REJECTIONS])
    more = "; …" if len(batch.rejected) > _SHOWN_REJECTIONS else ""
    total = len(batch.rejected) + len(batch.table)
    raise InputError(f"{len(batch.rejected)} of {total} rows do not fit schema {batch.table.schema_id}: {shown}{more}")
