"""Traces from the sensor to the stored alert, with OpenTelemetry's own SDK."""

import threading
from contextlib import closing

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from netwarden.errors import ConfigError
from netwarden.sources.connect import open_alert_store
from netwarden.sources.memory_queue import MemoryFeed, MemoryQueue
from netwarden.streaming.batch import unpack
from netwarden.streaming.replay import ReplayPlan
from netwarden.streaming.roles import run_together
from netwarden.streaming.scored import read_scored
from netwarden.streaming.sensor import Sensor, replay_source
from netwarden.streaming.tracing import Tracing
from netwarden.streaming.worker import Worker
from tests.streaming.conftest import expected_alerts, stored_alerts
from tests.streaming.test_worker import work_off


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def tracing(spans):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    made = Tracing(provider)
    yield made
    made.close()


def test_an_alert_names_the_trace_that_leads_from_its_sensor_to_the_store(deployment, choose, tracing, spans):
    settings, queue, feed = deployment.with_stream(batch_rows=500), MemoryQueue(), MemoryFeed()
    Sensor(replay_source(settings, ReplayPlan("made_up", 0)), queue, settings, tracing=tracing).run(threading.Event())
    with closing(open_alert_store(settings)) as alerts:
        work_off(Worker("w", queue, alerts, feed, choose, settings.stream, tracing=tracing), queue)
        found = alerts.find(limit=2000).alerts
        assert stored_alerts(alerts) == expected_alerts(deployment.flows, deployment.bundle)
    sent = {f"{span.context.trace_id:032x}": span for span in spans.get_finished_spans() if span.name.endswith("send")}
    stored = [span for span in spans.get_finished_spans() if span.name.endswith("store")]
    assert len(sent) == 3
    assert {alert.features["trace_id"] for alert in found} == set(sent)
    reached = {span.parent.span_id for span in stored} | {
        link.context.span_id for span in stored for link in span.links
    }
    assert reached == {span.context.span_id for span in sent.values()}
    assert {f"{span.context.trace_id:032x}" for span in stored} <= set(sent)
    assert sum(span.attributes["netwarden.alerts"] for span in stored) == len(found)
    rows = [row for _, body in feed.after("", 100, 0) for row in read_scored(body).flows.to_pylist()]
    assert {row["trace_id"] for row in rows} == set(sent)


def test_without_tracing_batches_carry_nothing_of_it(deployment):
    settings, queue = deployment.settings, MemoryQueue()
    Sensor(replay_source(settings, ReplayPlan("made_up", 0)), queue, settings).run(threading.Event())
    batch = unpack(queue.read("a", 1, 0)[0].body)
    assert batch.traces == ()
    assert "trace_id" not in batch.flows.names


def test_tracing_that_is_not_installed_is_said_in_one_sentence(deployment, choose, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    settings = deployment.with_stream(trace=True)
    source = replay_source(settings, ReplayPlan("made_up", 0))
    with pytest.raises(ConfigError, match=r"stream\.trace needs opentelemetry.*; install netwarden\[otel\]"):
        run_together(settings, source, choose, threading.Event())
