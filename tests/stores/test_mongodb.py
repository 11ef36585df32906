"""What goes wrong with MongoDB, and what the message says."""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pymongo import MongoClient

from netwarden.errors import StoreError
from netwarden.settings import Settings, load_settings
from netwarden.sources.connect import open_alert_store, open_flow_store
from tests.fixtures.servers import free_port, mongodb_stand_in
from tests.stores.rows import flow_rows

PASSWORD = "hush-hush"


def settings(uri: str) -> Settings:
    return load_settings({"MONGODB_URI": uri, "NETWARDEN_WORKSPACE": "/nowhere", "NETWARDEN_HOME": "/nowhere"})


def quick(uri: str) -> Settings:
    chosen = settings(uri)
    return chosen.model_copy(update={"store": chosen.store.model_copy(update={"timeout_s": 0.5})})


def refusal(chosen: Settings) -> str:
    """What opening a store and asking it for its datasets says; never a password."""
    with pytest.raises(StoreError) as caught:
        store = open_flow_store(chosen)
        try:
            store.datasets()
        finally:
            store.close()
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_an_unreachable_host_is_named():
    port = free_port()
    text = refusal(quick(f"mongodb://ann:{PASSWORD}@127.0.0.1:{port}/flows"))
    assert text.startswith(f"MongoDB 127.0.0.1:{port}, database flows: no answer (")
    assert "is it running" in text


def test_a_wrong_password_is_said_to_be_wrong(tmp_path):
    port = free_port()
    admin: MongoClient[dict[str, Any]]
    with mongodb_stand_in(tmp_path, port=port) as uri, MongoClient(uri) as admin:
        admin.admin.command("createUser", "ann", pwd="right", roles=["root"])
    with mongodb_stand_in(tmp_path, "--auth", port=port):
        text = refusal(settings(f"mongodb://ann:{PASSWORD}@127.0.0.1:{port}/flows?authSource=admin"))
        assert f"127.0.0.1:{port}, database flows: user or password is wrong; check the address" in text
        allowed = open_flow_store(settings(f"mongodb://ann:right@127.0.0.1:{port}/flows?authSource=admin"))
        assert allowed.datasets() == []
        allowed.close()


@dataclass(frozen=True)
class Breakable:
    """A server whose commands can be made to fail."""

    uri: str
    admin: Any

    def fail(self, command: str, code: int) -> None:
        failing = {"failCommands": [command], "errorCode": code}
        self.admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": failing})

    def mend(self) -> None:
        self.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Breakable]:
    client: MongoClient[dict[str, Any]]
    folder = tmp_path_factory.mktemp("mongodb")
    with mongodb_stand_in(folder, "--enable-test-commands") as uri, MongoClient(uri) as client:
        yield Breakable(uri, client.admin)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (14031, "the server's disk is full; free some space, then load again"),
        (8000, "the cluster is over its space quota"),
        (13, "give it the role readWrite"),
        (2, "the server refuses"),
    ],
)
def test_a_refused_write_says_why(breakable, code, says):
    store = open_flow_store(settings(f"{breakable.uri}/flows_{code}?retryWrites=false"))
    store.insert("made_up", "s", flow_rows([1]))
    breakable.fail("insert", code)
    with pytest.raises(StoreError, match=f"MongoDB 127.0.0.1:.*{says}"):
        store.insert("made_up", "s", flow_rows([2]))
    breakable.mend()
    assert store.insert("made_up", "s", flow_rows([1, 2])).inserted == 1
    store.close()


def test_a_server_that_ends_in_the_middle_is_named(tmp_path):
    with mongodb_stand_in(tmp_path) as uri:
        store = open_flow_store(quick(f"{uri}/flows"))
        store.insert("made_up", "s", flow_rows(range(10)))
    with pytest.raises(StoreError, match="no answer"):
        store.insert("made_up", "s", flow_rows(range(20)))
    store.close()


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        (f"mongodb://ann:{PASSWORD}@@host/flows", "percent-encoded"),
        (f"mongodb://ann:{PASSWORD}/slash@host/flows", "percent-encoded"),
        (f"mongodb://ann:{PASSWORD}", "percent-encoded"),
        ("mongodb+srv://ann:<password>@cluster0.example.mongodb.net/", "put yours where Atlas wrote <password>"),
        ("mongodb://ann:@host/flows", "holds no password yet"),
        (f"mongodb+srv://ann:{PASSWORD}@cluster0.invalid/flows", "cluster0.invalid: .*is the cluster's name right"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_without_showing_the_password(uri, says):
    assert re.search(says, refusal(quick(uri)))


def test_an_address_without_a_database_uses_the_one_of_the_settings(mongodb_server):
    store = open_flow_store(settings(mongodb_server))
    assert store.address.endswith("database netwarden")
    store.close()


def test_stores_of_one_process_share_a_connection_until_the_last_is_closed(mongodb_uri):
    flows, alerts = open_flow_store(settings(mongodb_uri)), open_alert_store(settings(mongodb_uri))
    flows.close()
    assert alerts.count() == 0
    alerts.close()


def test_several_writers_of_the_same_rows_keep_each_once(mongodb_uri):
    inserted: list[int] = []

    def write() -> None:
        store = open_flow_store(settings(mongodb_uri))
        inserted.append(store.insert("made_up", "s", flow_rows(range(60))).inserted)
        store.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = open_flow_store(settings(mongodb_uri))
    assert sum(inserted) == sum(store.summary("made_up").rows.values()) == 60
    store.close()


def test_rows_can_be_read_by_others_under_their_column_names(mongodb_uri):
    store = open_flow_store(settings(mongodb_uri))
    store.insert("made_up", "s", flow_rows([7]))
    store.close()
    client: MongoClient[dict[str, Any]]
    with MongoClient(mongodb_uri) as client:
        collection: Any = client.get_default_database()["flows.made_up"]
        document = collection.find_one({})
    assert document["src_bytes"] == 21_000_000_000
    assert document["label"] == "benign"
    assert document["id\uff0eorig_h"] == "10.0.0.7"
    assert document["seen_at"] == 1_767_225_600_000_007
