"""A bundle that changes another one without training, kept and registered."""

from __future__ import annotations

import tempfile
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from netwarden.detectors.bundle import DetectorBundle, derive_bundle, load_bundle
from netwarden.settings import Settings
from netwarden.sources.connect import open_backup, open_registry
from netwarden.sources.store import BundleEntry


def register_derived(settings: Settings, origin: DetectorBundle, change: str, who: str, **parts: Any) -> BundleEntry:
    """Entry of the bundle with these `parts` of `derive_bundle`, kept, backed up and registered.

    It takes the place of the champion if the origin was that.
    """
    derived = _kept(settings, origin, change, parts)
    open_backup(settings).put_folder(f"bundles/{derived.bundle_id}", derived.folder)
    with closing(open_registry(settings)) as registry:
        known = registry.entry(origin.bundle_id)
        champion = registry.champion(origin.schema_id)
        # Figures of the origin: they say how good the detector is, and the next challenger is compared with them.
        now = datetime.now(UTC)
        entry = replace(known, bundle_id=derived.bundle_id, location=derived.bundle_id, registered_at=now, metrics={})
        registry.register(entry, who=who, why=f"{change}, from {origin.bundle_id}")
        if champion and champion.bundle_id == origin.bundle_id:
            return registry.promote(derived.bundle_id, who=who, why=change)
        return registry.entry(derived.bundle_id)


def _kept(settings: Settings, origin: DetectorBundle, change: str, parts: dict[str, Any]) -> DetectorBundle:
    """The derived bundle in the folder of bundles, under its id; it appears there whole or not at all."""
    settings.bundles_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=settings.bundles_dir) as draft:
        derived = derive_bundle(Path(draft) / "bundle", origin, change, **parts)
        target = settings.bundles_dir / derived.bundle_id
        with suppress(OSError):  # it may be there from an earlier time; what stands there is verified below
            derived.folder.rename(target)
    return load_bundle(target)
