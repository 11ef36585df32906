"""The first learning period: a worker that meets a network watches it for a while, then calibrates the champion on it.

Until then flows alert as ever, by the threshold of training; `/health`, metrics and log say so. The calibration is that
of `netwarden calibrate`: a new bundle, which is promoted, so that every worker has it in seconds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import closing

import numpy as np

from netwarden import telemetry
from netwarden.detectors.bundle import MANIFEST, BundleManifest, DetectorBundle, read_manifest
from netwarden.errors import NetwardenError
from netwarden.logs import get
from netwarden.scoring.adaptation import least_rows
from netwarden.scoring.calibrate import CALIBRATED, Calibrated, calibrate_model, write_set_aside
from netwarden.scoring.model import Model
from netwarden.scoring.sample import Sample
from netwarden.settings import Settings
from netwarden.sources.connect import open_lease, open_registry
from netwarden.streaming.health import Health
from netwarden.streaming.judge import ChooseModel, Judged
from netwarden.streaming.lesson import Lesson, span_of

_LOOK_EVERY_S = 0.5
_KEEP_EVERY_S = 30.0
_ASK_AGAIN_S = 15.0  # whether another worker still learns
_LEASE_S = 30.0  # after which another worker goes on for one that died
_WAITING = 32  # batches; the oldest go where they come faster than they are looked at
_DAY_S = 86_400.0
_FLOWS_PER_DAY = 1_000_000.0  # of flows that did not come as they happened
_log = get(__name__)


class Learner:
    """Learns one schema's network at a time, beside a worker that tells it what it judged.

    Of several workers one learns; another takes over where that dies. A network is learned once: not where the champion
    was calibrated on it, or derives from a bundle that was, nor where somebody took that calibration back.
    Raises ConfigError where `stream.learn` is no time and no number of flows.
    """

    def __init__(self, settings: Settings, choose: ChooseModel, health: Health, holder: str) -> None:
        self._settings = settings
        self._choose = choose
        self._health = health
        self._holder = holder
        self._span = span_of(settings.stream.learn)
        self._folder = settings.home / "learning"
        self._waiting: deque[Judged] = deque(maxlen=_WAITING)
        self._settled: set[str] = set()  # bundles with which there is nothing to learn
        self._said_too_few = False

    def watch(self, judged: Judged) -> None:
        """Notice what was judged; costs the worker nothing to speak of."""
        if judged.bundle_id not in self._settled:
            self._waiting.append(judged)

    def run(self, stop: threading.Event) -> None:
        """Learn what there is to learn until `stop` is set; a lesson that is not over then waits on disk."""
        stopped = False
        while not stopped:
            stopped = stop.wait(_LOOK_EVERY_S)
            try:
                if self._waiting:
                    self._look(self._waiting[0].batch.flows.schema_id, stop)
            except NetwardenError as error:  # another worker learns, or something is away
                self._waiting.clear()
                self._health.note(learning={"state": "waiting", "detail": str(error)})
                stopped = stop.wait(_ASK_AGAIN_S)

    def failed(self, error: BaseException) -> None:
        """Say that `run` ended by an error; scoring goes on without learning."""
        _log.error("learning failed", exc_info=error)
        self._health.report("learning", f"{type(error).__name__}: {error}")

    def _look(self, schema_id: str, stop: threading.Event) -> None:
        with closing(open_lease(self._settings)) as lease, lease.hold(f"learning {schema_id}", self._holder, _LEASE_S):
            model = self._choose(schema_id)
            if is_settled(self._settings, model.bundle):
                self._settle(model.bundle.bundle_id, schema_id)
                self._health.note(learning={"state": "nothing to learn", "bundle": model.bundle.bundle_id})
            else:
                self._learn(model, stop)

    def _settle(self, bundle_id: str, schema_id: str) -> None:
        """Stop listening to what this bundle says, and the one before it, of flows that were under way."""
        here = [judged for judged in list(self._waiting) if judged.batch.flows.schema_id == schema_id]
        self._settled |= {bundle_id, *(judged.bundle_id for judged in here)}
        self._waiting.clear()

    def _learn(self, model: Model, stop: threading.Event) -> None:
        schema_id, stream = model.schema.id, self._settings.stream
        file = self._folder / f"{schema_id}.arrow"
        lesson = Lesson(file, schema_id, model.bundle.preprocessor.names, stream.learn_rows)
        _log.warning(
            "learning this network; until that is done, flows alert by the threshold of training",
            extra={"schema": schema_id, "span": stream.learn, "watched_s": round(lesson.progress.watched_s)},
        )
        telemetry.LEARNING.labels(schema_id).set(1)
        done = False
        try:
            done = self._watch_on(lesson, schema_id, stop)
        finally:
            telemetry.LEARNING.labels(schema_id).set(0)
            (lesson.forget if done else lesson.keep)()

    def _watch_on(self, lesson: Lesson, schema_id: str, stop: threading.Event) -> bool:
        """Watch until the span is over and the champion calibrated; False where `stop` was set before."""
        seen_at_s = kept_at_s = time.monotonic()
        stopped = False
        while not stopped:
            stopped = stop.wait(_LOOK_EVERY_S)
            now_s = time.monotonic()
            lesson.watched(now_s - seen_at_s)
            seen_at_s = now_s
            self._take(lesson, schema_id)
            model = self._choose(schema_id)
            self._tell(lesson, model.bundle)
            if lesson.progress.over(self._span) and self._calibrated(lesson, model):
                return True
            if now_s - kept_at_s >= _KEEP_EVERY_S:
                lesson.keep()
                kept_at_s = now_s
        return False

    def _take(self, lesson: Lesson, schema_id: str) -> None:
        for _ in range(len(self._waiting)):
            judged = self._waiting.popleft()
            if judged.batch.flows.schema_id == schema_id:
                lesson.take(judged.batch)

    def _tell(self, lesson: Lesson, bundle: DetectorBundle) -> None:
        telemetry.LEARNING_FLOWS.labels(bundle.schema_id).set(len(lesson))
        self._health.note(
            learning={
                "state": "learning",
                "schema": bundle.schema_id,
                "bundle": bundle.bundle_id,
                "span": self._settings.stream.learn,
                "watched_s": round(lesson.progress.watched_s),
                "flows_passed": lesson.progress.passed,
                "flows_kept": len(lesson),
                "least_flows": least_rows(bundle.manifest.threshold.budget),
                "alerts": "by the threshold of training until this is done",
            }
        )

    def _calibrated(self, lesson: Lesson, model: Model) -> bool:
        """Whether the champion is calibrated now. Where that fails, the span is watched once more."""
        least = least_rows(model.bundle.manifest.threshold.budget)
        if len(lesson) < least:
            self._say_too_few(len(lesson), least)
            return False
        if is_settled(self._settings, model.bundle):  # by somebody else meanwhile
            self._settle(model.bundle.bundle_id, model.schema.id)
            return True
        flows = lesson.flows()
        sample = Sample(flows, np.arange(len(flows)), 0, cut=False)
        passed = "were replayed" if lesson.progress.replayed else "passed"
        occasion = (
            f", of {lesson.progress.passed:,} that {passed} in a learning period of {self._settings.stream.learn}"
        )
        try:
            done = calibrate_model(self._settings, model, sample, f"worker {self._holder}", occasion=occasion)
        except NetwardenError as error:
            _log.error("cannot calibrate on this network yet, so it is watched on", extra={"error": str(error)})
            lesson.failed()
            return False
        self._settle(done.entry.bundle_id, model.schema.id)
        self._report(done, lesson)
        return True

    def _say_too_few(self, flows: int, least: int) -> None:
        if not self._said_too_few:
            self._said_too_few = True
            _log.warning(
                "the span is over with too few flows, so it is watched on", extra={"flows": flows, "least": least}
            )

    def _report(self, done: Calibrated, lesson: Lesson) -> None:
        """Say what changed, in the log line by line, in files and at /health."""
        progress = lesson.progress
        per_day = progress.passed / max(progress.watched_s, 1.0) * _DAY_S if progress.live else _FLOWS_PER_DAY
        report = self._folder / f"{done.entry.bundle_id}.txt"
        report.parent.mkdir(parents=True, exist_ok=True)
        text = done.describe(per_day)
        report.write_text(text + "\n", encoding="utf-8")
        write_set_aside(done, report.with_suffix(".csv"))
        for line in text.splitlines():
            _log.warning(line)
        if progress.replayed:
            _log.warning("learned from test rows: figures on them no longer tell how well the new bundle detects")
        _log.warning(f"netwarden models rollback {done.entry.schema_id} --reason REASON takes this back")
        self._health.note(
            learning={
                "state": "learned",
                "bundle": done.entry.bundle_id,
                "before": done.origin_id,
                "alerts_per_day_before": round(done.before * per_day),
                "alerts_per_day_after": round(done.after * per_day),
                "flows_per_day": round(per_day),
                "set_aside": len(done.set_aside),
                "report": str(report),
            }
        )


def is_settled(settings: Settings, bundle: DetectorBundle) -> bool:
    """Whether a bundle was calibrated or derives from one that was, or was brought back in place of its calibration."""
    with closing(open_registry(settings)) as registry:
        history = registry.history(bundle.schema_id)
    calibrations = [event for event in history if event.action == "promote" and event.why.startswith(CALIBRATED)]
    if bundle.bundle_id in {event.previous for event in calibrations}:
        return True
    manifest: BundleManifest | None = bundle.manifest
    while manifest is not None:
        if manifest.change.startswith(CALIBRATED):
            return True
        folder = settings.bundles_dir / (manifest.derived_from or "none")
        manifest = read_manifest(folder)[0] if (folder / MANIFEST).is_file() else None
    return False
