"""`netwarden restore`: a bundle back from the backup."""

import shutil

import pytest

from netwarden.detectors.bundle import load_bundle
from netwarden.errors import BackupError, BundleError, NetwardenError, NotFoundError
from netwarden.scoring.model import load, restore_bundle
from netwarden.sources.connect import open_backup


@pytest.fixture
def backed_up(settings, bundle):
    open_backup(settings).put_folder(f"bundles/{bundle.bundle_id}", bundle.folder)
    return settings


def test_a_lost_bundle_comes_back_verified(backed_up, bundle):
    folder = backed_up.bundles_dir / bundle.bundle_id
    shutil.rmtree(folder)
    assert restore_bundle(backed_up, bundle.bundle_id[:7]) == folder
    assert load_bundle(folder).bundle_id == bundle.bundle_id
    assert load("champion", backed_up).bundle.bundle_id == bundle.bundle_id


def test_a_damaged_bundle_is_moved_aside_and_a_sound_one_left_alone(backed_up, bundle):
    folder = backed_up.bundles_dir / bundle.bundle_id
    stamp = (folder / "bundle.json").stat().st_mtime_ns
    restore_bundle(backed_up, bundle.bundle_id)
    assert (folder / "bundle.json").stat().st_mtime_ns == stamp
    (folder / "preprocessor.npz").write_bytes(b"no")
    restore_bundle(backed_up, bundle.bundle_id)
    assert load_bundle(folder)
    (aside,) = backed_up.bundles_dir.glob(".damaged-*")
    assert (aside / bundle.bundle_id / "preprocessor.npz").read_bytes() == b"no"


def test_on_a_new_machine_the_restored_bundle_is_champion(backed_up, bundle):
    (backed_up.home / "registry.sqlite").unlink()
    shutil.rmtree(backed_up.bundles_dir)
    restore_bundle(backed_up, bundle.bundle_id)
    assert load("champion", backed_up).bundle.bundle_id == bundle.bundle_id


def test_a_bundle_that_the_backup_does_not_have_is_refused_with_what_it_has(backed_up, bundle):
    with pytest.raises(NotFoundError, match=f"has no bundle 'ffff'; there: {bundle.bundle_id}"):
        restore_bundle(backed_up, "ffff")


@pytest.mark.parametrize("file", ["preprocessor.npz", "bundle.json"])
def test_a_damaged_backup_is_refused_and_nothing_is_put_in_place(backed_up, bundle, file):
    shutil.rmtree(backed_up.bundles_dir / bundle.bundle_id)
    (kept,) = (path for path in backed_up.home.rglob(file) if bundle.bundle_id in path.parts)
    kept.write_bytes(b"no")
    with pytest.raises((BackupError, BundleError)):
        restore_bundle(backed_up, bundle.bundle_id)
    assert list(backed_up.bundles_dir.iterdir()) == []


def test_a_bundle_kept_under_another_name_is_refused(settings, bundle):
    open_backup(settings).put_folder("bundles/0000000000000000", bundle.folder)
    with pytest.raises(NetwardenError, match=f"keeps bundle {bundle.bundle_id} under the name of 0000000000000000"):
        restore_bundle(settings, "0000")
