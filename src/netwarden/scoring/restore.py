"""Bundles back from the backup, verified."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from netwarden.detectors.bundle import DetectorBundle, load_bundle
from netwarden.errors import BundleError, NotFoundError
from netwarden.settings import Settings
from netwarden.sources.connect import open_backup, open_registry
from netwarden.sources.store import Backup, BundleEntry

_PREFIX = "bundles/"


def restore_bundle(settings: Settings, bundle_id: str) -> Path:
    """Folder of a bundle (by id or unique start of it) as the backup keeps it, put in place whole or not at all.

    A sound bundle that is there already is left alone; a damaged one is moved aside. The registry learns the bundle
    where it does not know it, and makes it champion where its schema has none.
    Raises NotFoundError where the backup does not have it, and BundleError or BackupError where the copy is damaged.
    """
    backup = open_backup(settings)
    found = _find(backup, bundle_id)
    folder = settings.bundles_dir / found
    bundle = _sound(folder) or _fetch(backup, found, folder)
    _register(settings, bundle)
    return folder


def _find(backup: Backup, bundle_id: str) -> str:
    known = [key.removeprefix(_PREFIX) for key in backup.keys(_PREFIX)]
    matches = [found for found in known if found.startswith(bundle_id)]
    if len(matches) != 1:
        shown = ", ".join(sorted(matches or known)[-5:]) or "none"
        what = f"has {len(matches)} bundles that begin with" if matches else "has no bundle"
        raise NotFoundError(f"{backup.address} {what} {bundle_id!r}; there: {shown}")
    return matches[0]


def _sound(folder: Path) -> DetectorBundle | None:
    try:
        bundle = load_bundle(folder)
    except BundleError:
        return None
    return bundle if bundle.bundle_id == folder.name else None


def _fetch(backup: Backup, bundle_id: str, folder: Path) -> DetectorBundle:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{bundle_id}.", dir=folder.parent) as draft:
        fetched = backup.get_folder(_PREFIX + bundle_id, Path(draft) / "bundle")
        bundle = load_bundle(fetched)
        if bundle.bundle_id != bundle_id:
            raise BundleError(f"{backup.address} keeps bundle {bundle.bundle_id} under the name of {bundle_id}")
        if folder.exists() and _sound(folder) is None:  # others may have brought it back meanwhile
            aside = Path(tempfile.mkdtemp(prefix=f".damaged-{bundle_id}.", dir=folder.parent))
            shutil.move(folder, aside)
        try:
            os.rename(fetched, folder)  # noqa: PTH104 - fails, rather than nests, where the folder is there
        except OSError:
            if _sound(folder) is None:
                raise  # else somebody has brought it back meanwhile
    return load_bundle(folder)


def _register(settings: Settings, bundle: DetectorBundle) -> None:
    entry = BundleEntry(
        bundle_id=bundle.bundle_id,
        schema_id=bundle.schema_id,
        location=bundle.bundle_id,
        registered_at=datetime.now(UTC),
        validation=bundle.manifest.training.metrics,
    )
    why = "brought back from the backup"
    with closing(open_registry(settings)) as registry:
        registry.register(entry, who="restore", why=why)
        if registry.champion(bundle.schema_id) is None:
            registry.promote(bundle.bundle_id, who="restore", why=f"{why}; its schema had no champion")
