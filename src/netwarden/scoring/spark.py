"""A lake of flows to a lake of scores, on Spark: the same Scorer on every executor, each row once.

    TARGET/scores/[day=…/]UNIT-00000.parquet      scored flows, in the partitions of the input
    TARGET/quarantine/[day=…/]UNIT-00000.parquet  rows that are no flows, with their reason
    TARGET/_netwarden/job.json                    which bundle and which input
    TARGET/_netwarden/done/UNIT.json              a unit (some files of the input) that is finished, and what was in it
    TARGET/_netwarden/staging/UNIT/               what Spark is writing

A unit is moved to its place under names that follow from its files, then marked as done. Whatever else is found at the
start is of a driver that was killed, and removed; units that are done are not scored again.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from netwarden import logs
from netwarden.errors import ConfigError, InputError
from netwarden.flows.alert import VERDICTS
from netwarden.flows.conform import match_columns
from netwarden.flows.schema import FlowSchema
from netwarden.scoring.batch import Progress, progress_bar
from netwarden.scoring.batch_report import rejected_lines
from netwarden.scoring.lake import Form, Lake, LakeFile, with_defaults
from netwarden.scoring.lake_rows import FILE, REASON, ROW, TEXT, VALUE, RowReader, RowScorer, bundle_files
from netwarden.scoring.lake_units import DONE, QUARANTINE, SCORES, STAGING, Unit, plan_units, require_apart, take_up
from netwarden.scoring.model import Model, load
from netwarden.settings import Settings

_log = logs.get(__name__)

_SKEW = 1.5  # a piece that takes one task so much longer than the others on average is shared out
_WORTH_SHARING_BYTES = 16 << 20


@dataclass(frozen=True)
class LakeReport:
    """What the target holds now. `kept`: rows that earlier runs had scored; `seconds` does not count Spark's start."""

    target: str
    bundle_id: str
    verdicts: dict[str, int]
    rejected: dict[str, int]  # reason → rows
    kept: int
    seconds: float
    notes: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Rows scored."""
        return sum(self.verdicts.values())

    def __str__(self) -> str:
        counts = ", ".join(f"{rows:,} {verdict}" for verdict, rows in self.verdicts.items())
        fresh = self.rows - self.kept
        lines = [
            f"{self.target}/{SCORES} holds {self.rows:,} flows scored with bundle {self.bundle_id}: {counts}",
            f"{fresh:,} of them now, in {self.seconds:.1f} s ({fresh / max(self.seconds, 1e-9):,.0f}/s)",
        ]
        if self.rejected:
            lines += rejected_lines(self.rejected, f"{self.target}/{QUARANTINE}")
        return "\n".join([*lines, *self.notes])


def score_lake(
    settings: Settings,
    source: str,
    target: str,
    *,
    schema_id: str = "",
    bundle: str = "champion",
    where: str = "",
    conf: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> LakeReport:
    """Scores of the Parquet and CSV files below `source` in Parquet files below `target`; both are paths or addresses.

    `where` is a condition on the partitions (`day >= '2018-02-20'`): files of others are never opened. `conf` is
    Spark's. What an earlier run has finished stays, so new files can be added to a lake and scored by the same call.
    Raises InputError where the input cannot be read, has changed since it was scored, or `target` is of another job.
    """
    model = load(bundle, settings, schema_id or None)
    with session(conf or {}) as spark:
        started = time.perf_counter()
        lake, results = Lake(spark, source), Lake(spark, target)
        require_apart(lake.address, results.address)
        files, others = lake.files()
        chosen = _chosen(spark, files, where)
        done = take_up(results, {"source": lake.address, "bundle": model.bundle.bundle_id}, chosen)
        waiting = [file for file in chosen if file.address not in done.addresses]
        units = plan_units(lake, waiting, model, spark.sparkContext.defaultParallelism)
        with progress_bar(source, progress) as advance:
            for unit in _followed(units, advance):
                done.add(_score_unit(spark, results, unit, model))
        seconds = time.perf_counter() - started
    verdicts: dict[str, int] = {verdict: done.verdicts[verdict] for verdict in VERDICTS}
    notes = _notes(files, chosen, others, units)
    return LakeReport(target, model.bundle.bundle_id, verdicts, dict(done.rejected), done.kept, seconds, notes)


@contextmanager
def session(conf: Mapping[str, str]) -> Iterator[Any]:
    """A Spark session: that of spark-submit, else one on this machine. `conf` and our own defaults are set on it.

    Raises ConfigError where PySpark or Java is missing.
    """
    try:
        from pyspark import SparkConf, SparkContext  # noqa: PLC0415 - an extra, and heavy
        from pyspark.errors import PySparkRuntimeError  # noqa: PLC0415
        from pyspark.sql import SparkSession  # noqa: PLC0415
    except ImportError:
        raise ConfigError("the Spark engine needs PySpark: install netwarden[spark]") from None
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if submitted:
        SparkContext._ensure_initialized()  # only then does SparkConf know what spark-submit was told
    given = with_defaults(conf, SparkConf().contains if submitted else _nothing)
    if given.get("spark.master", "").startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    logging.getLogger("py4j").setLevel(logging.WARNING)  # it tells of every connection
    builder = SparkSession.builder.appName("netwarden")
    for name, value in given.items():
        builder = builder.config(name, value)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")  # tables go as Arrow here
        try:
            spark = builder.getOrCreate()
        except PySparkRuntimeError as error:
            hint = "is Java 17 or newer installed, and JAVA_HOME right?"
            raise ConfigError(f"Spark does not start: {error}; {hint}") from None
        spark.sparkContext.setLogLevel("ERROR")
        try:
            yield spark
        finally:
            spark.stop()


def _nothing(_: str) -> bool:
    return False


def read_unit(spark: Any, files: tuple[LakeFile, ...], form: Form, schema: FlowSchema) -> Any:
    """DataFrame of the files' rows as `RowReader` reads them, with no task much larger than the others."""
    from pyspark.sql import functions as F  # noqa: N812, PLC0415 - PySpark's own name for them

    addresses = [file.address for file in files]
    if form.layout is None:
        wanted = [source.name for source in match_columns(form.columns, schema).values()]
        frame = spark.read.parquet(*addresses).select(
            F.col("_metadata.file_path").alias(FILE), F.col("_metadata.row_index").alias(ROW), *map(_quoted, wanted)
        )
    else:
        # Text may be cut anywhere, so a row's number only tells it from the others of its file.
        frame = (
            spark.read.option("lineSep", "\n")
            .text(addresses)
            .select(
                F.col("_metadata.file_path").alias(FILE),
                F.monotonically_increasing_id().alias(ROW),
                F.col(VALUE).cast("binary").alias(VALUE),
            )
        )
    slots = spark.sparkContext.defaultParallelism
    uneven = form.piece_bytes * slots > _SKEW * sum(file.bytes for file in files)
    return frame.repartition(3 * slots) if uneven and form.piece_bytes > _WORTH_SHARING_BYTES else frame


# --- what there is to do --------------------------------------------------------------------------------------


def _chosen(spark: Any, files: list[LakeFile], where: str) -> list[LakeFile]:
    """Files of the partitions that a condition lets through; Spark itself evaluates it."""
    if not where:
        return files
    from pyspark.errors import AnalysisException  # noqa: PLC0415

    names = sorted({name for file in files for name, _ in file.partition})
    rows = [(at, *(dict(file.partition).get(name) for name in names)) for at, file in enumerate(files)]
    columns = ", ".join(["at long", *(f"`{name}` string" for name in names)])
    try:
        kept = {row.at for row in spark.createDataFrame(rows, columns).where(where).collect()}
    except AnalysisException as error:
        known = ", ".join(names) or "there are none"
        fault = str(error).splitlines()[0]
        raise InputError(f"the condition {where!r} is not one on the partitions ({known}): {fault}") from None
    if not kept:
        raise InputError(f"no partition fits {where!r}")
    return [file for at, file in enumerate(files) if at in kept]


def _followed(units: list[Unit], advance: Progress) -> Iterator[Unit]:
    """The units, telling after each how much is done."""
    sizes = [sum(file.bytes for file in unit.files) for unit in units]
    for at, unit in enumerate(units):
        yield unit
        advance(sum(sizes[: at + 1]) / sum(sizes))


# --- one unit -------------------------------------------------------------------------------------------------


def _score_unit(spark: Any, results: Lake, unit: Unit, model: Model) -> dict[str, Any]:
    """What was in a unit, once its scores stand in their place."""
    from pyspark.sql import functions as F  # noqa: N812, PLC0415
    from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415

    scoring = RowScorer(RowReader(model.schema, unit.form.layout), bundle_files(model.bundle))
    rows = read_unit(spark, unit.files, unit.form, model.schema)
    rows = rows.mapInArrow(scoring.score, from_arrow_schema(scoring.columns)).persist()
    staging = f"{STAGING}/{unit.id}"
    try:
        scored = rows.where(F.col(REASON).isNull()).drop(REASON, TEXT)
        scored.write.mode("overwrite").parquet(f"{results.address}/{staging}/{SCORES}")
        counts = rows.groupBy("verdict", REASON).count().collect()
        verdicts = {row["verdict"]: row["count"] for row in counts if row["verdict"]}
        rejected = {row[REASON]: row["count"] for row in counts if row[REASON]}
        if rejected:
            faults = rows.where(F.col(REASON).isNotNull()).select(FILE, ROW, REASON, TEXT)
            faults.coalesce(1).write.mode("overwrite").parquet(f"{results.address}/{staging}/{QUARANTINE}")
    finally:
        rows.unpersist()
    for kind in (SCORES, QUARANTINE):
        _move_parts(results, f"{staging}/{kind}", "/".join(filter(None, (kind, unit.folder))), unit.id)
    facts = {
        "unit": unit.id,
        "files": [file.identity for file in unit.files],
        "verdicts": verdicts,
        "rejected": rejected,
    }
    results.write_json(f"{DONE}/{unit.id}.json", facts)
    results.remove(staging)
    _log.info("scored", extra={"unit": unit.id, "files": len(unit.files), "rows": sum(verdicts.values())})
    return facts


def _move_parts(results: Lake, staged: str, folder: str, unit_id: str) -> None:
    for path in results.names(staged):
        name = path.rpartition("/")[2]
        if name.startswith("part-"):  # Spark's own: part-00007-…
            results.move(path, f"{folder}/{unit_id}-{name.split('-')[1]}.parquet")


def _quoted(name: str) -> str:
    """A column's name for Spark, which takes dots for paths."""
    return f"`{name.replace('`', '``')}`"


def _notes(files: list[LakeFile], chosen: list[LakeFile], others: list[str], units: list[Unit]) -> tuple[str, ...]:
    notes = [f"{len(chosen):,} files, {sum(len(unit.files) for unit in units):,} of them now, in {len(units):,} units"]
    if len(files) > len(chosen):
        notes.append(f"{len(files) - len(chosen):,} files of other partitions were not opened")
    if others:
        notes.append(f"{len(others):,} files are no flow tables, such as {others[0]}")
    return tuple(notes)
