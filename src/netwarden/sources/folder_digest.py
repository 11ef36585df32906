"""What a backup knows of a folder: every file's size and SHA-256, kept beside the files as `backup.json`."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from netwarden.errors import BackupError

LISTING = "backup.json"  # written last: a key without it is an upload that never finished
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")


@dataclass(frozen=True)
class FileDigest:
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class FolderDigest:
    """Files of a folder by their path inside it, `/` between the parts."""

    files: dict[str, FileDigest]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files.values())

    @property
    def hashes(self) -> dict[str, str]:
        return {name: file.sha256 for name, file in self.files.items()}

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()


def check_key(key: str) -> str:
    """The key. Raises BackupError where it could leave its place, or a store could not hold it."""
    if not _KEY.fullmatch(key):
        raise BackupError(f"backup key {key!r}: use letters, digits, '_', '-' and '.', parts separated by '/'")
    return key


def digest_folder(folder: Path) -> FolderDigest:
    """Digest of all files of a folder. Raises BackupError where there are none."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if not paths:
        raise BackupError(f"{folder} holds no files to back up")
    if folder / LISTING in paths:
        raise BackupError(f"{folder / LISTING} has the name that a backup keeps its own listing under; rename it")
    return FolderDigest({path.relative_to(folder).as_posix(): digest_file(path) for path in paths})


def digest_file(path: Path) -> FileDigest:
    """Digest of one file, read in pieces."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return FileDigest(sha256, path.stat().st_size)


def read_listing(text: bytes, where: str) -> FolderDigest:
    """Digest from a listing. Raises BackupError where it is damaged or names files outside the folder."""
    try:
        files = {name: FileDigest(**facts) for name, facts in json.loads(text)["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackupError(f"{where}: the backup's listing is damaged ({error})") from None
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise BackupError(f"{where}: the backup's listing names {name!r}, outside its folder")
    return FolderDigest(files)


def verify_file(path: Path, expected: FileDigest, where: str) -> None:
    """Raise BackupError where a file is not what the listing says."""
    found = digest_file(path)
    if found != expected:
        raise BackupError(
            f"{where} differs from its listing: {found.size_bytes} bytes with SHA-256 {found.sha256[:12]}…, expected "
            f"{expected.size_bytes} with {expected.sha256[:12]}…; the backup is damaged"
        )


def refuse_other_content(kept: FolderDigest, offered: FolderDigest, where: str) -> None:
    """Raise BackupError where a key holds other content than what is offered for it."""
    if kept != offered:
        differing = sorted(
            name for name in {*kept.files, *offered.files} if kept.files.get(name) != offered.files.get(name)
        )
        raise BackupError(
            f"{where} holds other content already ({', '.join(differing[:5])}); keys are immutable, so use another key"
        )
