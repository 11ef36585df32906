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
