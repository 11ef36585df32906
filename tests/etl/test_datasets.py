"""Public datasets: found where people put them, fetched with pinned checksums, else said where to get them."""

import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from netwarden.errors import InputError, NotFoundError
from netwarden.flows.schema import schema_ids
from netwarden.sources import datasets
from netwarden.sources.datasets import PUBLIC, PublicDataset, RemoteFile, describe_all, fetch, locate, obtain

CONTENT = b"0,tcp,http\n" * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Files(BaseHTTPRequestHandler):
    """Serves CONTENT, whole or from an offset; keeps the offsets asked for."""

    offsets: list[int] = []  # noqa: RUF012 - shared by the handlers of one server on purpose

    def do_GET(self):
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.offsets.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:])

    def log_message(self, format, *args):
        """Keep the test's output clean."""


@pytest.fixture
def server():
    """Address of a file server on loopback."""
    _Files.offsets.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Files) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def remote(monkeypatch):
    """Makes `toy` the one public dataset, of one file at an address."""

    def publish(url, sha256=SHA256):
        files = (RemoteFile("toy.csv", f"{url}/toy.csv", sha256, len(CONTENT)),)
        toy = PublicDataset(
            "toy", "Toy", "nsl_kdd", "https://toy.example", "free", "1 kB", ("toy.csv",), "toy.csv", files
        )
        monkeypatch.setattr(datasets, "PUBLIC", (toy,))

    return publish


def test_a_dataset_is_fetched_once_and_its_checksum_checked(settings, server, remote):
    remote(server)
    target = settings.datasets / "toy" / "toy.csv"
    assert fetch(settings, "toy") == f"{target}: fetched, checksum right"
    assert target.read_bytes() == CONTENT and not list(target.parent.glob("*.part"))
    assert fetch(settings, "toy") == f"{target}: here, checksum right"
    assert obtain(settings, "TOY") == [target] and len(_Files.offsets) == 1


def test_a_broken_download_goes_on_where_it_stopped(settings, server, remote):
    remote(server)
    part = settings.datasets / "toy" / "toy.csv.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT[:1234])
    fetch(settings, "toy")
    assert _Files.offsets == [1234]
    assert (part.parent / "toy.csv").read_bytes() == CONTENT


def test_a_file_with_another_checksum_is_refused_and_not_kept(settings, server, remote):
    remote(server, sha256="0" * 64)
    with pytest.raises(InputError, match=rf"is not the published toy.csv: its sha256 is {SHA256}, not 0000"):
        fetch(settings, "toy")
    assert not list((settings.datasets / "toy").iterdir())


def test_without_a_network_the_message_says_where_to_put_the_files(settings, remote):
    remote("http://127.0.0.1:9")
    with pytest.raises(NotFoundError) as refusal:
        obtain(settings, "toy")
    text = str(refusal.value)
    assert "http://127.0.0.1:9/toy.csv cannot be fetched ([Errno 111] Connection refused)" in text
    assert f"put toy.csv into {settings.datasets / 'toy'}, or set NETWARDEN_DATA to the folder that has it" in text


def test_a_given_gzip_file_is_checked_by_its_plain_content(settings, remote):
    remote("http://127.0.0.1:9")
    (settings.datasets / "toy").mkdir()
    path = settings.datasets / "toy" / "toy.csv.gz"
    path.write_bytes(gzip.compress(CONTENT))
    assert fetch(settings, "toy") == f"{path}: here, checksum right"


def test_a_dataset_without_a_pinned_checksum_is_not_fetched(settings):
    with pytest.raises(NotFoundError, match=r"no checksum of its files could be pinned\. Get it from https://www.unb"):
        fetch(settings, "cic-ids2017")


@pytest.mark.parametrize("folder", ["nsl-kdd", "NSL-KDD", "nsl_kdd", "public/nsl-kdd", ""])
def test_files_are_found_plain_or_gzip_in_any_sensible_folder(settings, folder):
    place = settings.datasets / folder
    place.mkdir(parents=True, exist_ok=True)
    for name in ("KDDTrain+.txt", "KDDTrain+.txt.gz", "KDDTest+.txt.gz", "KDDTest-21.txt", "notes.md"):
        (place / name).touch()
    assert [path.name for path in locate(settings, "nsl-kdd")] == ["KDDTest+.txt.gz", "KDDTrain+.txt"]


@pytest.mark.parametrize("name", ["iot23", "IoT-23", "iot_23"])
def test_a_dataset_is_known_in_any_spelling(settings, name):
    (settings.datasets / "IoT-23").mkdir()
    (settings.datasets / "IoT-23" / "conn.log.labeled").touch()
    assert [path.name for path in locate(settings, name)] == ["conn.log.labeled"]


def test_in_its_own_folder_a_dataset_may_have_names_of_its_own(settings):
    (settings.datasets / "cic-ids2017").mkdir()
    (settings.datasets / "cic-ids2017" / "monday.csv.gz").touch()
    assert [path.name for path in locate(settings, "cic_ids2017")] == ["monday.csv.gz"]


def test_the_list_has_address_licence_size_and_place_of_every_dataset(settings):
    text = describe_all(settings)
    for dataset in PUBLIC:
        assert dataset.page in text and dataset.licence in text and dataset.size in text
        place = settings.workspace / dataset.shipped if dataset.shipped else settings.datasets / dataset.folder
        assert str(place) in text
        assert dataset.schema_id in schema_ids(settings.schema_dir)
    assert text.count("none pinned") == 4 and "sha256 1b86d2f957b3" in text


def test_the_pinned_checksums_are_those_of_the_complete_files(settings, nsl_kdd):
    given = settings.model_copy(update={"datasets": nsl_kdd.parent})
    assert fetch(given, "nsl_kdd").count("here, checksum right") == 2


def test_an_unknown_dataset_names_the_known_ones(settings):
    with pytest.raises(NotFoundError, match=r"no public dataset 'kdd'; known: lab, nsl_kdd, .*; for files of your own"):
        fetch(settings, "kdd")
