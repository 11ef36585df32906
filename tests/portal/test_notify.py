"""New groups of alerts are told to real receivers over TCP and UDP: once, signed, and none is lost."""

import email
import http.server
import json
import re
import socket
import socketserver
import threading
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from netwarden.errors import NotFoundError, NotifyError
from netwarden.flows.alert import Alert
from netwarden.notify_settings import NotifySettings
from netwarden.portal.alerts.notify import Channels
from netwarden.sources.connect import open_alert_store, open_lease, open_portal_store
from netwarden.triage.channels import signature
from netwarden.triage.notify import Notifier
from tests.portal.conftest import listening, portal_settings

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Mailbox(socketserver.BaseServer):
    """What a receiver's server keeps."""

    got: list[Any]
    heard: threading.Event
    status: int


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted, and answers as its server says."""

    server: Mailbox

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_):
        pass


class Post(socketserver.StreamRequestHandler):
    """As much SMTP as a sender needs."""

    server: Mailbox

    def handle(self):
        self.wfile.write(b"220 test\r\n")
        for line in self.rfile:
            word = line[:4].upper().strip()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.server.got.append(b"".join(iter(self.rfile.readline, b".\r\n")))
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return


class Lines(socketserver.BaseRequestHandler):
    """Keeps what comes, as a datagram or until the end of a connection."""

    server: Mailbox

    def handle(self):
        stream = not isinstance(self.request, tuple)
        self.server.got.append(b"".join(iter(lambda: self.request.recv(4096), b"")) if stream else self.request[0])
        self.server.heard.set()


@contextmanager
def receiving(kind, handler):
    server = kind(("127.0.0.1", 0), handler)
    server.got, server.heard, server.status = [], threading.Event(), 200
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


@pytest.fixture
def hook():
    with receiving(http.server.ThreadingHTTPServer, Receiver) as server:
        yield server


class Desk:
    """A notifier over stores of its own, at a time of the test's choosing."""

    def __init__(self, folder, **settings):
        self.settings = portal_settings(folder)
        self.told = NotifySettings.model_validate(settings)
        self.now = NOON
        self.alerts, self.store = open_alert_store(self.settings), open_portal_store(self.settings)
        self.restart()

    def restart(self):
        self.notifier = Notifier(self.told, self.alerts, self.store, lambda: self.now)

    def look(self, seconds=5):
        self.now += timedelta(seconds=seconds)
        self.notifier.look()

    def raise_(self, number, family="dos", source="192.0.2.7", score=0.95):
        self.alerts.add(
            [
                Alert(
                    alert_id=f"{number:032x}",
                    flow_id=f"f{number}",
                    bundle_id="b",
                    schema_id="nsl_kdd",
                    raised_at=self.now,
                    score=score,
                    threshold=0.5,
                    verdict="known_attack",
                    family=family,
                    source=source,
                    target="198.51.100.4",
                )
            ]
        )


@pytest.fixture
def desk(tmp_path):
    desks = []

    def make(**settings):
        desks.append(Desk(tmp_path, **settings))
        desks[-1].look()
        return desks[-1]

    yield make
    for each in desks:
        each.alerts.close()
        each.store.close()


def address(server):
    return f"http://127.0.0.1:{server.server_port}/hook"


def groups(body):
    return [(each["source"], each["family"], each["count"]) for each in json.loads(body)["groups"]]


def test_a_new_group_is_told_once_and_signed(desk, hook):
    one = desk(webhooks=[{"name": "soc", "url": address(hook), "secret": "s3cret"}], portal_url="https://ids.example/")
    one.raise_(1)
    one.raise_(2)
    one.look()
    one.raise_(3)
    one.look()
    ((headers, body),) = hook.got
    assert groups(body) == [("192.0.2.7", "dos", 2)]
    assert json.loads(body)["groups"][0]["url"].startswith("https://ids.example/alerts/0")
    assert headers["X-Netwarden-Signature"] == signature("s3cret", headers["X-Netwarden-Timestamp"], body)
    one.raise_(4, source="203.0.113.9")
    one.look()
    assert groups(hook.got[-1][1]) == [("203.0.113.9", "dos", 1)]
    one.look(seconds=2 * 3600)
    assert len(hook.got) == 2
    one.raise_(5)
    one.look()
    assert len(hook.got) == 3
    assert [group[:2] for group in groups(hook.got[-1][1])] == [("192.0.2.7", "dos")]


def test_alerts_of_before_are_no_news(desk, hook, tmp_path):
    early = Desk(tmp_path)
    early.now = NOON - timedelta(days=1)
    early.raise_(1)
    desk(webhooks=[{"name": "soc", "url": address(hook)}]).look()
    assert hook.got == []


def test_a_receiver_that_is_away_is_told_later_also_after_a_restart(desk, hook):
    one = desk(webhooks=[{"name": "soc", "url": address(hook)}])
    hook.status = 500
    one.raise_(1)
    one.look()
    one.look(seconds=1)  # not yet: it pauses
    assert len(hook.got) == 1
    (state,) = one.notifier.states()
    assert state.waiting == 1
    assert "it answers 500" in state.fault
    one.restart()
    one.raise_(2, source="203.0.113.9")
    hook.status, hook.got = 200, []
    one.look(seconds=60)
    assert [groups(body)[0][0] for _, body in hook.got] == ["192.0.2.7", "203.0.113.9"]
    assert one.notifier.states()[0].fault == ""


def test_a_pause_doubles_with_every_refusal(desk, hook):
    one = desk(webhooks=[{"name": "soc", "url": address(hook)}])
    hook.status = 503
    one.raise_(1)
    for _ in range(40):
        one.look(seconds=5)
    assert len(hook.got) == 6  # at once, after 5, 10, 20, 40, and 80 s


def test_beyond_the_limit_groups_share_one_message(desk, hook):
    one = desk(webhooks=[{"name": "soc", "url": address(hook)}], per_minute=3)
    for number in range(30):
        one.raise_(number, source=f"192.0.2.{number}")
    one.look()
    assert [len(groups(body)) for _, body in hook.got] == [1, 1, 28]


def test_a_channel_gets_what_it_asks_for(desk, hook):
    wanted = {"families": ["probe"], "min_score": 0.9}
    one = desk(webhooks=[{"name": "soc", "url": address(hook), **wanted}])
    one.raise_(1)
    one.raise_(2, family="probe", score=0.6)
    one.raise_(3, family="probe", source="203.0.113.9")
    one.look()
    assert [groups(body) for _, body in hook.got] == [[("203.0.113.9", "probe", 1)]]


def test_slack_and_pagerduty_get_their_own_shapes(desk, hook):
    one = desk(
        webhooks=[
            {"name": "slack", "url": address(hook), "shape": "slack"},
            {"name": "pager", "url": address(hook), "shape": "pagerduty", "secret": "R0UT1NG"},
        ]
    )
    one.raise_(1, source="<b>&")
    one.look()
    slack, pager = (json.loads(body) for _, body in hook.got)
    assert slack["text"].startswith("*new alerts, dos:")
    assert "&lt;b&gt;&amp;" in slack["text"].splitlines()[1]
    assert (pager["routing_key"], pager["event_action"], pager["payload"]["severity"]) == (
        "R0UT1NG",
        "trigger",
        "critical",
    )
    assert len(pager["dedup_key"]) == 32


def test_syslog_goes_out_as_rfc_5424_and_as_cef(desk):
    with receiving(socketserver.UDPServer, Lines) as udp, receiving(socketserver.TCPServer, Lines) as tcp:
        one = desk(
            syslog=[
                {"name": "udp", "host": "127.0.0.1", "port": udp.server_address[1]},
                {
                    "name": "tcp",
                    "host": "127.0.0.1",
                    "port": tcp.server_address[1],
                    "transport": "tcp",
                    "format": "cef",
                },
            ]
        )
        one.raise_(1, source='a"]\nb')
        one.look()
        assert udp.heard.wait(5)
        assert tcp.heard.wait(5)
    line = udp.got[0].decode()
    assert re.match(r"<33>1 2026-05-01T12:00:05\+00:00 \S+ netwarden \d+ GROUP \[netwarden@32473 ", line)
    assert 'source="a\\"\\] b"' in line
    length, _, cef = tcp.got[0].decode().partition(" ")
    assert int(length) == len(cef.encode())
    assert re.search(r' CEF:0\|Netwarden\|Netwarden\|[^|]+\|dos\|dos: a"\] b to 198\.51\.100\.4\|10\|src=a"\] b ', cef)


def test_a_mail_names_the_groups(desk):
    with receiving(socketserver.ThreadingTCPServer, Post) as server:
        port = server.server_address[1]
        one = desk(
            mail=[
                {
                    "name": "soc",
                    "host": "127.0.0.1",
                    "port": port,
                    "security": "none",
                    "sender": "ids@example",
                    "to": ["soc@example"],
                }
            ]
        )
        one.raise_(1)
        one.look()
    message = email.message_from_bytes(server.got[0])
    assert message["Subject"] == "Netwarden: new alerts, dos: 192.0.2.7 to 198.51.100.4"
    assert "score 0.950" in message.get_payload()


def test_nobody_there_is_said_in_one_sentence(desk):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        one = desk(
            webhooks=[
                {
                    "name": "soc",
                    "url": f"http://127.0.0.1:{free.getsockname()[1]}/hooks/a-secret-of-the-receiver?key=k3y",
                }
            ]
        )
        with pytest.raises(
            NotifyError, match=r"soc: plain webhook at 127\.0\.0\.1:\d+/hooks/…\?… does not take messages: .*refused"
        ) as error:
            one.notifier.test("soc")
    assert not re.search("a-secret|k3y", str(error.value))
    with pytest.raises(NotFoundError, match="no channel 'noc'"):
        one.notifier.test("noc")


def test_only_one_of_several_portals_tells(desk, hook, tmp_path):
    one = desk(webhooks=[{"name": "soc", "url": address(hook)}], every_s=0.05)
    stop = threading.Event()
    two = Notifier(one.told, one.alerts, one.store, lambda: one.now)
    leases = [open_lease(one.settings) for _ in range(2)]
    threads = [
        threading.Thread(target=each.run, args=(lease, stop))
        for each, lease in zip((one.notifier, two), leases, strict=True)
    ]
    for thread in threads:
        thread.start()
    one.raise_(1)
    deadline = threading.Event()
    for _ in range(100):
        if hook.got or deadline.wait(0.05):
            break
    deadline.wait(0.3)
    stop.set()
    for thread, lease in zip(threads, leases, strict=True):
        thread.join(5)
        lease.close()
    assert len(hook.got) == 1


def test_an_admin_adds_tries_and_removes_a_webhook_in_the_portal(tmp_path, hook):
    with listening(portal_settings(tmp_path)) as running:
        client = running.client
        assert "Nobody is told yet" in client.get("/notify").text
        form = {"name": "soc", "url": address(hook), "secret": "s3cret"}
        refused = client.post("/notify", data={**form, "name": "My SOC"})
        assert refused.status_code == 422
        assert "lower-case letters, digits and hyphens, such as soc-1" in refused.text
        assert 'value="My SOC"' in refused.text
        assert f'value="{address(hook)}"' in refused.text
        assert "s3cret" not in refused.text
        answer = client.post("/notify", data=form)
        assert answer.headers["location"].startswith("/notify?told=plain+webhook")
        assert json.loads(hook.got[0][1])["event"] == "test"
        assert json.loads(hook.got[0][1])["groups"][0]["url"] == f"{str(client.base_url).rstrip('/')}/alerts"
        again = client.post("/notify", data=form).text
        assert "there is a channel soc already" in again
        (channel,) = Channels.model_validate_json(client.get("/api/v1/notify").content).channels
        assert (channel.name, channel.added) == ("soc", True)
        assert channel.tested_at > channel.told_at == ""
        assert "tested <time" in client.get("/notify").text
        assert client.post("/api/v1/notify/soc/test").json() == {
            "told": f"plain webhook at {address(hook).removeprefix('http://')}"
        }
        assert client.post("/api/v1/notify", json={"name": "x", "url": "ftp://a"}).status_code == 422
        assert client.delete("/api/v1/notify/soc").json() == {"channels": []}
        assert client.delete("/api/v1/notify/soc").status_code == 404
        done = [line["action"] for line in client.get("/api/v1/audit").json()["lines"]]
        assert done == ["remove channel", "test channel", "test channel", "add channel"]
        assert "s3cret" not in json.dumps(client.get("/api/v1/audit").json()) + client.get("/notify").text


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"webhooks": [{"name": "a", "url": "ftp://x"}]}, "begins with http"),
        ({"webhooks": [{"name": "a", "shape": "pagerduty"}]}, "routing key"),
        ({"syslog": [{"name": "a", "host": "h"}, {"name": "a", "host": "h"}]}, "two channels are named a"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, fault):
    with pytest.raises(ValueError, match=fault):
        NotifySettings.model_validate(settings)
