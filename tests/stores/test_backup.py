"""What every backup promises, in a local folder and in S3."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest

from netwarden.errors import BackupError
from netwarden.settings import Settings, load_settings
from netwarden.sources.connect import open_backup
from netwarden.sources.folder_digest import LISTING
from netwarden.sources.s3 import S3Backup
from netwarden.sources.store import Backup
from tests.fixtures.servers import Bucket, free_port, make_bucket, script, serving


@pytest.fixture(params=["local", "s3"])
def backup(request: pytest.FixtureRequest, tmp_path: Path) -> Backup:
    environment = {"NETWARDEN_HOME": str(tmp_path / "home"), "NETWARDEN_WORKSPACE": str(tmp_path)}
    if request.param == "s3":
        environment |= request.getfixturevalue("s3_bucket").environment
    return open_backup(load_settings(environment))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "model").mkdir(parents=True)
    (folder / "bundle.json").write_text('{"format": 1}')
    (folder / "model" / "binary.ubj").write_bytes(bytes(range(256)) * 100)
    (folder / "empty.txt").touch()
    return folder


def s3_settings(bucket: Bucket, **changed: str) -> Settings:
    return load_settings({"NETWARDEN_WORKSPACE": "/nowhere", **bucket.environment, **changed})


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_comes_back_file_by_file(backup, bundle, tmp_path):
    receipt = backup.put_folder("bundles/aaaa", bundle)
    assert receipt.uploaded
    assert sorted(receipt.files) == ["bundle.json", "empty.txt", "model/binary.ubj"]
    restored = backup.get_folder("bundles/aaaa", tmp_path / "restored" / "aaaa")
    assert files(restored) == files(bundle)
    assert receipt.size_bytes == sum(len(content) for content in files(bundle).values())


def test_the_same_content_again_is_not_uploaded_again(backup, bundle):
    first = backup.put_folder("bundles/aaaa", bundle)
    again = backup.put_folder("bundles/aaaa", bundle)
    assert (again.uploaded, again.files) == (False, first.files)


def test_other_content_under_a_key_is_refused_by_file_and_changes_nothing(backup, bundle, tmp_path):
    backup.put_folder("bundles/aaaa", bundle)
    before = files(bundle)
    (bundle / "bundle.json").write_text('{"format": 2}')
    with pytest.raises(BackupError, match=r"holds other content already \(bundle.json\); keys are immutable"):
        backup.put_folder("bundles/aaaa", bundle)
    assert files(backup.get_folder("bundles/aaaa", tmp_path / "restored")) == before


def test_writers_of_the_same_content_at_once_are_all_served(backup, bundle, tmp_path):
    with ThreadPoolExecutor(6) as pool:
        receipts = list(pool.map(lambda _: backup.put_folder("bundles/aaaa", bundle), range(6)))
    assert all(receipt.files == receipts[0].files for receipt in receipts)
    assert backup.keys() == ["bundles/aaaa"]
    assert files(backup.get_folder("bundles/aaaa", tmp_path / "restored")) == files(bundle)


def test_keys_are_listed_by_prefix(backup, bundle):
    for key in ("bundles/bbbb", "bundles/aaaa", "manifests/nsl_kdd/1"):
        backup.put_folder(key, bundle)
    assert backup.keys("bundles/") == ["bundles/aaaa", "bundles/bbbb"]
    assert len(backup.keys()) == 3


def test_a_check_leaves_nothing_behind(backup):
    backup.check()
    assert backup.keys() == []


def test_a_check_of_a_folder_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "home").write_text("")
    backup = open_backup(load_settings({"NETWARDEN_HOME": str(tmp_path / "home"), "NETWARDEN_WORKSPACE": "/nowhere"}))
    with pytest.raises(BackupError, match=r"cannot write .*home/backup: Not a directory; check space and permissions"):
        backup.check()


def test_an_empty_backup_has_no_keys(backup):
    assert backup.keys() == []


def test_a_key_that_is_not_there_is_said_to_be_missing_and_leaves_no_folder(backup, bundle, tmp_path):
    backup.put_folder("bundles/aaaa", bundle)
    with pytest.raises(BackupError, match="has no backup 'bundles/zzzz'; it holds 1 others"):
        backup.get_folder("bundles/zzzz", tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


@pytest.mark.parametrize("key", ["", "/etc", "../up", "a//b", "a/../b", "a b"])
def test_a_key_that_could_leave_its_place_is_refused(backup, bundle, key):
    with pytest.raises(BackupError, match="backup key"):
        backup.put_folder(key, bundle)
    with pytest.raises(BackupError, match="backup key"):
        backup.get_folder(key, bundle)


def test_a_folder_without_files_is_refused(backup, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BackupError, match="holds no files to back up"):
        backup.put_folder("bundles/aaaa", tmp_path / "empty")


def test_files_already_there_are_never_overwritten_by_a_restore(backup, bundle):
    backup.put_folder("bundles/aaaa", bundle)
    with pytest.raises(BackupError, match="is there already and holds files"):
        backup.get_folder("bundles/aaaa", bundle)


def test_a_local_backup_that_was_damaged_is_found_out_and_leaves_no_folder(bundle, tmp_path):
    backup = open_backup(load_settings({"NETWARDEN_HOME": str(tmp_path / "home"), "NETWARDEN_WORKSPACE": "/nowhere"}))
    backup.put_folder("bundles/aaaa", bundle)
    kept = tmp_path / "home/backup/bundles/aaaa"
    (kept / "bundle.json").write_text('{"format": 3}')
    with pytest.raises(BackupError, match=r"bundle.json differs from its listing.*the backup is damaged"):
        backup.get_folder("bundles/aaaa", tmp_path / "restored")
    (kept / "bundle.json").unlink()
    with pytest.raises(BackupError, match=r"bundle.json is missing; the backup is damaged"):
        backup.get_folder("bundles/aaaa", tmp_path / "restored")
    (kept / LISTING).write_text("{")
    with pytest.raises(BackupError, match="listing is damaged"):
        backup.get_folder("bundles/aaaa", tmp_path / "restored")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "home"]


def test_a_listing_that_names_files_outside_its_folder_is_refused(bundle, tmp_path):
    backup = open_backup(load_settings({"NETWARDEN_HOME": str(tmp_path / "home"), "NETWARDEN_WORKSPACE": "/nowhere"}))
    backup.put_folder("bundles/aaaa", bundle)
    listing = tmp_path / "home/backup/bundles/aaaa" / LISTING
    listing.write_text(listing.read_text().replace("bundle.json", "../../evil"))
    with pytest.raises(BackupError, match=r"names '../../evil', outside its folder"):
        backup.get_folder("bundles/aaaa", tmp_path / "restored")


@pytest.fixture
def client(s3_bucket: Bucket) -> Iterator[object]:
    client = boto3.client(
        "s3",
        endpoint_url=s3_bucket.endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    yield client
    client.close()


def test_a_damaged_object_is_found_out(s3_bucket, client, bundle, tmp_path):
    backup = open_backup(s3_settings(s3_bucket))
    backup.put_folder("bundles/aaaa", bundle)
    client.put_object(Bucket=s3_bucket.name, Key="bundles/aaaa/bundle.json", Body=b"{}")
    with pytest.raises(BackupError, match=r"bundles/aaaa/bundle.json differs from its listing"):
        backup.get_folder("bundles/aaaa", tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def test_an_upload_that_never_finished_is_no_backup_and_is_completed_later(s3_bucket, client, bundle, tmp_path):
    backup = open_backup(s3_settings(s3_bucket))
    client.put_object(Bucket=s3_bucket.name, Key="bundles/aaaa/bundle.json", Body=b"half")
    assert backup.keys() == []
    assert backup.put_folder("bundles/aaaa", bundle).uploaded
    assert files(backup.get_folder("bundles/aaaa", tmp_path / "restored")) == files(bundle)


def test_large_files_go_in_parts_whose_checksums_are_compared_too(s3_bucket, client, tmp_path):
    part_bytes = 5 * 1024 * 1024  # the least that S3 takes
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "exact").write_bytes(b"x" * part_bytes)
    (folder / "two-parts").write_bytes(b"y" * (part_bytes + 1))
    backup = S3Backup(client, s3_bucket.name, s3_bucket.endpoint, part_bytes)
    backup.put_folder("data/large", folder)
    kept = client.head_object(Bucket=s3_bucket.name, Key="data/large/two-parts", ChecksumMode="ENABLED")
    assert kept["ETag"].endswith('-2"')  # two parts
    assert files(backup.get_folder("data/large", tmp_path / "restored")) == files(folder)


def test_of_two_writers_at_once_with_other_content_the_second_is_refused(s3_bucket, client, bundle):
    class SlowReader(S3Backup):
        def _listing(self, key):
            kept = super()._listing(key)
            if kept is None:  # another writer finishes between this look and our upload
                (bundle / "bundle.json").write_text("other")
                S3Backup(client, s3_bucket.name, None).put_folder(key, bundle)
            return kept

    with pytest.raises(BackupError, match="holds other content already"):
        SlowReader(client, s3_bucket.name, None).put_folder("bundles/aaaa", bundle)


def test_a_missing_bucket_is_named(s3_bucket, bundle):
    backup = open_backup(s3_settings(s3_bucket, S3_BUCKET="no-such-bucket"))
    with pytest.raises(BackupError, match=r"s3://no-such-bucket at .*: there is no such bucket; create it, or check"):
        backup.put_folder("bundles/aaaa", bundle)
    with pytest.raises(BackupError, match="there is no such bucket"):
        backup.keys()


def test_a_server_that_does_not_answer_is_named(s3_bucket, bundle):
    port = free_port()
    backup = open_backup(s3_settings(s3_bucket, AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{port}"))
    with pytest.raises(BackupError, match=f"127.0.0.1:{port}: the server does not answer; is AWS_ENDPOINT_URL_S3"):
        backup.put_folder("bundles/aaaa", bundle)


def test_a_server_that_keeps_no_checksums_is_read_back_instead(s3_bucket, client, bundle, tmp_path):
    client.meta.events.register("after-call.s3.HeadObject", lambda parsed, **_: parsed.pop("ChecksumSHA256"))
    backup = S3Backup(client, s3_bucket.name, s3_bucket.endpoint)
    assert backup.put_folder("bundles/aaaa", bundle).uploaded


def test_an_upload_that_arrives_otherwise_is_no_backup(s3_bucket, client, bundle):
    client.meta.events.register("after-call.s3.HeadObject", lambda parsed, **_: parsed.update(ChecksumSHA256="bm8="))
    backup = S3Backup(client, s3_bucket.name, s3_bucket.endpoint)
    with pytest.raises(BackupError, match=r"bundles/aaaa/bundle.json: what arrived differs from .*; try again"):
        backup.put_folder("bundles/aaaa", bundle)
    assert backup.keys() == []


@pytest.fixture
def guarded_bucket(tmp_path: Path) -> Iterator[Bucket]:
    """A bucket on a server that checks keys: nobody's is known."""
    port = free_port()
    with serving(
        [script("moto_server"), "-p", str(port)], port, tmp_path / "log", {"INITIAL_NO_AUTH_ACTION_COUNT": "1"}
    ):
        yield make_bucket(f"http://127.0.0.1:{port}", {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "hush-hush"})


def test_a_wrong_key_is_said_to_be_wrong_and_the_secret_is_not_shown(guarded_bucket, bundle):
    backup = open_backup(s3_settings(guarded_bucket))
    for attempt in (lambda: backup.put_folder("bundles/aaaa", bundle), backup.keys, backup.check):
        with pytest.raises(BackupError, match="AWS_ACCESS_KEY_ID is not one this server knows") as caught:
            attempt()
        assert "hush-hush" not in str(caught.value)


def test_missing_keys_are_asked_for_by_name(s3_bucket, bundle, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    backup = open_backup(s3_settings(s3_bucket, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY=""))
    with pytest.raises(BackupError, match="no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        backup.put_folder("bundles/aaaa", bundle)
