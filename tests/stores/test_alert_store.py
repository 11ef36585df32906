"""What every alert store promises."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from netwarden.errors import InputError, NotFoundError
from netwarden.flows.alert import Alert
from netwarden.settings import Settings
from netwarden.sources.connect import open_alert_store
from netwarden.sources.filters import OneOf, Range
from netwarden.sources.store import AlertStore, TriageAct
from netwarden.triage.decisions import decide, take_back

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(settings: Settings) -> Iterator[AlertStore]:
    store = open_alert_store(settings)
    yield store
    store.close()


def alert(number: int, **facts: Any) -> Alert:
    """An alert raised `number` microseconds after noon."""
    fields: dict[str, Any] = {
        "alert_id": f"alert-{number:04}",
        "flow_id": f"flow-{number}",
        "bundle_id": "b1",
        "schema_id": "nsl_kdd",
        "raised_at": NOON + timedelta(microseconds=number),
        "score": 0.9,
        "threshold": 0.5,
        "verdict": "known_attack",
        "family": "dos",
    }
    return Alert(**{**fields, **facts})


def ids(alerts: list[Alert]) -> list[str]:
    return [found.alert_id for found in alerts]


def test_an_alert_comes_back_as_it_went_in(store):
    full = alert(
        1,
        started_at=NOON - timedelta(microseconds=17),
        source="10.0.0.1",
        source_port=40_000,
        target="10.0.0.2",
        target_port=80,
        protocol=6,
        interim=True,
        sensor="edge",
        features={"flow.bytes": 3, "$service": "http", "rate": None},
    )
    assert store.add([full, alert(2, family=None, verdict="novel")]) == 2
    assert store.get("alert-0001") == full
    assert store.get("alert-0002").family is None


def test_the_first_of_two_alerts_of_one_id_stays(store):
    assert store.add([alert(1, bundle_id="b1"), alert(1, bundle_id="b2")]) == 1
    assert store.add([alert(1, bundle_id="b3"), alert(2)]) == 1
    assert store.get("alert-0001").bundle_id == "b1"
    assert store.count() == 2


def test_the_final_record_confirms_an_early_alert_and_keeps_when_it_was_raised(store):
    assert store.add([alert(1, interim=True, score=0.6, bundle_id="b1")]) == 1
    final = alert(1, raised_at=NOON + timedelta(seconds=9), score=0.9, bundle_id="b2", features={"packets": 7})
    assert store.add([final, final]) == 0
    assert store.get("alert-0001") == final.model_copy(update={"raised_at": NOON + timedelta(microseconds=1)})


def test_a_final_record_below_the_threshold_withdraws_the_early_alert_but_no_final_one(store):
    store.add([alert(1, interim=True), alert(2)])
    store.withdraw(["alert-0001", "alert-0002", "alert-0003"], NOON)
    store.withdraw(["alert-0001"], NOON + timedelta(seconds=1))
    withdrawn = store.get("alert-0001")
    assert (withdrawn.withdrawn_at, withdrawn.interim) == (NOON, False)
    assert store.get("alert-0002").withdrawn_at is None
    assert store.count({"withdrawn_at": None}) == 1
    assert store.count() == 2


def test_an_early_record_that_comes_after_the_final_one_raises_nothing(store):
    store.withdraw(["alert-0001"], NOON)
    assert store.add([alert(1, interim=True), alert(2, interim=True)]) == 1
    assert ids(store.find().alerts) == ["alert-0002"]
    store.add([alert(3)])
    store.add([alert(3, interim=True, score=0.6)])
    assert store.get("alert-0003") == alert(3)


def test_a_final_alert_is_stored_although_another_bundle_had_withdrawn_it(store):
    store.withdraw(["alert-0001"], NOON)
    assert store.add([alert(1)]) == 1


def test_an_alert_that_is_not_there_is_said_to_be_missing(store):
    with pytest.raises(NotFoundError, match="no alert 'nothing'"):
        store.get("nothing")


def test_nothing_to_add_adds_nothing(store):
    assert store.add([]) == 0
    assert store.find().alerts == []


def test_alerts_come_newest_first(store):
    store.add([alert(2), alert(3), alert(1)])
    assert ids(store.find().alerts) == ["alert-0003", "alert-0002", "alert-0001"]


def test_pages_follow_each_other_without_gap_or_repeat_even_at_equal_times(store):
    store.add([alert(number, raised_at=NOON) for number in range(7)])
    first = store.find(limit=3)
    second = store.find(limit=3, cursor=first.cursor)
    store.add([alert(99)])  # a newer one moves no page
    third = store.find(limit=3, cursor=second.cursor)
    seen = ids(first.alerts + second.alerts + third.alerts)
    assert seen == [f"alert-{number:04}" for number in range(6, -1, -1)]
    assert third.cursor is None


def test_a_page_that_ends_exactly_at_the_last_alert_has_no_cursor(store):
    store.add([alert(1), alert(2)])
    assert store.find(limit=2).cursor is None


def test_pages_keep_their_filter(store):
    store.add([alert(number, family="dos" if number % 2 else "probe") for number in range(6)])
    first = store.find({"family": "dos"}, limit=2)
    assert ids(first.alerts + store.find({"family": "dos"}, cursor=first.cursor).alerts) == [
        "alert-0005",
        "alert-0003",
        "alert-0001",
    ]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, 4),
        ({"family": "dos"}, 2),
        ({"family": None}, 1),
        ({"family": OneOf(("dos", "probe"))}, 3),
        ({"family": OneOf(())}, 0),
        ({"score": Range(at_least=0.7)}, 3),
        ({"score": Range(at_least=0.7, below=0.9)}, 2),
        ({"score": Range()}, 4),
        ({"raised_at": Range(at_least=NOON + timedelta(microseconds=2))}, 2),
        ({"raised_at": NOON + timedelta(microseconds=1)}, 1),
        ({"target_port": Range(below=100)}, 1),
        ({"interim": True}, 1),
        ({"family": "dos", "score": Range(below=0.7)}, 1),
        ({"verdict": "novel"}, 1),
    ],
)
def test_a_filter_finds_and_counts_the_alerts_that_meet_all_of_it(store, where, expected):
    store.add(
        [
            alert(0, family="dos", score=0.6),
            alert(1, family="dos", score=0.9, target_port=80),
            alert(2, family="probe", score=0.7, interim=True),
            alert(3, family=None, score=0.8, verdict="novel"),
        ]
    )
    assert store.count(where) == expected
    assert len(store.find(where).alerts) == expected


def test_a_count_stops_where_it_is_told_to(store):
    store.add([alert(number, family="dos" if number % 2 else "probe") for number in range(9)])
    assert [store.count(at_most=most) for most in (0, 5, 9, 100)] == [0, 5, 9, 9]
    assert store.count({"family": "dos"}, at_most=3) == 3


def judged(store: AlertStore, where: Any, state: Any, minute: int, **facts: Any) -> TriageAct:
    return decide(store, where, state, who="ada", at=NOON + timedelta(minutes=minute), chosen="some", **facts)


def states(store: AlertStore) -> str:
    """First letters of the states, by alert."""
    return "".join(found.state[0] for found in reversed(store.find().alerts))


def test_a_decision_changes_all_that_match_and_says_how_many(store):
    store.add([alert(number, family="dos" if number < 3 else "probe") for number in range(5)])
    act = judged(store, {"family": "dos"}, "false_positive", 0, note="load test")
    assert (act.changed, states(store)) == (3, "fffnn")
    assert judged(store, {"family": "dos"}, "false_positive", 1).changed == 0
    assert judged(store, {"score": Range(at_least=0.1)}, "true_positive", 2).changed == 5
    assert [(each.state, each.changed) for each in store.acts()] == [
        ("true_positive", 5),
        ("false_positive", 0),
        ("false_positive", 3),
    ]
    assert store.acts()[2] == act
    assert (act.who, act.at, act.note, act.chosen) == ("ada", NOON, "load test", "some")


def test_a_decision_is_undone_except_where_somebody_changed_it_since(store):
    store.add([alert(number) for number in range(4)])
    judged(store, {"alert_id": "alert-0003"}, "duplicate", 0)
    act = judged(store, None, "false_positive", 1)
    judged(store, {"alert_id": "alert-0000"}, "true_positive", 2)
    undone = take_back(store, act.act_id, who="bob", at=NOON + timedelta(minutes=3))
    assert (undone.changed, undone.undoes, states(store)) == (3, act.act_id, "tnnd")
    again = take_back(store, act.act_id, who="bob", at=NOON + timedelta(minutes=4))
    assert (again.changed, states(store)) == (0, "tnnd")
    redone = take_back(store, undone.act_id, who="bob", at=NOON + timedelta(minutes=5))
    assert (redone.changed, states(store)) == (3, "tfff")


def test_the_trail_of_an_alert_says_who_did_what_when(store):
    store.add([alert(1), alert(2)])
    first = judged(store, {"alert_id": "alert-0001"}, "benign_positive", 0)
    second = take_back(store, first.act_id, who="bob", at=NOON + timedelta(minutes=3))
    changes = store.changes("alert-0001")
    assert [(each.act, each.before, each.after) for each in changes] == [
        (second, "benign_positive", "new"),
        (first, "new", "benign_positive"),
    ]
    assert store.changes("alert-0002") == []
    assert [each.act_id for each in store.acts(limit=1)] == [second.act_id]


def test_a_large_decision_is_whole_and_undone_whole(store):
    store.add([alert(number) for number in range(2300)])
    act = judged(store, None, "false_positive", 0)
    assert (act.changed, store.count({"state": "false_positive"})) == (2300, 2300)
    assert take_back(store, act.act_id, who="ada", at=NOON + timedelta(minutes=1)).changed == 2300
    assert store.count({"state": "new"}) == 2300


def test_a_final_record_keeps_the_triage_of_the_early_one(store):
    store.add([alert(1, interim=True)])
    judged(store, None, "true_positive", 0)
    store.add([alert(1)])
    assert store.get("alert-0001").state == "true_positive"


def test_an_act_that_is_not_there_cannot_be_undone(store):
    with pytest.raises(NotFoundError, match="no act of triage 'nothing'"):
        take_back(store, "nothing", who="ada", at=NOON)


def test_a_field_that_alerts_do_not_have_is_named_with_those_they_have(store):
    with pytest.raises(InputError, match=r"no field 'famly' to find them by; there are: alert_id, .*family"):
        store.find({"famly": "dos"})


def test_a_value_of_no_use_for_its_field_is_refused(store):
    with pytest.raises(InputError, match="alert field 'score' cannot be 'high'; it holds float"):
        store.count({"score": Range(at_least="high")})
    with pytest.raises(InputError, match="alert field 'family' cannot be 3; it holds str"):
        store.find({"family": 3})
    with pytest.raises(InputError, match="names no zone"):
        store.find({"raised_at": Range(at_least=datetime(2026, 5, 1))})  # noqa: DTZ001 - the point of the test


def test_a_cursor_that_no_page_gave_is_refused(store):
    with pytest.raises(InputError, match="page cursor 'abc' is not one"):
        store.find(cursor="abc")


def test_a_file_of_the_layout_before_triage_is_taken_over(embedded_settings):
    with closing(open_alert_store(embedded_settings)) as store:
        store.add([alert(1), alert(2, family="probe")])
    with closing(sqlite3.connect(embedded_settings.home / "alerts.sqlite")) as file:
        file.executescript(
            "DROP INDEX raised_listed; DROP TABLE acts; DROP TABLE triaged; PRAGMA user_version = 2;"
            "CREATE INDEX raised_by_state ON raised (state, raised_at, alert_id);"
        )
    with closing(open_alert_store(embedded_settings)) as store:
        assert ids(store.find({"family": "probe"}).alerts) == ["alert-0002"]
        assert judged(store, None, "duplicate", 0).changed == 2
