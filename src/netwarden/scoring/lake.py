"""A lake: flow tables in a folder of whatever file system Spark's Hadoop reaches, by path or address (`s3a://…`).

Nothing here imports PySpark: a session is passed in, and its JVM does the work.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from netwarden.errors import InputError, SchemaError
from netwarden.flows.conform import match_columns
from netwarden.flows.schema import FlowSchema
from netwarden.sources.text_layout import Layout, layout_of_start

_PARQUET, _TEXT = (".parquet", ".pq"), (".csv", ".txt", ".tsv", ".log", ".data")
_START_BYTES = 1 << 16
_OPENED_AT_ONCE = 16


@dataclass(frozen=True)
class LakeFile:
    """One file, and the values of its partition, from folders named `day=2018-02-14`."""

    address: str
    bytes: int
    changed_ms: int
    partition: tuple[tuple[str, str], ...] = ()

    @property
    def folder(self) -> str:
        """Partition as folders: `day=2018-02-14/hour=3`."""
        return "/".join(f"{name}={value}" for name, value in self.partition)

    @property
    def identity(self) -> list[str | int]:
        """What tells whether it is still the same file."""
        return [self.address, self.bytes, self.changed_ms]


@dataclass(frozen=True)
class Form:
    """How a file is written: columns of Parquet, else layout of text. `piece_bytes`: what no two tasks can share."""

    columns: tuple[str, ...] = ()
    layout: Layout | None = None
    piece_bytes: int = field(default=0, repr=False)


class Lake:
    """Files below an address. Paths are relative to it, with slashes."""

    def __init__(self, spark: Any, address: str) -> None:
        self._jvm = spark._jvm
        self._conf = spark._jsc.hadoopConfiguration()
        self._root = self._jvm.org.apache.hadoop.fs.Path(address)
        self._system = self._root.getFileSystem(self._conf)
        self.address = self._system.makeQualified(self._root).toString()

    def files(self) -> tuple[list[LakeFile], list[str]]:
        """Flow tables in order of path, and the names of files that are none, or empty. Hidden files do not count.

        Raises InputError where nothing is there.
        """
        if not self._system.exists(self._root):
            raise InputError(f"{self.address} is not there; is the address right, and may this account list it?")
        found: list[LakeFile] = []
        others: list[str] = []
        base = self.address if self._system.getFileStatus(self._root).isDirectory() else self.address.rpartition("/")[0]
        walk = self._system.listFiles(self._root, True)
        while walk.hasNext():
            status = walk.next()
            address = status.getPath().toString()
            names = PurePosixPath(address[len(base) + 1 :]).parts
            if any(name.startswith(("_", ".")) for name in names):
                continue
            partition = tuple((key, value) for key, is_, value in (name.partition("=") for name in names[:-1]) if is_)
            if _is_table(names[-1]) and status.getLen():
                found.append(LakeFile(address, status.getLen(), status.getModificationTime(), partition))
            else:
                others.append("/".join(names))
        if not found:
            raise InputError(f"{self.address} holds no Parquet or CSV file" + f", only {others[0]}" * bool(others))
        return sorted(found, key=lambda file: file.address), sorted(others)

    def alike(
        self, files: list[LakeFile], schema: FlowSchema, *, one_partition: bool = False, labelled: bool = False
    ) -> list[tuple[tuple[LakeFile, ...], Form]]:
        """Groups of files that are written alike, or besides of one partition, and their form.

        Raises InputError for a file that cannot be read and SchemaError for one without the columns that are needed.
        """
        with ThreadPoolExecutor(_OPENED_AT_ONCE) as pool:
            forms = pool.map(partial(self._form, schema=schema), files)
        groups: dict[tuple[str, str], list[tuple[LakeFile, Form]]] = {}
        for file, form in zip(files, forms, strict=True):
            require_fit(file.address, form, schema, labelled=labelled)
            groups.setdefault((file.folder * one_partition, repr(form)), []).append((file, form))
        return [
            (tuple(file for file, _ in group), max((form for _, form in group), key=lambda form: form.piece_bytes))
            for group in groups.values()
        ]

    def has(self, path: str) -> bool:
        """Whether a file or folder is there."""
        return bool(self._system.exists(self._below(path)))

    def read(self, path: str) -> bytes:
        """What a file holds."""
        stream = self._system.open(self._below(path))
        try:
            return bytes(self._jvm.org.apache.commons.io.IOUtils.toByteArray(stream))
        finally:
            stream.close()

    def read_json(self, path: str) -> Any:
        """What a file holds; None where it is not there."""
        return json.loads(self.read(path)) if self.has(path) else None

    def write(self, path: str, data: bytes) -> None:
        """Write a file whole: it is there once it can be read."""
        place, draft = self._below(path), self._below(f"{path}.draft")
        stream = self._system.create(draft, True)
        stream.write(data)
        stream.close()
        self._system.delete(place, False)
        self._system.rename(draft, place)

    def write_json(self, path: str, value: Any) -> None:
        """The same of a value."""
        self.write(path, json.dumps(value, indent=1).encode())

    def names(self, path: str, *, deep: bool = False) -> list[str]:
        """Files in a folder, or also below it, as paths; none where it is not there."""
        if not self.has(path):
            return []
        walk, found = self._system.listFiles(self._below(path), deep), []
        while walk.hasNext():
            found.append(walk.next().getPath().toString()[len(self.address) + 1 :])
        return sorted(found)

    def move(self, source: str, target: str) -> None:
        """Give a file another path. Raises InputError where the file system refuses."""
        place = self._below(target)
        self._system.mkdirs(place.getParent())
        if not self._system.rename(self._below(source), place):
            raise InputError(f"{self.address}: {source} cannot be moved to {target}; is something there already?")

    def remove(self, path: str) -> None:
        """Remove a file or a folder, if it is there."""
        self._system.delete(self._below(path), True)

    def _below(self, path: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(f"{self.address}/{path}")

    def _form(self, file: LakeFile, schema: FlowSchema) -> Form:
        from py4j.protocol import Py4JJavaError  # noqa: PLC0415 - comes with the extra `spark`

        try:
            if file.address.lower().endswith(_PARQUET):
                return self._parquet_form(file)
            start = _unzipped(self._start(file))
        except zlib.error as error:
            raise InputError(f"{file.address} is damaged: {error}") from None
        except Py4JJavaError as error:
            raise InputError(f"{file.address} cannot be read: {error.java_exception.getMessage()}") from None
        layout = layout_of_start(file.address, start, schema)
        return Form((), layout, file.bytes if file.address.endswith(".gz") else 0)

    def _parquet_form(self, file: LakeFile) -> Form:
        reader = self._jvm.org.apache.parquet.hadoop.ParquetFileReader
        footer = reader.readFooter(self._conf, self._jvm.org.apache.hadoop.fs.Path(file.address))
        fields = footer.getFileMetaData().getSchema().getFields()
        blocks = footer.getBlocks()
        sizes = [blocks.get(at).getCompressedSize() for at in range(blocks.size())]
        return Form(tuple(fields.get(at).getName() for at in range(fields.size())), None, max(sizes, default=0))

    def _start(self, file: LakeFile) -> bytes:
        stream = self._system.open(self._jvm.org.apache.hadoop.fs.Path(file.address))
        try:
            return bytes(self._jvm.org.apache.commons.io.IOUtils.toByteArray(stream, min(file.bytes, _START_BYTES)))
        finally:
            stream.close()


def require_fit(address: str, form: Form, schema: FlowSchema, *, labelled: bool = False) -> None:
    """Raise SchemaError, before anything is read, where a file has not all features, or no label where it needs one."""
    found = match_columns(form.layout.names if form.layout else form.columns, schema)
    label = [schema.label_column.name] if labelled and schema.label_column else []
    missing = [name for name in (*(column.name for column in schema.features), *label) if name not in found]
    if missing:
        shown = ", ".join(missing[:8]) + (", …" if len(missing) > 8 else "")
        raise SchemaError(
            f"{address} lacks {len(missing)} columns of schema {schema.id}: {shown}; is it of another one?"
        )


def with_defaults(conf: Mapping[str, str], has: Callable[[str], bool]) -> dict[str, str]:
    """Configuration of a session: what is given, and defaults where nothing else says how Spark is to run."""
    local = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1", "spark.ui.enabled": "false"}
    defaults = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "32768",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.ui.showConsoleProgress": "false",
    }
    if not has("spark.master") and "spark.master" not in conf:
        defaults["spark.master"] = "local[*]"
    if (conf.get("spark.master") or defaults.get("spark.master", "")).startswith("local"):
        defaults |= local
    return {name: value for name, value in defaults.items() if not has(name)} | dict(conf)


def _is_table(name: str) -> bool:
    plain = name.removesuffix(".gz").lower()
    return plain.endswith(_TEXT) or name.lower().endswith(_PARQUET)


def _unzipped(start: bytes) -> bytes:
    return zlib.decompressobj(31).decompress(start) if start[:2] == b"\x1f\x8b" else start
