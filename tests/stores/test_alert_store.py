"""What every alert store promises."""

import random
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from netwarden.errors import InputError, NotFoundError
from netwarden.flows.alert import TRIAGE_STATES, Alert
from netwarden.settings import Settings
from netwarden.sources import embedded_trail, mongo_counts, mongo_trail
from netwarden.sources.alert_records import to_record
from netwarden.sources.alert_store import AlertGroup, AlertStore, Suppression, TriageAct
from netwarden.sources.connect import open_alert_store
from netwarden.sources.filters import SHOWN, AllOf, Networks, OneOf, Range, Words
from netwarden.sources.mongo import shared
from netwarden.triage.decisions import decide, take_back
from netwarden.triage.suppression import hide

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
    assert [each.act_id for each in store.acts(before=second.act_id)] == [first.act_id]
    assert store.acts(before=first.act_id) == []


def test_a_decision_of_many_pieces_is_whole_and_undone_whole(store, monkeypatch):
    for module in (embedded_trail, mongo_trail, mongo_counts):
        monkeypatch.setattr(module, "_PIECE", 5)
    store.add([alert(number) for number in range(12)])
    act = judged(store, None, "false_positive", 0)
    assert (act.changed, store.count({"state": "false_positive"})) == (12, 12)
    assert take_back(store, act.act_id, who="ada", at=NOON + timedelta(minutes=1)).changed == 12
    assert store.count({"state": "new"}) == 12


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


# --- counted --------------------------------------------------------------------------------------------------


def recounted(alerts: list[Alert]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Groups of alerts, counted one by one."""
    found: dict[tuple[Any, ...], list[Alert]] = {}
    for one in alerts:
        found.setdefault((one.source, one.target, one.family, one.verdict), []).append(one)
    return {
        key: (
            len(group),
            min(one.raised_at for one in group),
            max(one.raised_at for one in group),
            max(one.score for one in group),
        )
        for key, group in found.items()
    }


def counted_groups(store: AlertStore, where: Any = None) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Groups as the store keeps them, from pages of two."""
    found: list[AlertGroup] = []
    cursor = None
    while True:
        page = store.groups(where, limit=2, cursor=cursor)
        found += page.groups
        cursor = page.cursor
        if cursor is None:
            break
    assert [one.last for one in found] == sorted((one.last for one in found), reverse=True)
    return {
        (one.source, one.target, one.family, one.verdict): (one.count, one.first, one.last, one.worst) for one in found
    }


def agree(store: AlertStore) -> None:
    """Kept counts are those of the alerts themselves."""
    everything = store.find(limit=1000).alerts
    for where, meets in (
        (None, lambda _: True),
        ({"state": "new"}, lambda one: one.state == "new"),
        ({"suppressed_by": None, "family": "dos"}, lambda one: one.suppressed_by is None and one.family == "dos"),
        ({"score": Range(at_least=0.5)}, lambda one: one.score >= 0.5),
    ):
        alerts = [one for one in everything if meets(one)]
        assert counted_groups(store, where) == recounted(alerts)
        for by_source in (False, True):
            loudest = store.loudest(where, by_source=by_source).groups
            counts = [one.count for one in loudest]
            assert counts == sorted(counts, reverse=True)
            assert {
                (one.source, one.target, one.family, one.verdict): (one.count, one.first, one.last, one.worst)
                for one in loudest
            } == recounted([one.model_copy(update={"target": None}) if by_source else one for one in alerts])
        bins = store.timeline(where, bins=7)
        assert sum(sum(each.counts.values()) for each in bins) == len(alerts)
        for each in bins:
            end = each.start + timedelta(seconds=each.span_s)
            inside = Counter(one.family or "novel" for one in alerts if each.start <= one.raised_at < end)
            assert each.counts == inside and not each.partial
        assert store.top("source", where) == most(one.source for one in alerts)
    assert {one.suppression_id: one.hidden for one in store.suppressions() if one.hidden} == Counter(
        one.suppressed_by for one in everything if one.suppressed_by
    )


def most(values: Iterable[str | None]) -> list[tuple[str, int]]:
    known = Counter(value for value in values if value is not None)
    return sorted(known.items(), key=lambda one: (-one[1], one[0]))


def shuffled_work(store: AlertStore, draw: random.Random, steps: int) -> None:
    """Anything that changes counts, in any order, some of it twice."""
    acts: list[str] = []
    for step in range(steps):
        numbers = draw.sample(range(25), 5)
        alerts = [made(number, draw) for number in numbers]
        at = NOON + timedelta(minutes=step)
        match draw.randrange(8):
            case 0 | 1 | 2:
                store.add(alerts)
                store.add(alerts[:2])
            case 3:
                store.withdraw([one.alert_id for one in alerts], at)
            case 4:
                where = {"source": alerts[0].source}
                acts.append(decide(store, where, draw.choice(TRIAGE_STATES), who="a", at=at, chosen="").act_id)
            case 5 if acts:
                take_back(store, draw.choice(acts), who="b", at=at)
            case 6:
                suppressed(store, {"target": alerts[0].target}, step)
            case 7:
                standing = [one for one in store.suppressions() if one.lifted_at is None]
                if standing:
                    store.lift(draw.choice(standing).suppression_id, "c", at)
                store.remove({"source": alerts[0].source}, at_most=1)


def made(number: int, draw: random.Random) -> Alert:
    return alert(
        number,
        raised_at=NOON + timedelta(seconds=draw.choice((0, 40, 61, 3700, 90_000))),
        interim=draw.random() < 0.4,
        score=draw.choice((0.3, 0.6, 0.9)),
        family=draw.choice(("dos", "probe", None)),
        source=draw.choice(("10.0.0.1", "10.0.0.2", None)),
        target=f"10.1.0.{number % 2}",
    )


def suppressed(store: AlertStore, where: Any, minute: int, **facts: Any) -> Suppression:
    at = NOON + timedelta(minutes=minute)
    return hide(store, where, owner="ada", reason="ours", at=at, **facts)


@pytest.mark.parametrize("seed", range(2))
def test_kept_counts_equal_a_naive_recount_after_any_work(store, settings, seed):
    draw = random.Random(seed)
    for _ in range(6 if settings.mongodb_uri is None else 2):
        shuffled_work(store, draw, 10 if settings.mongodb_uri is None else 5)
        agree(store)


def test_a_timeline_has_no_gaps_and_ends_where_it_is_told_to(store):
    store.add([alert(1), alert(2, family=None, verdict="novel"), alert(3, raised_at=NOON + timedelta(minutes=9))])
    assert [each.counts for each in store.timeline(bins=5)] == [{"dos": 1, "novel": 1}, {}, {}, {}, {"dos": 1}]
    [only] = store.timeline(since=NOON + timedelta(minutes=9), until=NOON + timedelta(minutes=10))
    assert (only.start, only.span_s, only.counts) == (NOON + timedelta(minutes=9), 60, {"dos": 1})
    days = store.timeline(since=NOON - timedelta(days=30), until=NOON + timedelta(hours=1), bins=30)
    assert len(days) <= 30 and days[0].span_s % 3600 == 0 and days[-1].counts == {"dos": 2, "novel": 1}


def test_an_empty_store_has_no_timeline_and_no_group(store):
    assert (store.timeline(), store.groups().groups, store.top("source")) == ([], [], [])


def test_the_newest_alert_stands_for_its_group(store):
    store.add([alert(number, source="10.0.0.1", target="10.0.0.2") for number in (3, 1, 2)])
    [group] = store.groups().groups
    assert (group.newest, group.count) == ("alert-0003", 3)


def test_the_loudest_group_comes_first_whenever_it_was(store):
    store.add([alert(number, source="10.0.0.1", target=f"10.0.1.{number}") for number in (1, 2, 3)])
    store.add([alert(number, source="10.0.0.2", target="10.0.1.9") for number in (4, 5)])
    assert [(one.source, one.count) for one in store.loudest(limit=1).groups] == [("10.0.0.2", 2)]
    [first, second] = store.loudest(by_source=True).groups
    assert (first.source, first.target, first.count, first.newest) == ("10.0.0.1", None, 3, "alert-0003")
    assert (second.source, second.count) == ("10.0.0.2", 2)


# --- found by words and networks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"text": Words("10.0.0.1")}, "a"),
        ({"text": Words("10.0.0.*")}, "ab"),
        ({"text": Words("HTTP")}, "b"),
        ({"text": Words("gateway eu")}, "a"),
        ({"text": Words("gateway-eu-1.csv dos")}, "a"),
        ({"text": Words("gateway probe")}, ""),
        ({"text": Words("prob*"), "score": Range(at_least=0.1)}, "b"),
        ({"text": Words("1:lqu9qzlk+b5f3kdmev6m5pmibrg=")}, "b"),
        ({"source": Networks(("10.0.0.0/8",))}, "ab"),
        ({"source": Networks(("10.0.0.1/32", "2001:db8::/32"))}, "ac"),
        ({"source": Networks(("10.0.0.0/8",), outside=True)}, "c"),
        ({"source": AllOf(("10.0.0.2", Networks(("10.0.0.0/8",)))), "target": Networks(("10.0.0.0/8",))}, ""),
        ({"source": Networks(())}, ""),
    ],
)
def test_alerts_are_found_by_words_and_networks(store, where, expected):
    store.add(
        [
            alert(1, alert_id="a", source="10.0.0.1", sensor="gateway-eu-1.csv"),
            alert(2, alert_id="b", source="10.0.0.2", family="probe", features=_FEATURES),
            alert(3, alert_id="c", source="2001:db8::7", target="192.168.1.1"),
            alert(4, alert_id="d", source=None),
        ]
    )
    assert sorted(ids(store.find(where).alerts)) == list(expected)
    assert store.count(where) == len(expected)


@pytest.mark.parametrize(("start", "found"), [("10.1.*", 256), ("10.1.0.*", 3), ("10.1.0.1*", 1), ("10.10.*", 0)])
def test_words_that_begin_alike_are_found_however_many_they_are(store, start, found):
    sources = [f"10.1.{number // 3}.{number % 3}" for number in range(256)]
    store.add([alert(number, source=source) for number, source in enumerate(sources)])
    shown = store.find({"text": Words(start)}, limit=500).alerts
    assert [one.source for one in shown] == [one for one in reversed(sources) if one.startswith(start[:-1])]
    assert len(shown) == store.count({"text": Words(start)}) == found


_FEATURES = {"$service": "http", "community_id": "1:LQU9qZlK+B5F3KDmev6m5PMibrg=", "rate": 3.0}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"text": Words("?! ")}, "holds no word to look for"),
        ({"source": Networks(("10.0.0/8",))}, "'10.0.0/8' is not a network; write it as"),
        ({"family": Networks(("10.0.0.0/8",))}, "alert field 'family' holds no addresses"),
        ({"family": Words("x")}, "words are looked for under 'text'"),
    ],
)
def test_words_and_networks_of_no_use_are_refused(store, where, message):
    with pytest.raises(InputError, match=re.escape(message)):
        store.find(where)


# --- suppressed --------------------------------------------------------------------------------------------------


def test_a_suppression_hides_what_is_there_and_what_comes_until_it_is_lifted(store):
    store.add([alert(number, source=f"10.0.0.{number}") for number in (1, 2)])
    hiding = suppressed(store, {"source": "10.0.0.1"}, 1)
    assert hiding.hidden == 1
    store.add([alert(3, source="10.0.0.1"), alert(4, source="10.0.0.2")])
    assert ids(store.find(SHOWN).alerts) == ["alert-0004", "alert-0002"]
    assert store.suppressions() == [replace(hiding, hidden=2)]
    assert ids(store.find({"suppressed_by": hiding.suppression_id}).alerts) == ["alert-0003", "alert-0001"]
    lifted = store.lift(hiding.suppression_id, "bob", NOON)
    assert (lifted.hidden, lifted.lifted_by) == (0, "bob") and lifted.lifted_at == NOON
    assert store.count(SHOWN) == 4
    store.add([alert(5, source="10.0.0.1")])
    assert store.count(SHOWN) == 5


def test_what_comes_after_a_suppression_expired_is_shown_and_what_it_hid_stays_hidden(store):
    store.add([alert(1)])
    hiding = suppressed(store, {"family": "dos"}, 0, expires_at=NOON + timedelta(seconds=1))
    store.add([alert(2, raised_at=NOON + timedelta(seconds=2))])
    assert ids(store.find(SHOWN).alerts) == ["alert-0002"]
    assert store.suppressions()[0].hidden == 1 and not hiding.active(NOON + timedelta(seconds=1))


def test_an_alert_of_two_suppressions_stays_hidden_when_one_is_lifted(store):
    store.add([alert(1, source="10.0.0.1", features={"$service": "http"})])
    first = suppressed(store, {"source": Networks(("10.0.0.0/8",))}, 0)
    second = suppressed(store, {"text": Words("http"), "score": Range(0.5, 1.0)}, 1)
    assert (first.hidden, second.hidden) == (1, 0)
    assert store.suppressions(limit=1) == [second]
    assert store.suppressions(before=second.suppression_id) == [first]
    store.lift(first.suppression_id, "bob", NOON)
    assert [one.hidden for one in store.suppressions()] == [1, 0]


def test_a_suppression_that_is_not_there_cannot_be_lifted(store):
    with pytest.raises(NotFoundError, match="no suppression 'nothing'"):
        store.lift("nothing", "bob", NOON)


def test_the_oldest_alerts_are_removed_with_all_that_finds_them(store):
    store.add([alert(number, features={"$service": "http"}) for number in range(5)])
    assert store.remove({"raised_at": Range(below=NOON + timedelta(microseconds=4))}, at_most=3) == 3
    assert ids(store.find({"text": Words("http")}).alerts) == ["alert-0004", "alert-0003"]
    assert store.remove({"family": "dos"}, at_most=10) == 2
    assert (store.count(), store.groups().groups, store.timeline()) == (0, [], [])


# --- older files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [2, 3])
def test_a_file_of_an_older_layout_is_taken_over(embedded_settings, layout):
    alerts = [alert(2, source="10.0.0.1", features={"$service": "http"}), alert(1, family="probe", interim=True)]
    embedded_settings.home.mkdir(parents=True)
    with closing(sqlite3.connect(embedded_settings.home / "alerts.sqlite")) as file:
        file.execute(f"CREATE TABLE raised ({', '.join(_OLD)}, PRIMARY KEY (alert_id)) WITHOUT ROWID")
        file.executemany(
            f"INSERT INTO raised ({', '.join(_OLD)}) VALUES (:{', :'.join(_OLD)})",  # noqa: S608 - our own names
            [to_record(one) for one in alerts],
        )
        file.execute("CREATE INDEX raised_by_source ON raised (source, raised_at, alert_id)")
        file.execute(f"PRAGMA user_version = {layout}")
        file.commit()
    with closing(open_alert_store(embedded_settings)) as store:
        assert store.find().alerts == alerts
        assert ids(store.find({"text": Words("http")}).alerts) == ["alert-0002"]
        agree(store)
        assert judged(store, None, "duplicate", 0).changed == 2


_OLD = (*(name for name in Alert.model_fields if name not in ("suppressed_by", "features")), "features")


@pytest.mark.parametrize("settings", ["mongodb"], indirect=True)
def test_alerts_of_a_database_from_before_they_were_counted_are_taken_over(settings, store):
    older = [to_record(one) for one in (alert(1), alert(2, family="probe"))]
    mongo = shared(settings.mongodb_uri.get_secret_value(), settings.store.database, settings.store.timeout_s)
    with closing(mongo):
        names = set(_OLD)
        documents = [{"_id": one["alert_id"], **{name: one[name] for name in names}} for one in older]
        mongo.collection("alerts").insert_many(documents)
        assert ids(store.find({"text": Words("probe")}).alerts) == ["alert-0002"]
        agree(store)


@pytest.mark.parametrize("settings", ["mongodb"], indirect=True)
def test_counts_that_a_killed_process_left_owing_are_made_up_for_once(settings, store):
    store.add([alert(1)])
    mongo = shared(settings.mongodb_uri.get_secret_value(), settings.store.database, settings.store.timeout_s)
    with closing(mongo):
        counts = mongo_counts.MongoCounts(mongo)
        document = {"_id": "alert-0002", **to_record(alert(2))}
        batch = f"{0:020d}-old"
        counts.alerts.insert_one(counts.owing({**document, "words": []}, batch))
        counts.settle_old()
        counts.alerts.update_one({"_id": "alert-0002"}, {"$set": {"owed": {"batch": batch, "left": None}}})
        counts.settle(batch)  # killed before it was noted as done, and found by another
        agree(store)
