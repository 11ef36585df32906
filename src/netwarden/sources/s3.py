"""Backups in an S3 bucket, at AWS or any server that speaks its protocol."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError

from netwarden.errors import BackupError
from netwarden.settings import Settings
from netwarden.sources.folder_digest import (
    LISTING,
    FolderDigest,
    check_key,
    digest_folder,
    read_listing,
    refuse_other_content,
    verify_file,
)
from netwarden.sources.local_backup import appearing_whole
from netwarden.sources.store import BackupReceipt

_PART_BYTES = 16 * 1024 * 1024
_TIMEOUT_S = 20
_TRIES = 3


def open_bucket(settings: Settings) -> S3Backup:
    """Backup in the bucket that the settings name."""
    return S3Backup(s3_client(settings), settings.s3_bucket or "", settings.s3_endpoint)


def s3_client(settings: Settings) -> Any:
    """Client of the store that the settings name; keys not set there are looked up where boto3 always does."""
    secret, session = settings.aws_secret_access_key, settings.aws_session_token
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.aws_region,
        aws_access_key_id=settings.aws_access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        aws_session_token=session.get_secret_value() if session else None,
        config=Config(
            connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"mode": "standard", "max_attempts": _TRIES}
        ),
    )


class S3Backup:
    """Backup whose keys are prefixes of a bucket: the files, and a listing written last that makes the key complete."""

    def __init__(self, client: Any, bucket: str, endpoint: str | None, part_bytes: int = _PART_BYTES) -> None:
        self._client = client
        self._bucket = bucket
        self._endpoint = endpoint
        self._part_bytes = part_bytes

    @property
    def address(self) -> str:
        return f"s3://{self._bucket}" + (f" at {self._endpoint}" if self._endpoint else "")

    def put_folder(self, key: str, folder: Path) -> BackupReceipt:
        """Keep a folder's files under a key. The same content again is a no-op; other content is refused."""
        digest = digest_folder(folder)
        with self._explained():
            kept = self._listing(check_key(key))
            if kept is None:
                for name in digest.files:
                    self._upload(folder / name, f"{key}/{name}", digest.files[name].sha256)
                self._finish(key, digest)
            else:
                refuse_other_content(kept, digest, f"{self.address}/{key}")
        return BackupReceipt(self.address, key, digest.hashes, digest.size_bytes, kept is None)

    def get_folder(self, key: str, folder: Path) -> Path:
        """Bring a key's files back to a folder that is not there yet or is empty: all of them verified, or none."""
        with self._explained():
            listing = self._listing(check_key(key))
            if listing is None:
                raise BackupError(f"{self.address} has no backup {key!r}; it holds {len(self.keys())} others")
            with appearing_whole(folder) as unfinished:
                for name, expected in listing.files.items():
                    (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
                    self._client.download_file(self._bucket, f"{key}/{name}", str(unfinished / name))
                    verify_file(unfinished / name, expected, f"{self.address}/{key}/{name}")
        return folder

    def keys(self, prefix: str = "") -> list[str]:
        """Complete backups, sorted."""
        with self._explained():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            names = (entry["Key"] for page in pages for entry in page.get("Contents", []))
            return sorted(name.removesuffix(f"/{LISTING}") for name in names if name.endswith(f"/{LISTING}"))

    def check(self) -> None:
        """Raise BackupError where a small object cannot be kept, read back and removed again."""
        place = {"Bucket": self._bucket, "Key": f"netwarden-check/{secrets.token_hex(8)}"}
        with self._explained():
            self._client.put_object(**place, Body=b"check", ChecksumAlgorithm="SHA256")
            kept = self._client.get_object(**place)["Body"].read()
            self._client.delete_object(**place)
        if kept != b"check":
            raise BackupError(f"{self.address}: an object came back otherwise than it went in")

    def _listing(self, key: str) -> FolderDigest | None:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=f"{key}/{LISTING}")
        except self._client.exceptions.NoSuchKey:
            return None
        return read_listing(answer["Body"].read(), f"{self.address}/{key}")

    def _upload(self, path: Path, name: str, sha256: str) -> None:
        """Upload a file, large ones in parts, and compare the checksum that the server computed of what it keeps."""
        transfer = TransferConfig(multipart_threshold=self._part_bytes, multipart_chunksize=self._part_bytes)
        self._client.upload_file(
            str(path), self._bucket, name, Config=transfer, ExtraArgs={"ChecksumAlgorithm": "SHA256"}
        )
        answer = self._client.head_object(Bucket=self._bucket, Key=name, ChecksumMode="ENABLED")
        kept = answer.get("ChecksumSHA256")
        expected = _checksum(path, self._part_bytes)
        if kept is None:  # a server that keeps no checksums: read it back
            kept, expected = self._read_back(name), sha256
        if kept.partition("-")[0] != expected:  # behind the dash some servers add the number of parts
            raise BackupError(f"{self.address}/{name}: what arrived differs from {path}; try again")

    def _read_back(self, name: str) -> str:
        digest = hashlib.sha256()
        for piece in self._client.get_object(Bucket=self._bucket, Key=name)["Body"].iter_chunks(1 << 20):
            digest.update(piece)
        return digest.hexdigest()

    def _finish(self, key: str, digest: FolderDigest) -> None:
        """Write the listing, unless another writer has finished the same key meanwhile."""
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=f"{key}/{LISTING}",
                Body=digest.to_json(),
                ChecksumAlgorithm="SHA256",
                IfNoneMatch="*",
            )
        except ClientError as error:
            kept = self._listing(key) if _code(error) == "PreconditionFailed" else None
            if kept is None:
                raise
            refuse_other_content(kept, digest, f"{self.address}/{key}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, Boto3Error, ClientError) as error:
            raise BackupError(f"{self.address}: {_cause(error)}") from None
        except OSError as error:
            raise BackupError(f"cannot keep the files here: {error}; check space and permissions") from error


def _checksum(path: Path, part_bytes: int) -> str:
    """The SHA-256 that S3 keeps, in Base64: of the file, or of its parts' digests where it came in parts."""
    with path.open("rb") as file:
        if path.stat().st_size < part_bytes:
            digest = hashlib.file_digest(file, "sha256")
        else:
            parts = iter(lambda: file.read(part_bytes), b"")
            digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts))
    return base64.b64encode(digest.digest()).decode()


def _cause(error: Exception) -> str:
    if isinstance(error, NoCredentialsError):
        return "no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if isinstance(error, EndpointConnectionError):
        return "the server does not answer; is AWS_ENDPOINT_URL_S3 right, and the network up?"
    code = _code(error)
    return f"{_REFUSALS.get(code, 'the server refuses')} ({code or error})"


def _code(error: Exception) -> str:
    """S3's error code, also from inside the error that boto3's transfers wrap around it."""
    inner = error if isinstance(error, ClientError) else error.__context__
    return str(inner.response["Error"]["Code"]) if isinstance(inner, ClientError) else ""


_WRONG_KEY = "AWS_ACCESS_KEY_ID is not one this server knows"
_WRONG_SECRET = "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID"  # noqa: S105 - a message
_NOT_ALLOWED = "this key may not do that; it needs to list the bucket, and to get and put objects"
_REFUSALS = {
    "InvalidAccessKeyId": _WRONG_KEY,
    "SignatureDoesNotMatch": _WRONG_SECRET,
    "ExpiredToken": "the temporary key has expired",
    "AccessDenied": _NOT_ALLOWED,
    "403": _NOT_ALLOWED,
    "NoSuchBucket": "there is no such bucket; create it, or check S3_BUCKET",
    "404": "there is no such bucket; create it, or check S3_BUCKET",
    "PermanentRedirect": "the bucket is in another region; set AWS_REGION",
}
