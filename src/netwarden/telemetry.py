"""Names and meanings of every metric, in one place."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

FLOWS_SCORED = Counter("netwarden_flows_scored_total", "Flows scored", ["path", "verdict"])
SCORE_SECONDS = Histogram("netwarden_score_seconds", "Time to score one request or batch", ["path"])
UNKNOWN_CATEGORIES = Counter(
    "netwarden_unknown_categories_total", "Category values that training never saw", ["column"]
)
ROWS_REJECTED = Counter("netwarden_rows_rejected_total", "Rows refused at intake", ["reason"])
HTTP_REQUESTS = Counter("netwarden_http_requests_total", "HTTP requests", ["method", "route", "status"])
HTTP_SECONDS = Histogram("netwarden_http_request_seconds", "HTTP request latency", ["route"])
BUNDLE_INFO = Gauge("netwarden_bundle_info", "1 for the bundle in charge", ["schema", "bundle"])
JOBS_RUNNING = Gauge("netwarden_jobs_running", "Long runs under way", ["kind"])

_FAST = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)

STREAM_FLOWS = Counter(
    "netwarden_stream_flows_total", "Flows sent by a sensor or finished by a worker", ["role", "source"]
)
STREAM_SECONDS = Histogram(
    "netwarden_stream_seconds", "From the sending of a batch until its alerts are stored", buckets=_FAST
)
STREAM_ROUND_FLOWS = Histogram(
    "netwarden_stream_round_flows", "Flows that a worker scored at once", buckets=[4**power for power in range(9)]
)
STREAM_ALERTS = Counter("netwarden_stream_alerts_total", "Alerts new in the store")
STREAM_LOST = Counter("netwarden_stream_lost_total", "What a bound or a fault made us lose, by reason", ["reason"])
STREAM_DEAD_LETTERS = Counter("netwarden_stream_dead_letters_total", "Bodies set aside that could not be processed")
QUEUE_DROPPED = Counter(
    "netwarden_queue_dropped_bodies_total", "Batches or dead letters that the queue's bounds pushed out", ["what"]
)
STREAM_RETRIES = Counter("netwarden_stream_retries_total", "Waits for something that is away", ["component"])
STREAM_COMPONENT_UP = Gauge("netwarden_stream_component_up", "1 where it answers", ["role", "component"])
QUEUE_DEPTH = Gauge("netwarden_queue_depth", "Batches that no worker has finished")
CLEARED_UP = Counter("netwarden_cleared_up_total", "What retention removed, by kind", ["kind"])
LEARNING = Gauge("netwarden_learning", "1 while this worker learns the network of a schema's flows", ["schema"])
LEARNING_FLOWS = Gauge("netwarden_learning_flows", "Flows that it holds to calibrate on", ["schema"])
SPOOL_BYTES = Gauge("netwarden_spool_bytes", "What a sensor keeps on disk until the queue takes it", ["sensor"])
CAPTURE_PACKETS = Gauge("netwarden_capture_packets", "Packets metered since the sensor's start", ["sensor"])
CAPTURE_DROPPED = Gauge("netwarden_capture_dropped_packets", "Packets the kernel's ring had no room for", ["sensor"])
CAPTURE_OPEN_FLOWS = Gauge("netwarden_capture_open_flows", "Flows in the meter's table", ["sensor"])
CAPTURE_TABLE_FLOWS = Gauge(
    "netwarden_capture_table_flows", "Flows that the table has room for; full, it lets the oldest end early", ["sensor"]
)

# A rise from nothing is none to Prometheus, so what must not go unseen begins at zero.
for _reason in ("spool_full", "feed", "prediction_log"):
    STREAM_LOST.labels(_reason)
for _what in ("batch", "dead_letter"):
    QUEUE_DROPPED.labels(_what)
