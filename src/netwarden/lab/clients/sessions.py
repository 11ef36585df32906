"""Plays many sessions of one use, each in a thread, at times drawn from the seed; every client is built on it.

A client module has one function that plays one session, and gives it to `play`:

    def session(s: Session) -> None:
        with s.connect() as connection:
            ...
            s.count(requests=1)

    def main() -> None:
        play(session)

Options that every client understands:
    `to`        hosts that serve (a name or a list); each session picks one
    `port`      their port
    `sessions`  how many over the whole activity (default 1)
    `hours`     weights of busy and quiet hours; the activity's time is divided into as many
    `every_s`   instead of `sessions`: one after so many seconds, on the beat
    `jitter`    share of `every_s` that each start strays (default 0)
    `at_most`   sessions at the same time (default 24); one more is left out and counted
"""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from netwarden.lab.play import Part, enter

TIMEOUT_S = 10.0
_LAST_WORDS_S = 0.6  # after the end, for sessions to close what they opened; then the runner's patience ends


@dataclass
class Tally:
    """What all sessions of one client did, counted across threads."""

    counts: Counter[str] = field(default_factory=Counter)
    first_failure: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, **counts: int) -> None:
        with self.lock:
            self.counts.update(counts)

    def note(self, failure: str) -> None:
        with self.lock:
            self.first_failure = self.first_failure or failure[:200]


@dataclass(frozen=True)
class Session:
    """One session: its own randomness, the host it talks to, and the time that is left."""

    part: Part
    number: int
    rng: random.Random
    host: str  # name of the host that serves
    tally: Tally

    @property
    def address(self) -> str:
        return self.part.at(self.host)

    @property
    def port(self) -> int:
        return int(self.option("port", 0))

    def option(self, name: str, default: Any = None) -> Any:
        """What the scenario says under `with`, or the client's own default."""
        return self.part.options.get(name, default)

    def between(self, name: str, low: float, high: float) -> float:
        """A number drawn between the two of the option `name: [low, high]`; the defaults hold where it is not given."""
        low, high = self.option(name, (low, high))
        return self.rng.uniform(low, high)

    def pause(self, low_s: float, high_s: float | None = None) -> bool:
        """Wait so long, at most until the end; False when time is up."""
        wanted_s = low_s if high_s is None else self.rng.uniform(low_s, high_s)
        time.sleep(max(0.0, min(wanted_s, self.part.remaining())))
        return self.part.remaining() > 0

    def think(self, name: str, mean_s: float) -> bool:
        """Wait as a person does: mostly shortly, now and then long (exponential); the option `name` sets the mean."""
        return self.pause(min(self.rng.expovariate(1 / float(self.option(name, mean_s))), 60.0))

    def count(self, **counts: int) -> None:
        """Add to what the client reports at its end."""
        self.tally.add(**counts)

    def note(self, failure: str) -> None:
        """Say what went wrong; the first such note is reported."""
        self.tally.note(failure)

    def connect(self, port: int = 0) -> socket.socket:
        """A TCP connection to the host, with TLS where the option `tls` says so."""
        plain = socket.create_connection((self.address, port or self.port), TIMEOUT_S)
        return trusting().wrap_socket(plain, server_hostname=self.host) if self.option("tls") else plain


def trusting() -> ssl.SSLContext:
    """TLS as clients speak it, without a look at the certificate: the lab's servers sign their own."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def play(session: Callable[[Session], None], fails_with: tuple[type[Exception], ...] = ()) -> None:
    """Play all sessions until time is up, then report; `fails_with` are a protocol library's errors besides OSError."""
    part, tally, threads = enter(), Tally(), list[threading.Thread]()
    try:
        _play_all(part, tally, threads, session, (OSError, EOFError, *fails_with))
    finally:  # also where it is told to end, as on a busy machine, where its last words come late
        still = sum(thread.is_alive() for thread in threads)
        told = {**tally.counts, "still_running": still, "first_failure": tally.first_failure}
        part.report(**{name: what for name, what in told.items() if what})


def _play_all(
    part: Part,
    tally: Tally,
    threads: list[threading.Thread],
    session: Callable[[Session], None],
    failures: tuple[type[Exception], ...],
) -> None:
    """Start every session on time, in `threads`, and wait for them until the end."""
    began, span_s = time.time(), part.remaining()
    for number, start_s in enumerate(starts(part.options, span_s, part.rng)):
        if not part.pause(began + start_s - time.time()):
            break
        threads[:] = [thread for thread in threads if thread.is_alive()]
        if len(threads) >= part.options.get("at_most", 24):
            tally.add(left_out=1)
            continue
        threads.append(_begin(_one(part, number, tally), session, failures))
    for thread in threads:
        thread.join(max(0.0, part.ends_at + _LAST_WORDS_S - time.time()))


def starts(options: dict[str, Any], span_s: float, rng: random.Random) -> list[float]:
    """When each session starts, in seconds from the activity's start, sorted; the same for the same randomness."""
    if every_s := options.get("every_s"):
        phase_s, stray_s = rng.uniform(0, min(every_s, span_s) / 4), every_s * options.get("jitter", 0.0)
        return sorted(
            max(0.0, phase_s + beat * every_s + rng.uniform(-stray_s, stray_s)) for beat in range(int(span_s / every_s))
        )
    hours, count = options.get("hours", [1.0]), int(options.get("sessions", 1))
    if count == 1 and len(hours) == 1:
        return [rng.uniform(0, span_s / 20)]
    chosen = rng.choices(range(len(hours)), hours, k=count)
    return sorted((hour + rng.random()) * span_s / len(hours) * 0.98 for hour in chosen)


def _one(part: Part, number: int, tally: Tally) -> Session:
    rng = random.Random(f"{part.seed}/{number}")  # noqa: S311 - seeded, so that a recording can be repeated
    to = part.options.get("to", "")
    return Session(part, number, rng, to if isinstance(to, str) else rng.choice(to), tally)


def _begin(one: Session, session: Callable[[Session], None], failures: tuple[type[Exception], ...]) -> threading.Thread:
    def run() -> None:
        one.count(sessions=1)
        try:
            session(one)
        except SystemExit as refusal:  # a thread would end without a word
            one.note(str(refusal))
            one.count(failures=1)
        except failures as error:
            if one.part.remaining() > 0:  # what the end cuts off has not failed
                one.note(f"{type(error).__name__}: {error}")
                one.count(failures=1)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
