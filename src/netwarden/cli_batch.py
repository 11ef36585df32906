"""Commands for large data: scoring files and lakes, training on Spark. Heavy imports wait until they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from netwarden import logs
from netwarden.errors import InputError
from netwarden.settings import Settings, load_settings

Conf = Annotated[list[str] | None, typer.Option(help="Spark: a setting of its own, NAME=VALUE; repeatable")]


def batch(
    source: Annotated[str, typer.Argument(help="File; with Spark, also a folder or an address such as s3a://…")],
    target: Annotated[str, typer.Argument(help="Parquet, CSV or JSON-lines file; with Spark, a folder")],
    schema: Annotated[str, typer.Option(help="Schema id; default: the champion's")] = "",
    bundle: Annotated[str, typer.Option(help="Bundle id or folder; default: champion")] = "champion",
    explain: Annotated[
        int, typer.Option(min=0, help="Reasons to give for each alert; slow: some hundreds of alerts a second")
    ] = 0,
    engine: Annotated[Literal["local", "spark"], typer.Option(help="spark: for lakes of Parquet and CSV")] = "local",
    where: Annotated[str, typer.Option(help="Spark: condition on partitions, such as day >= '2018-02-20'")] = "",
    conf: Conf = None,
) -> None:
    """Score a file of flows, or a capture; explain its alerts if asked to. A run that was killed goes on."""
    settings = _settings()
    if engine == "spark":
        from netwarden.scoring.spark import score_lake

        if explain:
            raise InputError("the Spark engine explains no alerts; score the few files that matter with the local one")
        print(
            score_lake(settings, source, target, schema_id=schema, bundle=bundle, where=where, conf=_pairs(conf or []))
        )
        return
    from netwarden.scoring.batch import score_file

    if where or conf:
        raise InputError("--where and --conf are for --engine spark")
    print(score_file(settings, Path(source), Path(target), schema_id=schema, bundle=bundle, explain=explain))


def pipeline(
    source: Annotated[str, typer.Argument(help="Spark: folder or address of labelled Parquet and CSV files")] = "",
    engine: Annotated[
        Literal["local", "spark"], typer.Option(help="local: `dvc repro`, as `netwarden train`")
    ] = "local",
    work: Annotated[str, typer.Option(help="Spark: folder or address of what the stages make")] = "",
    dataset: Annotated[str, typer.Option(help="Spark: name of the data in the bundle; default: the source's")] = "",
    schema: Annotated[str, typer.Option(help="Spark: schema of the files")] = "cic_flow",
    workers: Annotated[int, typer.Option(min=0, help="Spark: tasks that grow the trees together; 0: all slots")] = 0,
    conf: Conf = None,
) -> None:
    """Train a bundle and register it: by DVC from the store, or by Spark from a lake. A run that was killed goes on."""
    settings = _settings()
    if engine == "local":
        from netwarden.stages.run import run_pipeline

        if source or work or conf:
            raise InputError("the local pipeline trains on the store (ETL.py fills it); a folder is for --engine spark")
        print(run_pipeline(settings))
        return
    from netwarden.training.spark import LakeTraining, train_on_lake

    if not source or not work:
        raise InputError("say where the labelled files are and, by --work, where stages may leave what they make")
    job = LakeTraining(source, work, dataset or source.rstrip("/").rpartition("/")[2], schema, workers)
    receipt = train_on_lake(settings, job, _pairs(conf or []))
    role = "champion" if receipt.champion else "challenger"
    print(f"{role} of {receipt.schema_id}: {receipt.bundle_id} ({receipt.why})")


def _settings() -> Settings:
    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    return settings


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, given, value = text.partition("=")
        if not given:
            raise InputError(f"--conf {text}: write NAME=VALUE, such as spark.executor.memory=4g")
        pairs[name] = value
    return pairs
