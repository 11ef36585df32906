"""Named plain arrays in and out of `.npz`: no pickle either way, and equal arrays give equal bytes."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from netwarden.errors import BundleError

Arrays = dict[str, npt.NDArray[Any]]


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write an `.npz`; NumPy dates its entries 1980, so that the bytes depend on the arrays alone."""
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_arrays(path: Path, names: Iterable[str]) -> Arrays:
    """The named arrays of an `.npz`. Raises BundleError that says what is missing or unreadable."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            missing = sorted(set(names) - set(stored.files))
            if missing:
                raise BundleError(
                    f"{path.name} lacks the arrays {', '.join(missing)}; was it written by another version?"
                )
            return {name: stored[name] for name in names}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path.name} cannot be read as plain arrays: {error}") from None


def pack_texts(texts: Iterable[str]) -> npt.NDArray[np.uint8]:
    """Texts as one byte array, each led by its length: NumPy's own text arrays drop trailing NULs."""
    encoded = [text.encode() for text in texts]
    return np.frombuffer(b"".join(len(text).to_bytes(4, "little") + text for text in encoded), np.uint8)


def unpack_texts(packed: npt.NDArray[np.uint8]) -> list[str]:
    """Texts that `pack_texts` packed."""
    data, texts, start = packed.tobytes(), [], 0
    while start < len(data):
        end = start + 4 + int.from_bytes(data[start : start + 4], "little")
        texts.append(data[start + 4 : end].decode())
        start = end
    return texts
