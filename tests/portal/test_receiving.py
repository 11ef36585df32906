"""Forms over TCP: their file goes to the disk of the uploads as it arrives, and broken ones are told from others."""

import os
import socket
import time
from pathlib import Path

import pytest

from tests.portal.conftest import Portal, listening, make_champion, portal_settings

HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
END = b"\r\n--x--\r\n"


def post(portal: Portal, content: bytes, kind: str = "multipart/form-data; boundary=x") -> str:
    answer = portal.client.post("/predict", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 422, answer.text
    return str(answer.json()["detail"])


def field(name: str, value: bytes) -> bytes:
    return b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no form at all", "it does not follow its boundary"),
        (b"", "it ends before its last boundary"),
        (HEAD + b"duration", "it ends before its last boundary"),
        (field("schema", b"s" * 2000) + HEAD + END, "its field 'schema' is longer than 1000 bytes"),
        (b"".join(field(f"f{i}", b"") for i in range(6)) + HEAD + END, "it has more than 5 parts"),
        (HEAD + b"1\r\n" + HEAD + b"2" + END, "several files; send one at a time"),
        (field("file", b"duration") + END[2:], "no file was sent"),
        (HEAD.replace(b'"file"', b'"upload"') + b"1" + END, "no file was sent; put a .npy, .csv"),
    ],
)
def test_a_form_that_holds_no_file_says_why(portal, content, said):
    assert said in post(portal, content)


def test_a_form_without_boundary_or_of_another_kind_says_so(portal):
    assert "names no boundary" in post(portal, HEAD + END, "multipart/form-data")
    assert "no file was sent" in post(portal, b"file=x", "application/x-www-form-urlencoded")


@pytest.fixture
def slow_sender(portal):
    """A connection on which half of an upload has been sent."""
    host, port = portal.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as sender:
        sender.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + HEAD + b"7" * 300_000
        )
        yield sender


def incoming(portal: Portal) -> list[Path]:
    return list((portal.settings.home / "uploads").glob(".incoming-*"))


def until(holds) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_upload_is_on_the_disk_of_the_uploads_while_it_arrives(portal, slow_sender):
    until(lambda: any(path.stat().st_size >= 200_000 for path in incoming(portal)))


def test_a_client_that_leaves_midway_leaves_nothing_behind_and_is_no_fault(portal, slow_sender, caplog):
    until(lambda: incoming(portal))
    slow_sender.close()
    until(lambda: not incoming(portal))
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_what_a_killed_portal_had_begun_is_gone_a_day_later(bundle, tmp_path):
    settings = portal_settings(tmp_path)
    make_champion(settings, bundle)
    uploads = settings.home / "uploads"
    old, new = uploads / "20200101-000000-aa", uploads / "20200101-000000-bb"
    for folder in (old, new):
        folder.mkdir(parents=True)
    (uploads / ".incoming-cc").touch()
    for path in (old, uploads / ".incoming-cc"):
        os.utime(path, (0, 0))
    with listening(settings) as running:
        sample = running.client.get("/schemas/nsl_kdd/sample.npy").content
        sent = running.client.post(
            "/predict", files={"file": ("a.npy", sample)}, headers={"Accept": "application/json"}
        )
    assert {path.name for path in uploads.iterdir()} == {new.name, sent.json()["id"]}
