"""A bundle is whole, verified and immutable, or it is refused with the reason."""

import hashlib
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from netwarden.detectors.bundle import (
    MANIFEST,
    DetectorBundle,
    TrainingFacts,
    derive_bundle,
    load_bundle,
    read_manifest,
    write_bundle,
)
from netwarden.errors import BundleError
from netwarden.flows.table import MeterStamp
from tests.fixtures.bundles import train_bundle


@pytest.fixture
def copy(bundle_folder, tmp_path):
    """A bundle to damage."""
    return shutil.copytree(bundle_folder, tmp_path / "copy")


def write_again(bundle: DetectorBundle, folder, schema, **changed) -> DetectorBundle:
    parts = {
        "schema": schema,
        "preprocessor": bundle.preprocessor,
        "detector": bundle.detector,
        "calibration": bundle.calibration,
        "threshold": bundle.manifest.threshold,
        "reference": bundle.reference,
        "training": bundle.manifest.training,
    }
    return write_bundle(folder, **{**parts, **changed})


def edit_manifest(folder, **changed):
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_training_twice_gives_the_same_bytes_and_id(bundle_folder, nsl_schema, flows, tmp_path):
    second = train_bundle(tmp_path / "second", nsl_schema, flows)
    assert contents(second.folder) == contents(bundle_folder)
    assert second.bundle_id == hashlib.sha256((bundle_folder / MANIFEST).read_bytes()).hexdigest()[:16]


def test_the_manifest_says_what_the_bundle_depends_on(bundle, nsl_schema):
    manifest = bundle.manifest
    assert manifest.schema_id == "nsl_kdd" and manifest.schema_hash == nsl_schema.contract_hash()
    assert [(f.name, f.type, f.unit) for f in manifest.features] == [
        (c.name, c.type, c.unit) for c in nsl_schema.features
    ]
    assert manifest.families == ("dos", "probe", "r2l")
    assert manifest.threshold.budget == 0.02 and manifest.training.seed == 1
    assert {"numpy", "xgboost", "netwarden"} <= set(manifest.libraries)
    assert set(manifest.files) == {path.name for path in bundle.folder.iterdir()} - {MANIFEST}


def test_nothing_in_a_bundle_is_a_pickle(bundle):
    for path in bundle.folder.iterdir():
        assert path.suffix in {".json", ".npz", ".ubj"}
        assert b"\x80\x04\x95" not in path.read_bytes()[:64]


def test_the_meter_is_the_schemas_unless_it_is_given(bundle, nsl_schema, tmp_path):
    assert (bundle.manifest.meter_mode, bundle.manifest.meter_version) == (nsl_schema.meter_mode, "")
    metered = write_again(bundle, tmp_path / "metered", nsl_schema, meter=MeterStamp("standard", "3"))
    assert (metered.manifest.meter_mode, metered.manifest.meter_version) == ("standard", "3")


def test_writing_the_same_bundle_again_changes_nothing(bundle, nsl_schema, copy):
    before = contents(copy)
    assert write_again(bundle, copy, nsl_schema).bundle_id == bundle.bundle_id
    assert contents(copy) == before
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_another_bundle_is_never_overwritten(bundle, nsl_schema, copy):
    with pytest.raises(BundleError, match="is there already and differs; a bundle is never overwritten"):
        write_again(bundle, copy, nsl_schema, training=TrainingFacts(seed=99))
    assert load_bundle(copy).bundle_id == bundle.bundle_id
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_a_file_in_the_way_is_never_overwritten(bundle, nsl_schema, tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(BundleError, match="taken is there already and differs"):
        write_again(bundle, tmp_path / "taken", nsl_schema)
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_failed_write_leaves_nothing_behind(bundle, nsl_schema, tmp_path):
    class FullDisk:
        kind, families = "boosted_trees", ()

        def save(self, folder):
            raise OSError(f"no space left on device, writing {folder}")

    with pytest.raises(OSError, match="no space left"):
        write_again(bundle, tmp_path / "new", nsl_schema, detector=FullDisk())
    assert not list(tmp_path.iterdir())


def test_a_derived_bundle_says_of_which_and_how_and_leaves_it_alone(bundle, bundle_folder, tmp_path):
    before = contents(bundle_folder)
    moved = bundle.manifest.threshold.moved(0.1)
    derived = derive_bundle(tmp_path / "derived", bundle, "threshold moved to a budget of 10 %", threshold=moved)
    assert derived.bundle_id != bundle.bundle_id and contents(bundle_folder) == before
    assert (derived.manifest.derived_from, derived.threshold) == (bundle.bundle_id, moved.value)
    assert f"derived from {bundle.bundle_id}: threshold moved to a budget of 10 %" in derived.describe()
    same = {name: data for name, data in before.items() if name != MANIFEST}
    assert {name: data for name, data in contents(derived.folder).items() if name != MANIFEST} == same
    assert derived.manifest.training == bundle.manifest.training


def test_the_description_tells_budget_and_realised_rate(bundle):
    text = bundle.describe()
    assert bundle.bundle_id in text and "41 features; families dos, probe, r2l" in text
    assert "budget 2.00%, realised" in text and "made_up" in text


def test_a_changed_byte_in_any_file_is_refused_before_it_is_parsed(bundle, copy):
    for name in bundle.manifest.files:
        good = (copy / name).read_bytes()
        (copy / name).write_bytes(b"\x00" + good[1:])
        with pytest.raises(BundleError, match=f"{name} has another sha256 than bundle.json states"):
            load_bundle(copy)
        (copy / name).write_bytes(good)
    load_bundle(copy)


def test_a_missing_file_is_named(copy):
    (copy / "binary.ubj").unlink()
    with pytest.raises(BundleError, match=r"lacks binary\.ubj; was the copy complete\?"):
        load_bundle(copy)


def test_an_extra_file_is_named(copy):
    (copy / "model.pkl").write_bytes(b"")
    with pytest.raises(BundleError, match=r"holds model\.pkl, which bundle\.json does not list"):
        load_bundle(copy)


def test_a_bundle_that_does_not_list_its_preprocessor_is_refused(copy):
    files = json.loads((copy / MANIFEST).read_text())["files"]
    (copy / "preprocessor.npz").unlink()
    edit_manifest(copy, files={name: digest for name, digest in files.items() if name != "preprocessor.npz"})
    with pytest.raises(BundleError, match=r"lacks preprocessor\.npz"):
        load_bundle(copy)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/b", "..", ".hidden", "", "a\\b", "bundle.json"])
def test_names_that_are_no_plain_file_names_are_refused(copy, name):
    edit_manifest(copy, files={name: "0" * 64})
    with pytest.raises(BundleError, match="which is no plain file name"):
        load_bundle(copy)


def test_links_and_folders_are_refused_even_with_the_right_content(copy, tmp_path):
    real = tmp_path / "elsewhere.ubj"
    shutil.move(copy / "binary.ubj", real)
    (copy / "binary.ubj").symlink_to(real)
    with pytest.raises(BundleError, match=r"binary\.ubj is not a plain file"):
        load_bundle(copy)
    (copy / "binary.ubj").unlink()
    (copy / "binary.ubj").mkdir()
    with pytest.raises(BundleError, match=r"binary\.ubj is not a plain file"):
        load_bundle(copy)


def test_a_newer_format_is_named(copy):
    edit_manifest(copy, format_version=99)
    with pytest.raises(
        BundleError, match="is a bundle of format 99; this version reads 1, 2: was it written by a newer"
    ):
        load_bundle(copy)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version"', "\x00\xff"])
def test_a_manifest_that_states_no_format_is_refused(copy, text):
    (copy / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(BundleError, match="it is not JSON that states a format_version"):
        load_bundle(copy)


def test_a_damaged_manifest_says_where(copy):
    edit_manifest(copy, calibration={"slope": -1.0, "intercept": 0.0, "rows": 3})
    with pytest.raises(BundleError, match=r"bundle\.json is damaged at 'calibration\.slope'"):
        load_bundle(copy)


def test_an_unknown_key_is_refused_by_name(copy):
    edit_manifest(copy, threshhold=0.5)
    with pytest.raises(BundleError, match="damaged at 'threshhold'"):
        read_manifest(copy)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match=r"is no bundle: bundle\.json cannot be read \(No such file"):
        load_bundle(tmp_path)


def test_an_unknown_kind_is_refused_with_the_known_ones(copy):
    edit_manifest(copy, kind="oracle")
    with pytest.raises(BundleError, match="unknown detector kind 'oracle'; known: autoencoder, boosted_trees"):
        load_bundle(copy)


def test_manifest_and_files_must_agree_on_features_and_families(copy):
    good = json.loads((copy / MANIFEST).read_text())
    edit_manifest(copy, features=good["features"][1:])
    with pytest.raises(BundleError, match="disagree on the features"):
        load_bundle(copy)
    edit_manifest(copy, features=good["features"], families=["dos"])
    with pytest.raises(BundleError, match="disagree on the families"):
        load_bundle(copy)


def test_an_unreadable_folder_is_refused(copy):
    if os.geteuid() == 0:
        (copy / MANIFEST).unlink()
        (copy / MANIFEST).mkdir()
    else:
        (copy / MANIFEST).chmod(0)
    with pytest.raises(BundleError, match=r"bundle\.json cannot be read"):
        load_bundle(copy)


def test_scores_are_the_same_before_and_after_the_bundle(bundle, flows, nsl_schema, tmp_path):
    written = write_again(bundle, tmp_path / "again", nsl_schema)
    matrix = bundle.preprocessor.transform(flows.arrow)
    np.testing.assert_array_equal(written.detector.score(matrix), bundle.detector.score(matrix))
    assert written.calibration == bundle.calibration
    assert replace(written, folder=bundle.folder).manifest == bundle.manifest
