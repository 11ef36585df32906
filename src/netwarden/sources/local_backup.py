"""Backups in a local folder: the twin of S3 where no bucket is configured."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netwarden.errors import BackupError
from netwarden.sources.folder_digest import (
    LISTING,
    FolderDigest,
    check_key,
    digest_folder,
    read_listing,
    refuse_other_content,
    verify_file,
)
from netwarden.sources.store import BackupReceipt

_UNFINISHED = ".unfinished-"


class LocalBackup:
    """Backup in a folder; each key is a folder that appears whole."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def address(self) -> str:
        return f"local folder {self._root}"

    def put_folder(self, key: str, folder: Path) -> BackupReceipt:
        """Keep a folder's files under a key. The same content again is a no-op; other content is refused."""
        target = self._root / check_key(key)
        digest = digest_folder(folder)
        uploaded = not (target / LISTING).exists() and self._copied(folder, target, digest)
        refuse_other_content(self._listing(key), digest, f"{self.address}/{key}")
        return BackupReceipt(self.address, key, digest.hashes, digest.size_bytes, uploaded)

    def _copied(self, folder: Path, target: Path, digest: FolderDigest) -> bool:
        """Whether the copy took its place; False where another writer finished the same key meanwhile."""
        try:
            with _explained(target), appearing_whole(target) as unfinished:
                copy_verified(folder, unfinished, digest, self.address)
                (unfinished / LISTING).write_bytes(digest.to_json())
        except BackupError:
            if not (target / LISTING).exists():
                raise
            return False
        return True

    def get_folder(self, key: str, folder: Path) -> Path:
        """Bring a key's files back to a folder that is not there yet or is empty: all of them verified, or none."""
        listing = self._listing(check_key(key))
        with _explained(folder), appearing_whole(folder) as unfinished:
            copy_verified(self._root / key, unfinished, listing, self.address)
        return folder

    def keys(self, prefix: str = "") -> list[str]:
        """Complete backups, sorted."""
        found = (path.parent.relative_to(self._root) for path in self._root.rglob(LISTING))
        whole = (path.as_posix() for path in found if not any(part.startswith(_UNFINISHED) for part in path.parts))
        return sorted(key for key in whole if key.startswith(prefix))

    def check(self) -> None:
        """Raise BackupError where a small file cannot be kept and removed again."""
        with _explained(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(prefix=_UNFINISHED, dir=self._root) as file:
                file.write(b"check")

    def _listing(self, key: str) -> FolderDigest:
        path = self._root / key / LISTING
        if not path.exists():
            raise BackupError(f"{self.address} has no backup {key!r}; it holds {len(self.keys())} others")
        return read_listing(path.read_bytes(), f"{self.address}/{key}")


@contextmanager
def appearing_whole(folder: Path) -> Iterator[Path]:
    """A fresh folder beside `folder` that takes its place when the block ends well, and vanishes when it does not.

    Raises BackupError where `folder` is there and holds files.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and any(folder.iterdir()):
        raise BackupError(f"{folder} is there already and holds files; remove it or name another folder")
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder.parent))
    try:
        yield unfinished
        unfinished.chmod(0o755)  # mkdtemp makes it private
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def copy_verified(source: Path, target: Path, digest: FolderDigest, where: str) -> None:
    """Copy the files that a digest lists, and verify every copy."""
    for name, expected in digest.files.items():
        if not (source / name).exists():
            raise BackupError(f"{source / name} is missing; the backup is damaged")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
        verify_file(target / name, expected, f"{where}: {name}")


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(f"cannot write {folder}: {error.strerror}; check space and permissions") from error
