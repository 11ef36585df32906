"""A bundle's folder as a tar archive, made while it is sent; equal bundles give equal bytes."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 1 << 20


def tar_chunks(folder: Path) -> Iterator[bytes]:
    """The archive, a megabyte at a time; its files lie in a folder of the bundle's name."""
    for path in sorted(folder.iterdir()):
        about = tarfile.TarInfo(f"{folder.name}/{path.name}")
        about.size = path.stat().st_size
        yield about.tobuf(tarfile.USTAR_FORMAT)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        yield bytes(-about.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def tar_bytes(folder: Path) -> int:
    """Length of that archive."""
    sizes = [path.stat().st_size for path in folder.iterdir()]
    blocks = sum(1 + -(-size // tarfile.BLOCKSIZE) for size in sizes)
    return (blocks + 2) * tarfile.BLOCKSIZE
