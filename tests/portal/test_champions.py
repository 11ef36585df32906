"""Which bundle serves, and that the portal notices when this changes."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from netwarden.errors import BundleError, InputError
from netwarden.portal.models.champions import Champions
from netwarden.settings import load_settings
from netwarden.sources.connect import open_backup, open_registry
from tests.fixtures.bundles import made_up_flows, train_bundle
from tests.portal.conftest import listening, make_champion, portal_settings


@pytest.fixture(scope="module")
def other_bundle(nsl_schema, tmp_path_factory):
    return train_bundle(tmp_path_factory.mktemp("b") / "other", nsl_schema, made_up_flows(nsl_schema, 1500, 2), seed=2)


def until_serving(portal, bundle_id: str) -> float:
    started = time.monotonic()
    while portal.client.get("/ready").json()["bundles"].get("nsl_kdd") != bundle_id:
        assert time.monotonic() - started < 5, "a new champion must serve within five seconds"
        time.sleep(0.1)
    return time.monotonic() - started


def test_a_new_champion_serves_within_five_seconds(tmp_path, bundle, other_bundle):
    settings = portal_settings(tmp_path)
    with listening(settings) as portal:
        assert portal.client.get("/ready").status_code == 503
        for champion in (bundle, other_bundle):
            make_champion(settings, champion)
            until_serving(portal, champion.bundle_id)
        with closing(open_registry(settings)) as registry:
            registry.rollback("nsl_kdd", who="test", why="worse at night")
        until_serving(portal, bundle.bundle_id)


def test_a_damaged_new_champion_leaves_the_one_before_it_in_charge(tmp_path, bundle, other_bundle):
    settings = portal_settings(tmp_path)
    make_champion(settings, bundle)
    with listening(settings) as portal:
        until_serving(portal, bundle.bundle_id)
        make_champion(settings, other_bundle)
        victim = settings.bundles_dir / other_bundle.bundle_id / "preprocessor.npz"
        victim.write_bytes(victim.read_bytes()[:-1])
        time.sleep(2.5)
        ready = portal.client.get("/ready").json()
    assert ready["bundles"] == {"nsl_kdd": bundle.bundle_id}
    assert "has another sha256" in ready["faults"]["nsl_kdd"]


def test_a_champion_whose_files_are_gone_fails_closed_and_can_be_restored_from_the_page(tmp_path, bundle):
    settings = portal_settings(tmp_path)
    make_champion(settings, bundle)
    open_backup(settings).put_folder(f"bundles/{bundle.bundle_id}", bundle.folder)
    shutil.rmtree(settings.bundles_dir / bundle.bundle_id)
    with listening(settings) as portal:
        answer = portal.client.post("/predict", files={"file": ("a.npy", b"x")})
        assert answer.status_code == 503
        assert f"bring it back with `netwarden restore {bundle.bundle_id}`" in answer.json()["detail"]
        assert portal.client.post("/restore", data={"bundle_id": bundle.bundle_id[:6]}).status_code == 303
        until_serving(portal, bundle.bundle_id)
        missing = portal.client.post("/restore", data={"bundle_id": "zzz"})
    assert missing.status_code == 404


def test_of_several_detectors_one_must_be_named(tmp_path, bundle, nsl_schema):
    settings = portal_settings(tmp_path)
    folder = tmp_path / "schema"
    folder.mkdir()
    text = (settings.schema_dir / "nsl_kdd.yaml").read_text()
    (folder / "nsl_kdd.yaml").write_text(text)
    (folder / "second.yaml").write_text(text.replace("id: nsl_kdd", "id: second"))
    settings = settings.model_copy(update={"workspace": tmp_path})
    second = nsl_schema.model_copy(update={"id": "second"})
    make_champion(settings, bundle)
    make_champion(settings, train_bundle(tmp_path / "b" / "second", second, made_up_flows(second, 800, 3)))
    champions = Champions(settings)
    with pytest.raises(
        InputError, match="several detectors serve; name the schema of your flows, one of: nsl_kdd, second"
    ):
        champions.choose()
    assert champions.choose("second").schema.id == "second"


def test_without_any_bundle_the_error_says_what_to_do(tmp_path):
    with pytest.raises(BundleError, match="nothing has been trained or restored yet"):
        Champions(portal_settings(tmp_path)).choose()


def test_a_champion_that_another_machine_trained_comes_from_the_bucket_by_itself(tmp_path, bundle, s3_bucket):
    there, here = (load_settings({**s3_bucket.environment, "NETWARDEN_HOME": str(tmp_path / name)}) for name in "ab")
    make_champion(there, bundle)
    open_backup(there).put_folder(f"bundles/{bundle.bundle_id}", bundle.folder)
    shutil.copytree(there.home, here.home, ignore=shutil.ignore_patterns("bundles"))  # one registry for both
    with ThreadPoolExecutor(4) as pool:  # the roles of a machine all look for it
        found = list(pool.map(lambda _: Champions(here).choose("nsl_kdd").bundle.bundle_id, range(4)))
    assert found == [bundle.bundle_id] * 4


def test_a_champion_that_no_bucket_keeps_is_a_fault_that_says_so(tmp_path, bundle, s3_bucket):
    settings = load_settings({**s3_bucket.environment, "NETWARDEN_HOME": str(tmp_path)})
    make_champion(settings, bundle)
    shutil.rmtree(settings.bundles_dir)
    assert "has no bundle" in Champions(settings).serving().faults["nsl_kdd"]
