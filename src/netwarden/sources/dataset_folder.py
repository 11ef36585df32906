"""A folder of flow tables that says itself what it is: its `dataset.yaml` names dataset, schema and splits."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from netwarden.errors import InputError

DESCRIPTION = "dataset.yaml"
Split = Literal["train", "validation", "test"]


class DatasetFolder(BaseModel):
    """What `dataset.yaml` says of the files beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str = ""
    schema_id: str
    licence: str = ""
    splits: dict[Split, tuple[str, ...]] = Field(description="split → file name patterns (fnmatch)")

    def split_of(self, file: str) -> str:
        """Split of a file by its name in the folder. Raises InputError unless exactly one split names it."""
        splits = [
            split for split, patterns in self.splits.items() if any(fnmatchcase(file, pattern) for pattern in patterns)
        ]
        if len(splits) != 1:
            found = " and ".join(splits) or "no split"
            raise InputError(f"{file}: {found} of {DESCRIPTION} names this file; exactly one must")
        return splits[0]


def describe_folder(folder: Path) -> DatasetFolder | None:
    """What a folder says of itself; None where it holds no `dataset.yaml`. Raises InputError that names the key."""
    path = folder / DESCRIPTION
    if not path.is_file():
        return None
    try:
        return DatasetFolder.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {error}") from None
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise InputError(f"{path}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
