"""A lake of labelled flows to a registered bundle, on Spark: for data that no one machine holds.

    WORK/clean-KEY/       rows that fit the schema, with label, family and the hash of their features
    WORK/quarantine-KEY/  rows that do not, with their reason
    WORK/unique-KEY/      one of each group of equal features and label, the earliest
    WORK/matrix-KEY/      training and test rows as the preprocessor makes them, by part
    WORK/trees-KEY.ubj    the booster

A key is the hash of everything that the output depends on: a run that was killed finds what is finished, and another
input or parameter makes anew only what it changes. Spark commits each folder as a whole.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xgboost as xgb

from netwarden import logs
from netwarden.detectors.base import MIN_ROWS_PER_CLASS
from netwarden.detectors.boosted_trees import BoostedTrees, BoostedTreesKind, fit_families
from netwarden.detectors.boosters import TreeSum, first_line
from netwarden.detectors.bundle import DetectorBundle, TrainingFacts
from netwarden.errors import InputError, SchemaError, TrainingError
from netwarden.evaluation.split import CALIBRATION, FIT, TEST, THRESHOLD, VALIDATION, first_test_instant
from netwarden.features.preprocessor import Preprocessor, fit_preprocessor
from netwarden.flows.labels import load_families
from netwarden.flows.schema import FAMILY, LABEL, FlowSchema, load_schema
from netwarden.flows.table import empty_table
from netwarden.params import Params, load_params
from netwarden.scoring.lake import Lake, LakeFile
from netwarden.scoring.lake_rows import FILE, REASON, ROW, TEXT, RowReader, bundle_files
from netwarden.scoring.spark import read_unit, session
from netwarden.settings import Settings
from netwarden.training.fit import calibrate, close_bundle, fit_rows
from netwarden.training.lake_rows import (
    ATTACK,
    CONTENT,
    FEATURES,
    JUDGED_SCHEMA,
    MATRIX_SCHEMA,
    PART,
    RowCleaner,
    RowJudge,
    RowMaker,
)
from netwarden.training.lineage import shaping_commit
from netwarden.training.registration import Receipt, register_bundle
from netwarden.training.rows import TrainingRows
from netwarden.training.tested import write_evaluation

_log = logs.get(__name__)

_VERSION = 1  # of what the stages make; another one makes all of it anew
_MOST_ROWS = 500_000  # of each part that the driver calibrates, sets the threshold and describes with
_MOST_OF_FAMILY = 100_000  # rows that the family head is fitted on, for each family

Counts = dict[str, dict[tuple[str, str], int]]  # part → (family, label) → rows


@dataclass(frozen=True)
class LakeTraining:
    """What is trained on what, and where the stages leave what they make."""

    source: str
    work: str
    dataset: str
    schema_id: str
    workers: int = 0  # 0: as many as Spark has slots


def train_on_lake(settings: Settings, job: LakeTraining, conf: Mapping[str, str] | None = None) -> Receipt:
    """Receipt of a bundle of boosted trees, trained on the labelled CSV and Parquet files below `job.source`.

    The latest rows test; the others are drawn by content, so that equal rows are on one side. The trees are grown by
    all workers on all rows to fit on; the driver calibrates, sets the threshold and closes the bundle with at most
    500,000 rows of each part. Raises as the stages of the pipeline do.
    """
    schema = load_schema(job.schema_id, settings.schema_dir)
    params = _in_force(load_params(settings.workspace / "params.json"))
    _require_trainable(schema, params)
    with session(conf or {}) as spark:
        return _Run(spark, settings, job, schema, params).run()


class _Run:
    """One run, its session and the keys of its stages."""

    def __init__(self, spark: Any, settings: Settings, job: LakeTraining, schema: FlowSchema, params: Params) -> None:
        self._spark, self._settings, self._job = spark, settings, job
        self._schema, self._params = schema, params
        self._work = Lake(spark, job.work)
        self._preprocessor = _preprocessor(schema, params)

    def run(self) -> Receipt:
        """All stages, those that are finished left out."""
        lake = Lake(self._spark, self._job.source)
        files, _ = lake.files()
        families_file = self._settings.schema_dir / "families.yaml"
        stated = [
            *(file.identity for file in files),
            self._schema.model_dump(mode="json"),
            families_file.read_text("utf-8"),
        ]
        clean = self._stage("clean", stated, lambda path: self._clean(lake, files, path))
        unique = self._stage("unique", [clean], lambda path: self._unique(clean, path))
        cut = self._cut(unique)
        transform = self._params.transform.model_dump(mode="json")
        matrix = self._stage("matrix", [unique, cut, transform], lambda path: self._matrix(unique, cut, path))
        counts = self._counts(matrix)
        trees = self._trees(matrix, counts)
        bundle = self._bundle(matrix, trees, counts, unique)
        evaluation = self._evaluation(bundle, unique, cut, counts)
        return register_bundle(self._settings, self._params, bundle.folder, evaluation)

    def _stage(self, name: str, inputs: list[Any], make: Callable[[str], None]) -> str:
        """Folder of a stage's output, made where it is not there whole."""
        folder = f"{name}-{_key([_VERSION, name, *inputs])}"
        if self._work.has(f"{folder}/_SUCCESS"):
            _log.info("kept from an earlier run", extra={"stage": name, "folder": folder})
        else:
            _log.info("begins", extra={"stage": name, "folder": folder})
            make(folder)
        return folder

    def _read(self, folder: str) -> Any:
        return self._spark.read.parquet(f"{self._work.address}/{folder}")

    def _write(self, frame: Any, folder: str, *by: str) -> None:
        frame.write.mode("overwrite").partitionBy(*by).parquet(f"{self._work.address}/{folder}")

    # --- stages -----------------------------------------------------------------------------------------------

    def _clean(self, lake: Lake, files: list[LakeFile], folder: str) -> None:
        from pyspark.sql import functions as F  # noqa: N812, PLC0415 - an extra
        from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415

        families = load_families(self._settings.schema_dir / "families.yaml")
        frames = []
        for files_alike, form in lake.alike(files, self._schema, labelled=True):
            cleaner = RowCleaner(RowReader(self._schema, form.layout, labelled=True, families=families))
            rows = read_unit(self._spark, files_alike, form, self._schema)
            frames.append(rows.mapInArrow(cleaner.clean, from_arrow_schema(cleaner.columns)))
        rows = reduce(lambda one, other: one.unionByName(other), frames).persist()
        try:
            bad = rows.where(F.col(REASON).isNotNull()).select(FILE, ROW, REASON, TEXT)
            self._write(bad, folder.replace("clean", "quarantine"))
            self._write(rows.where(F.col(REASON).isNull()).drop(REASON, TEXT), folder)
        finally:
            rows.unpersist()

    def _unique(self, clean: str, folder: str) -> None:
        from pyspark.sql import Window  # noqa: PLC0415
        from pyspark.sql import functions as F  # noqa: N812, PLC0415

        rows = self._read(clean)
        if self._schema.duplicates == "drop":
            first = Window.partitionBy(CONTENT, LABEL).orderBy(self._clock, FILE, ROW)
            rows = rows.withColumn("rank", F.row_number().over(first)).where("rank = 1").drop("rank")
        self._write(rows, folder)

    def _cut(self, unique: str) -> int:
        """Instant from which on rows test."""
        from pyspark.sql import functions as F  # noqa: N812, PLC0415

        clock = F.coalesce(F.unix_micros(F.col(self._clock)), F.lit(int(np.iinfo(np.int64).min))).alias("at")
        table = self._read(unique).groupBy(clock).count().toArrow()
        if not len(table):
            raise InputError(f"no row of {self._job.source} fits schema {self._schema.id}; see {self._work.address}")
        instants, rows = (table.column(name).to_numpy() for name in ("at", "count"))
        return first_test_instant(instants, rows, self._params.transform.test_share)

    def _matrix(self, unique: str, cut: int, folder: str) -> None:
        from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415

        given = self._params.transform
        shares = {
            CALIBRATION: given.calibration_share,
            THRESHOLD: given.threshold_share,
            VALIDATION: given.validation_share,
        }
        maker = RowMaker(self._schema, self._preprocessor, cut, FIT, shares, given.seed)
        self._write(self._read(unique).mapInArrow(maker.make, from_arrow_schema(MATRIX_SCHEMA)), folder, PART)

    def _counts(self, matrix: str) -> Counts:
        """Part → (family, label) → rows."""
        counts: Counts = {}
        for row in self._read(matrix).groupBy(PART, FAMILY, LABEL).count().collect():
            counts.setdefault(row[PART], {})[row[FAMILY], row[LABEL]] = row["count"]
        return counts

    def _trees(self, matrix: str, counts: Counts) -> TreeSum:
        """The booster that tells attacks from benign rows, grown on all rows to fit on."""
        from xgboost.spark import SparkXGBClassifier  # noqa: PLC0415 - imports PySpark

        _require_classes(counts.get(FIT, {}))
        seed, given = self._params.train.seed, self._params.xgb_classifier.model_dump()
        path = f"trees-{_key([_VERSION, matrix, given, seed])}.ubj"
        if not self._work.has(path):
            workers = self._job.workers or self._spark.sparkContext.defaultParallelism
            _log.info("begins", extra={"stage": "train", "workers": workers})
            fit = self._read(matrix).where(f"{PART} = '{FIT}'").select(FEATURES, ATTACK)
            try:
                forest = SparkXGBClassifier(
                    features_col=FEATURES, label_col=ATTACK, num_workers=workers, random_state=seed, **given
                )
                booster = forest.fit(fit).get_booster()
            except (ValueError, xgb.core.XGBoostError) as error:
                raise TrainingError(f"XGBoost refuses its parameters or rows: {first_line(error)}") from None
            self._work.write(path, bytes(booster.save_raw("ubj")))
        return TreeSum(xgb.Booster(model_file=bytearray(self._work.read(path))))

    def _bundle(self, matrix: str, trees: TreeSum, counts: Counts, unique: str) -> DetectorBundle:
        """The bundle, closed on the driver."""
        folder = self._settings.home / "spark" / _key([matrix, self._params.model_dump(mode="json")])
        parts = [self._some(matrix, part) for part in (FIT, CALIBRATION, THRESHOLD, VALIDATION)]
        rows = TrainingRows(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        made = calibrate(self._detector(matrix, trees, counts[FIT]), rows, self._params)
        facts = TrainingFacts(
            dataset=self._job.dataset,
            data_hash=self._data_hash(unique),
            git_commit=shaping_commit(self._settings.workspace),
            rows={part: sum(of.values()) for part, of in sorted(counts.items()) if part != TEST},
        )
        shutil.rmtree(folder, ignore_errors=True)
        return close_bundle(folder / "bundle", rows, made, self._preprocessor, self._schema, self._params, facts)

    def _detector(self, matrix: str, trees: TreeSum, fit: Mapping[tuple[str, str], int]) -> BoostedTrees:
        """The trees with a family head beside them."""
        train = self._params.train
        named = fit_rows(TrainingRows(*self._attacks(matrix, fit)), self._preprocessor)
        head = fit_families(named, self._params.xgb_classifier, train.seed, train.threads)
        return BoostedTrees(trees, head, named.family_names)

    def _evaluation(self, bundle: DetectorBundle, unique: str, cut: int, counts: Counts) -> Path:
        """Folder of the figures of test rows."""
        from pyspark.sql import functions as F  # noqa: N812, PLC0415
        from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415

        late = self._read(unique).where(F.unix_micros(F.col(self._clock)) >= cut)
        judge = RowJudge(self._schema, bundle_files(bundle))
        judged = late.drop(FILE, ROW).mapInArrow(judge.judge, from_arrow_schema(JUDGED_SCHEMA)).toArrow()
        seen = frozenset(label for _, label in counts[FIT])
        folder = bundle.folder.parent / "evaluate"
        write_evaluation(folder, judged, seen, bundle, self._params.evaluate.flows_per_day, self._settings.workspace)
        return folder

    # --- rows for the driver ----------------------------------------------------------------------------------

    def _some(self, matrix: str, part: str) -> tuple[Any, ...]:
        """At most so many rows of a part, drawn by chance, as TrainingRows holds them."""
        rows = self._read(matrix).where(f"{PART} = '{part}'")
        found = rows.count()
        drawn = rows if found <= _MOST_ROWS else rows.sample(_MOST_ROWS / found, self._params.transform.seed)
        return _as_training(drawn, len(self._preprocessor.names))

    def _attacks(self, matrix: str, counts: Mapping[tuple[str, str], int]) -> tuple[Any, ...]:
        """Attacks to fit the family head on, of rare families all."""
        families: dict[str, int] = {}
        for (family, _), rows in counts.items():
            families[family] = families.get(family, 0) + rows
        shares = {family: min(1.0, _MOST_OF_FAMILY / rows) for family, rows in families.items()}
        rows = self._read(matrix).where(f"{PART} = '{FIT}' and {ATTACK} = 1")
        drawn = rows.sampleBy(FAMILY, shares, self._params.transform.seed)
        return _as_training(drawn, len(self._preprocessor.names))

    def _data_hash(self, unique: str) -> str:
        """Hash of the clean rows, whatever their order."""
        rows = self._read(unique)
        ((rows_found, total),) = rows.selectExpr("count(1)", f"sum(cast({CONTENT} as decimal(38, 0)))").collect()
        return hashlib.sha256(f"{rows_found} {total}".encode()).hexdigest()

    @property
    def _clock(self) -> str:
        assert self._schema.time_column is not None  # noqa: S101 - _require_trainable has refused it
        return self._schema.time_column.name


def _in_force(params: Params) -> Params:
    """The parameters as this way of training uses them: boosted trees on rows as they are."""
    train = params.train.model_copy(
        update={
            "detector": BoostedTreesKind().name,
            "resample": params.train.resample.model_copy(update={"method": "none"}),
        }
    )
    return params.model_copy(update={"train": train})


def _require_trainable(schema: FlowSchema, params: Params) -> None:
    if schema.time_column is None:
        raise SchemaError(f"schema {schema.id} has no time column, and rows of a lake are split by time")
    columns = schema.trainable(params.transform.features, params.transform.leave_out)
    learned = [column.name for column in columns if column.categorical and (column.open or not column.categories)]
    if learned:
        raise SchemaError(
            f"schema {schema.id} learns the categories of {', '.join(learned)} from the rows, which only training on "
            "one machine does; list them in the schema or leave these features out"
        )


def _preprocessor(schema: FlowSchema, params: Params) -> Preprocessor:
    return fit_preprocessor(empty_table(schema), schema, params.transform.features, params.transform.leave_out)


def _require_classes(fit: Mapping[tuple[str, str], int]) -> None:
    benign = sum(rows for (family, _), rows in fit.items() if family == "benign")
    attacks = sum(fit.values()) - benign
    if min(benign, attacks) < MIN_ROWS_PER_CLASS:
        raise TrainingError(
            f"{benign} benign and {attacks} attack rows are left to fit on, without duplicates and the latest rows; "
            f"boosted trees need {MIN_ROWS_PER_CLASS} of each: is the label column the right one?"
        )


def _as_training(frame: Any, features: int) -> tuple[Any, ...]:
    """Matrix, labels, families and parts of rows of the matrix."""
    table: pa.Table = frame.select(FEATURES, LABEL, FAMILY, PART).toArrow()
    flat = table.column(FEATURES).combine_chunks().flatten().to_numpy()
    matrix = flat.reshape(len(table), features).astype(np.float32)
    return matrix, *(np.asarray(table.column(name).to_pylist(), dtype=str) for name in (LABEL, FAMILY, PART))


def _key(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]
