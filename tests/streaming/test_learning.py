"""A worker that meets a network learns it first: a bounded sample, through restarts, and one calibration."""

import threading
from contextlib import closing
from dataclasses import replace
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from netwarden.errors import ConfigError, InputError
from netwarden.flows.labels import load_families
from netwarden.flows.table import FlowTable
from netwarden.portal.models.champions import Champions
from netwarden.scoring.model import load
from netwarden.sources.connect import open_alert_store, open_lease, open_registry
from netwarden.sources.files import read_batches
from netwarden.streaming.health import Health
from netwarden.streaming.judge import Judged
from netwarden.streaming.learning import Learner, is_settled
from netwarden.streaming.lesson import Lesson, Progress, Span, span_of
from netwarden.streaming.replay import ReplayPlan
from netwarden.streaming.roles import run_together
from netwarden.streaming.sensor import replay_source
from tests.fixtures.bundles import SMALL_HYBRID, made_up_flows, train_bundle
from tests.fixtures.data import ROOT
from tests.fixtures.servers import wait_until
from tests.streaming.conftest import batch_of, deploy, expected_alerts, register, stored_alerts, with_ids


@pytest.mark.parametrize(
    ("text", "span"),
    [("90s", Span(90)), ("30m", Span(1800)), ("2h", Span(7200)), ("7d", Span(604_800)), ("20000", Span(0, 20_000))],
)
def test_a_span_is_a_time_or_a_number_of_flows(text, span):
    assert span_of(text) == span


@pytest.mark.parametrize("text", ["", "m", "0", "0h", "1.5h", "-3m", "5 weeks"])
def test_any_other_span_is_refused_with_examples(text):
    with pytest.raises(ConfigError, match=r"it is a time such as 30m, 12h or 7d, or a number of flows"):
        span_of(text)


def test_a_span_is_over_when_so_long_was_watched_or_so_many_flows_passed_and_longer_after_each_failure():
    assert Progress(watched_s=60).over(Span(60)) and not Progress(watched_s=59, passed=10**9).over(Span(60))
    assert Progress(passed=100).over(Span(flows=100)) and not Progress(watched_s=1e9, passed=99).over(Span(flows=100))
    assert not Progress(watched_s=119, failed=1).over(Span(60)) and Progress(watched_s=120, failed=1).over(Span(60))


def lesson_in(folder, most=1000):
    return Lesson(folder / "nsl_kdd.arrow", "nsl_kdd", ("src_bytes", "service"), most)


def held(lesson):
    return lesson.flows().arrow.column("flow_id").to_pylist()


def test_a_lesson_holds_so_many_flows_each_once_and_of_all_times(tmp_path, nsl_schema):
    table = with_ids(made_up_flows(nsl_schema, 9000, seed=3))
    lesson = lesson_in(tmp_path)
    for start in range(0, 9000, 300):
        lesson.take(batch_of(table.slice(start, 300)))
        lesson.take(batch_of(table.slice(start, 150)))  # delivered again
    ids = held(lesson)
    assert len(lesson) == len(ids) == len(set(ids)) == 1000
    places = np.array([int(name.removeprefix("flow-")) for name in ids])
    assert np.histogram(places, 3, (0, 9000))[0].min() > 250
    assert lesson.flows().names == ["flow_id", "src_bytes", "service"]


def test_a_lesson_goes_on_where_an_earlier_run_was_and_begins_anew_where_its_file_is_damaged(tmp_path, named_flows):
    first, whole = lesson_in(tmp_path), lesson_in(tmp_path / "whole")
    first.take(batch_of(named_flows.slice(0, 1500)))
    first.watched(60)
    first.keep()
    again = lesson_in(tmp_path)
    again.take(batch_of(named_flows.slice(1500, 1500)))
    whole.take(batch_of(named_flows))
    assert sorted(held(again)) == sorted(held(whole))
    assert (again.progress.passed, again.progress.watched_s) == (3000, 60)
    (tmp_path / "nsl_kdd.arrow").write_bytes(b"not Arrow")
    assert len(lesson_in(tmp_path)) == 0
    with pytest.raises(InputError, match="no flow of schema nsl_kdd has passed yet"):
        lesson_in(tmp_path).flows()


def test_a_flow_that_is_still_open_is_no_lesson(tmp_path, named_flows):
    table = named_flows.slice(0, 3)
    ended_by = pa.array(["interim", "fin", None])
    lesson = lesson_in(tmp_path)
    lesson.take(batch_of(replace(table, arrow=table.arrow.append_column("ended_by", ended_by))))
    assert held(lesson) == ["flow-1", "flow-2"] and lesson.progress.passed == 2
    assert (lesson.progress.live, lesson.progress.replayed) == (False, True)


@pytest.fixture(scope="module")
def network(nsl_kdd, nsl_schema, tmp_path_factory):
    """A small hybrid of KDDTrain+ rows whose benign flows are all http, and a network that has other services.

    One in a hundred flows of that network is an attack.
    """
    families = load_families(ROOT / "schema" / "families.yaml")
    batches = islice(read_batches(nsl_kdd / "KDDTrain+.txt.gz", nsl_schema, families, labelled=True), 8)
    arrow = pa.concat_tables([batch.table.arrow for batch in batches]).combine_chunks()
    folder = tmp_path_factory.mktemp("networks") / "bundle"
    benign, http = pc.equal(arrow["family"], "benign"), pc.equal(arrow["service"], "http")
    known = arrow.filter(pc.or_(pc.invert(benign), http)).slice(0, 8000)
    bundle = train_bundle(folder, nsl_schema, FlowTable(known, nsl_schema.id), kind="hybrid", params=SMALL_HYBRID)
    calm = arrow.filter(pc.and_(benign, pc.invert(http))).slice(0, 3960)
    attacks = (
        arrow.slice(len(arrow) - 2000).filter(pc.invert(benign.slice(len(arrow) - 2000))).slice(0, len(calm) // 100)
    )
    mixed = pa.concat_tables([calm, attacks]).combine_chunks()
    mixed = mixed.take(pa.array(np.random.default_rng(1).permutation(len(mixed))))
    trained = pa.concat_tables([arrow.slice(0, len(mixed)), mixed]).combine_chunks()  # second half: test rows
    return bundle, FlowTable(trained, nsl_schema.id)


@pytest.fixture
def met(tmp_path, network):
    """A home whose champion has not met the network that is replayed there."""
    bundle, flows = network
    return deploy(tmp_path / "home", flows, bundle)


def up(deployment, learn, stop_after=0, **plan):
    """Sensor and worker in one process, until all is replayed or so many flows are."""
    settings = deployment.with_stream(learn=learn, learn_rows=5000)
    stop = threading.Event()
    source = replay_source(settings, ReplayPlan("made_up", **{"rate": 0, "batch_rows": 500, **plan}))
    if stop_after:
        given = source.flows

        def first_flows(event):
            for table, end in given(event):
                yield table, end
                if end >= stop_after:
                    stop.set()
                    return

        source = replace(source, flows=first_flows)
    run_together(settings, source, Champions(settings).choose, stop)


def champion_of(deployment):
    return load("champion", deployment.settings).bundle


def test_real_flows_of_a_network_that_is_met_calibrate_the_champion_once(met, caplog):
    up(met, learn=f"{len(met.flows)}")
    champion = champion_of(met)
    assert champion.manifest.derived_from == met.bundle.bundle_id
    with closing(open_registry(met.settings)) as registry:
        promoted = registry.history("nsl_kdd")[0]
    assert (promoted.action, promoted.previous) == ("promote", met.bundle.bundle_id)
    passed = f"{len(met.flows):,}"
    assert promoted.why.startswith(f"calibrated on {passed} flows of another network")
    assert f"of {passed} that were replayed in a learning period of {len(met.flows)}" in promoted.why
    assert promoted.who.startswith("worker ")
    with closing(open_alert_store(met.settings)) as store:  # meanwhile they alerted as before
        assert stored_alerts(store) == expected_alerts(met.flows, met.bundle)
    said = " ".join(record.message for record in caplog.records)
    assert "learning this network; until that is done, flows alert by the threshold of training" in said
    assert "alerts a day of 1,000,000 flows" in said and "flows set aside as likely attacks" in said
    assert "learned from test rows: figures on them no longer tell how well the new bundle detects" in said
    assert "netwarden models rollback nsl_kdd --reason REASON takes this back" in said
    report = met.settings.home / "learning" / f"{champion.bundle_id}.txt"
    assert "before" in report.read_text(encoding="utf-8") and report.with_suffix(".csv").is_file()
    assert not (met.settings.home / "learning" / "nsl_kdd.arrow").exists()
    up(met, learn=f"{len(met.flows)}")
    assert champion_of(met).bundle_id == champion.bundle_id, "it was learned twice"


def test_calibrated_on_the_network_it_alerts_about_as_often_as_the_budget_says(met):
    up(met, learn="3000")
    new = load("champion", met.settings)
    calm = met.flows.arrow.filter(pc.equal(met.flows.arrow["label"], "benign"))
    table = FlowTable(calm, met.flows.schema_id)
    before = np.array(load(met.bundle.folder, met.settings).scorer.score(table)["score"]) >= met.bundle.threshold
    after = np.array(new.scorer.score(table)["score"]) >= new.bundle.threshold
    assert after.mean() == pytest.approx(new.bundle.manifest.threshold.budget, abs=0.012)
    assert before.mean() > 1.5 * after.mean()


def test_a_learning_period_goes_on_after_a_restart(met):
    need = str(len(met.flows) + 1000)
    up(met, learn=need, stop_after=2000)
    assert champion_of(met).bundle_id == met.bundle.bundle_id
    assert (met.settings.home / "learning" / "nsl_kdd.arrow").is_file()
    up(met, learn=need)  # goes on where the replay was: not enough flows yet
    assert champion_of(met).bundle_id == met.bundle.bundle_id
    up(met, learn=need, stop_after=2000)
    assert champion_of(met).manifest.derived_from == met.bundle.bundle_id


@pytest.fixture
def judged(met):
    return Judged(batch_of(met.flows), met.bundle.bundle_id, None, [], [])


def learner_of(met, learn, name):
    health = Health("worker")
    choose = Champions(met.settings).choose
    return Learner(met.with_stream(learn=learn, learn_rows=5000), choose, health, name), health


def test_one_of_several_workers_learns_and_health_says_what_goes_on(met, judged):
    stop = threading.Event()
    workers = [learner_of(met, "7d", name) for name in ("ann", "bob")]
    threads = [threading.Thread(target=learner.run, args=(stop,)) for learner, _ in workers]
    for (learner, _), thread in zip(workers, threads, strict=True):
        learner.watch(judged)
        thread.start()

    def states():
        return [health.snapshot().get("learning", {}) for _, health in workers]

    try:
        wait_until(lambda: {each.get("state") for each in states()} == {"learning", "waiting"}, "one to learn", 5)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    learning, waiting = sorted(states(), key=lambda each: each["state"])
    assert learning["flows_kept"] == learning["flows_passed"] == len(met.flows)
    assert learning["alerts"] == "by the threshold of training until this is done" and learning["span"] == "7d"
    assert "learning nsl_kdd is held by" in waiting["detail"]
    assert all(health.snapshot()["status"] == "ok" for _, health in workers)


def test_too_few_flows_are_watched_for_longer_which_the_log_says_and_nothing_changes(met, judged, caplog):
    stop = threading.Event()
    stop.set()
    learner, health = learner_of(met, "500", "ann")
    few = replace(judged, batch=judged.batch.part(0, 600))
    learner.watch(few)
    learner.run(stop)
    assert health.snapshot()["learning"]["least_flows"] == 1000
    said = [(record.message, record.flows, record.least) for record in caplog.records if hasattr(record, "least")]
    assert said == [("the span is over with too few flows, so it is watched on", 600, 1000)]
    assert champion_of(met).bundle_id == met.bundle.bundle_id


def test_a_calibration_that_was_rolled_back_is_not_made_again_and_a_new_training_is_learned(met, network, nsl_schema):
    up(met, learn="2000")
    derived = champion_of(met)
    assert is_settled(met.settings, derived)
    with closing(open_registry(met.settings)) as registry:
        registry.rollback("nsl_kdd", "ann", "too many alerts")
    assert champion_of(met).bundle_id == met.bundle.bundle_id
    assert is_settled(met.settings, met.bundle)
    rows = network[1].slice(0, 3000)
    trained_anew = train_bundle(met.settings.home / "anew", nsl_schema, rows, kind="hybrid", params=SMALL_HYBRID)
    register(met.settings, trained_anew)
    assert not is_settled(met.settings, trained_anew)


def test_scoring_goes_on_where_learning_fails(met, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("netwarden.streaming.learning.is_settled", broken)
    up(met, learn="2000")
    with closing(open_alert_store(met.settings)) as store:
        assert stored_alerts(store) == expected_alerts(met.flows, met.bundle)
    assert [record.exc_info[1].args for record in caplog.records if record.message == "learning failed"] == [
        ("a fault of ours",)
    ]
    assert champion_of(met).bundle_id == met.bundle.bundle_id


def test_without_the_setting_nothing_is_learned(deployment):
    up(deployment, learn="")
    assert not (deployment.settings.home / "learning").exists()
    with closing(open_lease(deployment.settings)) as lease, lease.hold("learning nsl_kdd", "ann", 5):
        assert champion_of(deployment).bundle_id == deployment.bundle.bundle_id
