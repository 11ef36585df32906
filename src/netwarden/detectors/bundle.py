"""The detector bundle: an immutable folder that holds all that scoring needs, written once and loaded everywhere.

`bundle.json` (the manifest, with the sha256 of every other file) · `preprocessor.npz` · model files · `reference.npz`.
Nothing in it is a pickle, nothing is dated, and equal training gives equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from netwarden.detectors.base import Detector
from netwarden.detectors.kinds import KINDS
from netwarden.detectors.reference import Reference, load_reference
from netwarden.detectors.threshold import Calibration, Threshold
from netwarden.errors import BundleError, SchemaError
from netwarden.features.preprocessor import Preprocessor, load_preprocessor
from netwarden.flows.schema import FlowSchema
from netwarden.flows.table import FlowTable, MeterStamp

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)
MANIFEST, PREPROCESSOR, REFERENCE = "bundle.json", "preprocessor.npz", "reference.npz"

_LIBRARIES = ("netwarden", "numpy", "pyarrow", "scikit-learn", "xgboost")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FeatureFact(_Frozen):
    """A column that the detector expects."""

    name: str
    type: str
    unit: str = ""


class TrainingFacts(_Frozen):
    """Where a bundle comes from. `metrics` are of validation rows; test rows are judged after the bundle is closed."""

    dataset: str = ""
    data_hash: str = ""
    git_commit: str = ""
    seed: int = 0
    params: dict[str, Any] = Field(default_factory=dict)
    rows: dict[str, int] = Field(default_factory=dict, description="Purpose (fit, calibration, …) → rows")
    metrics: dict[str, float] = Field(default_factory=dict)


class BundleManifest(_Frozen):
    """What `bundle.json` says."""

    format_version: int
    kind: str
    schema_id: str
    schema_hash: str = Field(description="FlowSchema.contract_hash of the schema it was trained with")
    meter_mode: str = Field(description="Flow meter mode of the training flows; empty: no meter of ours makes such")
    meter_version: str = ""
    features: tuple[FeatureFact, ...]
    families: tuple[str, ...] = Field(description="What the family head tells apart; empty: head off")
    calibration: Calibration
    threshold: Threshold
    training: TrainingFacts
    derived_from: str = Field("", description="Bundle that this one changes; empty: trained as it is")
    change: str = Field("", description="What was changed in it")
    libraries: dict[str, str]
    files: dict[str, str] = Field(description="File name → sha256")


@dataclass(frozen=True)
class DetectorBundle:
    """A loaded bundle, ready to score. `bundle_id` is the start of the sha256 of its manifest."""

    bundle_id: str
    folder: Path
    manifest: BundleManifest
    preprocessor: Preprocessor
    detector: Detector
    reference: Reference = field(repr=False)

    @property
    def schema_id(self) -> str:
        return self.manifest.schema_id

    @property
    def calibration(self) -> Calibration:
        return self.manifest.calibration

    @property
    def threshold(self) -> float:
        return self.manifest.threshold.value

    def require_schema(self, schema: FlowSchema) -> None:
        """Raise SchemaError that names the features a schema lacks, or has in another type or unit than in training.

        Other columns and categories are no reason to refuse: what the bundle does not know scores as unknown.
        """
        if schema.id != self.schema_id:
            raise SchemaError(f"bundle {self.bundle_id} scores flows of schema {self.schema_id}, not {schema.id}")
        now = {
            column.name: FeatureFact(name=column.name, type=column.type, unit=column.unit) for column in schema.features
        }
        changes = [_change(fact, now.get(fact.name)) for fact in self.manifest.features if now.get(fact.name) != fact]
        if changes:
            raise SchemaError(
                f"schema {schema.id} has changed since bundle {self.bundle_id} was trained: {'; '.join(changes)}; "
                "train again, or bring the earlier schema back"
            )

    def require_fit(self, table: FlowTable) -> None:
        """Raise SchemaError where a table is of another schema, meter mode or meter version than the training flows."""
        if table.schema_id != self.schema_id:
            raise SchemaError(
                f"a table of schema {table.schema_id} was given to bundle {self.bundle_id}, which scores "
                f"{self.schema_id}; choose a bundle of that schema"
            )
        if table.meter is not None and table.meter.mode != self.manifest.meter_mode:
            raise SchemaError(
                f"flows metered in mode {table.meter.mode!r} were given to bundle {self.bundle_id}, trained on mode "
                f"{self.manifest.meter_mode!r}: the same packets give other features there"
            )
        trained = self.manifest.meter_version.split(", ")
        foreign = [version for version in table.meter_versions if version not in trained]
        if foreign and self.manifest.meter_version:
            raise SchemaError(
                f"flows of meter version {foreign[0]} were given to bundle {self.bundle_id}, trained on version "
                f"{self.manifest.meter_version}: features mean other things there; train again, or meter them with that"
            )

    def describe(self) -> str:
        """A few lines for people: what it is, what it was trained on and when it alerts."""
        facts, threshold = self.manifest.training, self.manifest.threshold
        low, high = threshold.interval
        return "\n".join(
            [
                f"bundle {self.bundle_id}: {self.manifest.kind}, format {self.manifest.format_version}, verified",
                f"schema {self.schema_id}: {len(self.manifest.features)} features; "
                f"families {', '.join(self.manifest.families) or 'off'}",
                f"alerts at score >= {threshold.value:.6g}: budget {threshold.budget:.2%}, realised "
                f"{threshold.realised:.2%} of {threshold.rows} benign rows (95 %: {low:.2%} to {high:.2%})",
                f"trained on {facts.dataset or 'unnamed rows'} ({sum(facts.rows.values())} rows), "
                f"seed {facts.seed}, commit {facts.git_commit[:12] or 'unknown'}",
                *([f"derived from {self.manifest.derived_from}: {self.manifest.change}"] * bool(self.manifest.change)),
            ]
        )


def write_bundle(  # noqa: PLR0913 - a bundle is made of that many parts, each passed by name
    folder: Path,
    *,
    schema: FlowSchema,
    preprocessor: Preprocessor,
    detector: Detector,
    calibration: Calibration,
    threshold: Threshold,
    reference: Reference,
    training: TrainingFacts,
    meter: MeterStamp | None = None,
) -> DetectorBundle:
    """Bundle written into a new folder, all of it or nothing, and loaded back from there.

    `meter` made the training flows; by default a meter in the schema's mode, of unknown version.
    The same bundle again is left as it is. Raises BundleError where another one is there already.
    """
    facts = {
        "schema_id": schema.id,
        "schema_hash": schema.contract_hash(),
        "meter_mode": meter.mode if meter else schema.meter_mode,
        "meter_version": meter.version if meter else "",
        "training": training,
    }
    return _write(folder, preprocessor, detector, reference, calibration=calibration, threshold=threshold, **facts)


def derive_bundle(
    folder: Path,
    origin: DetectorBundle,
    change: str,
    *,
    detector: Detector | None = None,
    calibration: Calibration | None = None,
    threshold: Threshold | None = None,
    reference: Reference | None = None,
) -> DetectorBundle:
    """Bundle that changes another one without training, written and loaded back as by `write_bundle`.

    It says which one it derives from and what was changed; what is not given stays, with the facts of training.
    """
    kept = ("schema_id", "schema_hash", "meter_mode", "meter_version", "training")
    return _write(
        folder,
        origin.preprocessor,
        detector or origin.detector,
        reference or origin.reference,
        calibration=calibration or origin.calibration,
        threshold=threshold or origin.manifest.threshold,
        derived_from=origin.bundle_id,
        change=change,
        **{name: getattr(origin.manifest, name) for name in kept},
    )


def _write(
    folder: Path, preprocessor: Preprocessor, detector: Detector, reference: Reference, **facts: Any
) -> DetectorBundle:
    """Bundle of these parts; `facts` are the rest of its manifest."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        preprocessor.save(draft / PREPROCESSOR)
        reference.save(draft / REFERENCE)
        detector.save(draft)
        manifest = BundleManifest(
            format_version=FORMAT_VERSION,
            kind=detector.kind,
            features=_feature_facts(preprocessor),
            families=detector.families,
            libraries={name: version(name) for name in _LIBRARIES},
            files={path.name: _sha256(path) for path in sorted(draft.iterdir())},
            **facts,
        )
        text = json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False) + "\n"
        (draft / MANIFEST).write_text(text, encoding="utf-8")
        _publish(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return load_bundle(folder)


def load_bundle(folder: Path, threads: int = 1) -> DetectorBundle:
    """Bundle from its folder; every hash is checked before any model file is parsed.

    Scorers run chunks side by side, so each prediction defaults to one thread.
    Raises BundleError that names the file and what is wrong with it.
    """
    manifest, bundle_id = read_manifest(folder)
    _verify_files(folder, manifest.files)
    if manifest.kind not in KINDS:
        raise BundleError(f"{folder}: unknown detector kind {manifest.kind!r}; known: {', '.join(sorted(KINDS))}")
    preprocessor = load_preprocessor(folder / PREPROCESSOR)
    detector = KINDS[manifest.kind].load(folder, threads)
    reference = load_reference(folder / REFERENCE, manifest.format_version)
    if _feature_facts(preprocessor) != manifest.features or preprocessor.schema_id != manifest.schema_id:
        raise BundleError(f"{folder}: {MANIFEST} and {PREPROCESSOR} disagree on the features; the bundle is damaged")
    if detector.families != manifest.families:
        raise BundleError(f"{folder}: {MANIFEST} and the family head disagree on the families; the bundle is damaged")
    return DetectorBundle(bundle_id, folder, manifest, preprocessor, detector, reference)


def read_manifest(folder: Path) -> tuple[BundleManifest, str]:
    """What `bundle.json` says, and the bundle's id; the files it lists are not looked at.

    Raises BundleError where it is missing, damaged or of a format that this version does not read.
    """
    try:
        data = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise BundleError(f"{folder} is no bundle: {MANIFEST} cannot be read ({error.strerror})") from None
    try:
        stated = json.loads(data)
        found = stated["format_version"]
    except (ValueError, TypeError, KeyError):
        raise BundleError(f"{folder}: {MANIFEST} is damaged: it is not JSON that states a format_version") from None
    if found not in READABLE_VERSIONS:
        raise BundleError(
            f"{folder} is a bundle of format {found}; this version reads {', '.join(map(str, READABLE_VERSIONS))}: "
            "was it written by a newer netwarden?"
        )
    try:
        manifest = BundleManifest.model_validate(stated)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise BundleError(f"{folder}: {MANIFEST} is damaged at '{where}': {fault['msg']}") from None
    return manifest, hashlib.sha256(data).hexdigest()[:16]


def _verify_files(folder: Path, stated: dict[str, str]) -> None:
    for name in stated:
        if not _NAME.fullmatch(name) or name == MANIFEST:
            raise BundleError(f"{folder}: {MANIFEST} lists {name!r}, which is no plain file name")
    found = {path.name for path in folder.iterdir()} - {MANIFEST}
    if missing := sorted({PREPROCESSOR, REFERENCE, *stated} - found):
        raise BundleError(f"{folder} lacks {', '.join(missing)}; was the copy complete?")
    if extra := sorted(found - set(stated)):
        raise BundleError(f"{folder} holds {', '.join(extra)}, which {MANIFEST} does not list; bundles are immutable")
    for name, expected in stated.items():
        if not stat.S_ISREG((folder / name).lstat().st_mode):
            raise BundleError(f"{folder / name} is not a plain file; a bundle holds no links and no folders")
        if _sha256(folder / name) != expected:
            raise BundleError(f"{folder / name} has another sha256 than {MANIFEST} states: damaged or changed")


def _publish(draft: Path, folder: Path) -> None:
    """Rename the finished draft; the last step, so that a bundle is there whole or not at all."""
    draft.chmod(0o755)
    try:
        draft.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        there = folder / MANIFEST
        if not there.is_file() or _sha256(there) != _sha256(draft / MANIFEST):
            raise BundleError(f"{folder} is there already and differs; a bundle is never overwritten") from None


def _change(trained: FeatureFact, now: FeatureFact | None) -> str:
    if now is None:
        return f"feature {trained.name} is gone"
    then, today = (f"{fact.type} {fact.unit}".rstrip() for fact in (trained, now))
    return f"{trained.name} is {today}, was {then}"


def _feature_facts(preprocessor: Preprocessor) -> tuple[FeatureFact, ...]:
    return tuple(FeatureFact(name=c.name, type=c.type, unit=c.unit) for c in preprocessor.columns)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
