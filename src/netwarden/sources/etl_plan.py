"""Which files a load reads, under which dataset name, schema and split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from netwarden.errors import InputError, SchemaError
from netwarden.flows.conform import guess_schema
from netwarden.flows.schema import FlowSchema, load_schema, schema_ids
from netwarden.settings import Settings
from netwarden.sources.dataset_folder import DESCRIPTION, DatasetFolder, describe_folder
from netwarden.sources.datasets import normal_name, obtain, public_dataset
from netwarden.sources.files import column_names, is_flow_file, plain_name, read_batches

_TRIAL_ROWS = 200


@dataclass(frozen=True)
class PlannedFile:
    """One file, what its rows call it (no folder of this machine), and the split they get."""

    path: Path
    name: str
    split: str


@dataclass(frozen=True)
class Plan:
    """Everything a load needs to know before it reads a row."""

    dataset: str
    schema: FlowSchema
    files: tuple[PlannedFile, ...]
    not_loaded: tuple[str, ...] = ()


def make_plan(settings: Settings, paths: Sequence[Path], *, dataset: str, schema: str) -> Plan:
    """The plan of a load from what was asked.

    Without paths, the dataset is a public one. A folder with a `dataset.yaml` says name, schema and splits itself.
    Without a schema, it is the public dataset's, else guessed. Raises NotFoundError, InputError or SchemaError that
    says what is missing.
    """
    if not paths and not dataset:
        raise InputError("nothing to load: give files or folders, or --dataset with the name of a public dataset")
    folder = _folder(settings, paths, dataset)
    described = describe_folder(folder) if folder else None
    if folder and described:
        return _plan_described(settings, folder, described, dataset, schema)
    found = [(path, path.name) for path in obtain(settings, dataset)] if not paths else _expand(paths)
    if not found:
        raise InputError(f"no flow tables in {', '.join(map(str, paths))}; expected .csv, .txt, .log or .parquet files")
    public = public_dataset(dataset)
    name = public.name if public else normal_name(dataset) or _name_from(paths)
    chosen = _schema(settings, name, schema, [path for path, _ in found])
    files, not_loaded = _split(found, chosen, named={path.resolve() for path in paths if path.is_file()})
    return Plan(name, chosen, files, not_loaded)


def _folder(settings: Settings, paths: Sequence[Path], dataset: str) -> Path | None:
    """The one folder that was asked for, by its path or as the dataset that comes with Netwarden."""
    if len(paths) == 1:
        return paths[0] if paths[0].is_dir() else None
    public = public_dataset(dataset)
    return settings.workspace / public.shipped if not paths and public and public.shipped else None


def _plan_described(settings: Settings, folder: Path, described: DatasetFolder, dataset: str, schema: str) -> Plan:
    files = tuple(PlannedFile(path, name, described.split_of(name)) for path, name in _expand([folder]))
    if not files:
        raise InputError(f"no flow tables in {folder}, which holds a {DESCRIPTION}; is the checkout complete?")
    chosen = load_schema(schema or described.schema_id, settings.schema_dir)
    if not chosen.split.own:
        raise SchemaError(
            f"{folder / DESCRIPTION} declares splits, for which schema {chosen.id} needs `split: own: true`"
        )
    return Plan(normal_name(dataset or described.name), chosen, files)


def _expand(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Each file with its name: relative to the folder that was given."""
    found: list[tuple[Path, str]] = []
    for path in paths:
        if path.is_dir():
            inner = (item for item in sorted(path.rglob("*")) if is_flow_file(item))
            found += [(item, item.relative_to(path).as_posix()) for item in inner]
        elif path.exists():
            found.append((path, path.name))
        else:
            raise InputError(f"{path} does not exist")
    return list({path.resolve(): (path, name) for path, name in found}.values())


def _name_from(paths: Sequence[Path]) -> str:
    """Dataset name from the one file or folder given, else from the folder the files share."""
    source = paths[0] if len(paths) == 1 else paths[0].resolve().parent
    name = re.sub(r"[^a-z0-9]+", "_", source.resolve().name.split(".")[0].lower()).strip("_")
    if not name:
        raise InputError(f"no dataset name can be made from {source}; give one with --dataset")
    return name


def _schema(settings: Settings, dataset: str, schema: str, paths: list[Path]) -> FlowSchema:
    if schema:
        return load_schema(schema, settings.schema_dir)
    public = public_dataset(dataset)
    if public is not None:
        return load_schema(public.schema_id, settings.schema_dir)
    names = column_names(paths[0])
    if names[0] != "column_1":
        return guess_schema(names, settings.schema_dir)
    return _schema_by_trial(paths[0], settings.schema_dir)


def _schema_by_trial(path: Path, folder: Path) -> FlowSchema:
    """The one schema without header lines that the first rows of a file fit."""
    fits = [schema for name in schema_ids(folder) if _fits(path, schema := load_schema(name, folder))]
    if len(fits) == 1:
        return fits[0]
    which = f"fits {', '.join(schema.id for schema in fits)}" if fits else "fits no schema"
    raise SchemaError(f"{path.name} has no header line and {which}; name its schema with --schema")


def _fits(path: Path, schema: FlowSchema) -> bool:
    if schema.file.header:
        return False
    try:
        batch = next(read_batches(path, schema, batch_rows=_TRIAL_ROWS))
    except SchemaError:
        return False
    return len(batch.table) > len(batch.rejected)


def _split(
    found: Sequence[tuple[Path, str]], schema: FlowSchema, named: set[Path]
) -> tuple[tuple[PlannedFile, ...], tuple[str, ...]]:
    """Files with their split. Under official splits a file that no split names is left out, unless it was asked for."""
    if schema.split.policy != "official":
        return tuple(PlannedFile(path, name, "") for path, name in found), ()
    files: list[PlannedFile] = []
    left: list[str] = []
    for path, name in found:
        split = _official_split(path, schema)
        if split is not None:
            files.append(PlannedFile(path, name, split))
        elif path.resolve() in named:
            raise InputError(f"{name}: {_no_split(schema)}; rename it, or use a schema with another split policy")
        else:
            left.append(f"{name} (named by no split)")
    if not files:
        raise InputError(f"{', '.join(left)}: {_no_split(schema)}")
    return tuple(files), tuple(left)


def _official_split(path: Path, schema: FlowSchema) -> str | None:
    name = plain_name(path)
    for split, patterns in schema.split.files.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return split
    return None


def _no_split(schema: FlowSchema) -> str:
    patterns = "; ".join(f"{split}: {', '.join(names)}" for split, names in schema.split.files.items())
    return f"schema {schema.id} tells splits by file name ({patterns}), and this name is none of them"
