"""The commands `netwarden sensor`, `worker`, `up` and `dead-letters`. Heavy imports wait until a command needs them."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwarden import logs
from netwarden.errors import ConfigError
from netwarden.settings import Settings, load_settings

if TYPE_CHECKING:
    from netwarden.streaming.judge import ChooseModel
    from netwarden.streaming.sensor import Source

dead_letters = typer.Typer(no_args_is_help=True, help="What workers could not process, and why.")

_Files = Annotated[list[str] | None, typer.Argument(help="Captures, merged by time")]
_Interface = Annotated[str, typer.Option(help="Meter this interface")]
_Replay = Annotated[str, typer.Option(help="Replay the test rows of this dataset of the store")]
_Rate = Annotated[float | None, typer.Option(min=0, help="Replay: flows a second; 0: as fast as they are taken")]
_Loop = Annotated[bool | None, typer.Option("--loop/--once", help="Replay: begin again at the end")]
_Shuffled = Annotated[bool | None, typer.Option("--shuffled/--sequential", help="Replay: order of the rows")]
_Mode = Annotated[str, typer.Option(help="Flow semantics: corrected, or cicflowmeter")]
_Interim = Annotated[
    float | None, typer.Option(min=0, help="Interface: report open flows so many seconds apart; 0: never")
]
_Recent = Annotated[
    str | None, typer.Option(help="Interface: keep so much of the latest packets (64MB), to save those of an alert")
]
_Learn = Annotated[
    str | None,
    typer.Option(help="Calibrate the champion on a new network after 30m, 12h or 7d of it, or so many flows"),
]
_Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Port of /health and /metrics; 0: any free one")]


def sensor(
    files: _Files = None,
    interface: _Interface = "",
    replay: _Replay = "",
    rate: _Rate = None,
    loop: _Loop = None,
    shuffled: _Shuffled = None,
    mode: _Mode = "corrected",
    interim: _Interim = None,
    recent_packets: _Recent = None,
    port: _Port = None,
) -> None:
    """Make flows of an interface, of captures or of a dataset's test rows, and send them to Redis."""
    from netwarden.streaming.roles import run_sensor

    replaying = {"replay_rate": rate, "replay_loop": loop, "replay_order": _order(shuffled)}
    settings = _settings(sensor_port=port, interim_s=interim, recent_packets=recent_packets, **replaying)
    stop = _stop_on_signals()
    print(run_sensor(settings, _source(settings, files or [], interface, replay, mode), stop))


def worker(
    name: Annotated[str, typer.Option(help="Tells workers apart; default: host and process")] = "",
    port: _Port = None,
    log_predictions: Annotated[
        bool | None, typer.Option("--log-predictions", help="Also write scored flows as JSON lines under LOG_DIR")
    ] = None,
    learn: _Learn = None,
) -> None:
    """Score flows from Redis with the champion and store their alerts; run as many as you need."""
    _one_thread_for_products()
    from netwarden.streaming.roles import run_worker

    settings = _settings(worker_port=port, prediction_logs=log_predictions, learn=learn)
    run_worker(settings, _champions(settings), _stop_on_signals(), name)


def up(
    files: _Files = None,
    interface: _Interface = "",
    replay: _Replay = "",
    rate: _Rate = None,
    loop: _Loop = None,
    shuffled: _Shuffled = None,
    mode: _Mode = "corrected",
    interim: _Interim = None,
    recent_packets: _Recent = None,
    learn: _Learn = None,
    portal: Annotated[bool, typer.Option("--portal/--no-portal", help="Without: ends when all is worked off")] = True,
) -> None:
    """Sensor, worker and portal in one process; no Redis needed."""
    _one_thread_for_products()
    from netwarden.streaming.roles import run_together

    replaying = {"replay_rate": rate, "replay_loop": loop, "replay_order": _order(shuffled)}
    settings = _settings(interim_s=interim, recent_packets=recent_packets, learn=learn, **replaying)
    source = _source(settings, files or [], interface, replay, mode)
    serve = _portal(settings) if portal else None  # it minds the signals while it runs, and passes them on
    print(run_together(settings, source, _champions(settings), _stop_on_signals(), serve))


@dead_letters.command("list")
def list_letters(limit: Annotated[int, typer.Option(help="How many, the oldest first")] = 100) -> None:
    """Show ids, sizes and reasons."""
    from netwarden.streaming.dead_letters import describe_letters

    print(describe_letters(_shared_settings(), limit))


@dead_letters.command("redrive")
def redrive(
    letters: Annotated[list[str] | None, typer.Argument(help="Ids, as `list` shows them")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All there are")] = False,
) -> None:
    """Put dead letters back into the queue, once their cause is gone."""
    from netwarden.streaming.dead_letters import redrive_letters

    if bool(letters) == everything:
        raise ConfigError("give either ids of dead letters or --all")
    print(redrive_letters(_shared_settings(), letters))


def _one_thread_for_products() -> None:
    """Before NumPy is loaded. Rounds are small: threads that wait for each other cost a busy machine twice the time."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _settings(**changes: Any) -> Settings:
    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    for warning in settings.warnings:
        logs.get("netwarden.settings").warning(warning)
    given = {name: value for name, value in changes.items() if value is not None}
    stream = type(settings.stream).model_validate({**settings.stream.model_dump(), **given})
    return settings.model_copy(update={"stream": stream})


def _shared_settings() -> Settings:
    settings = _settings()
    if settings.redis_url is None:
        raise ConfigError("dead letters outlive their process in Redis only; set REDIS_URL")
    return settings


def _order(shuffled: bool | None) -> str | None:
    return None if shuffled is None else "shuffled" if shuffled else "sequential"


def _source(settings: Settings, files: list[str], interface: str, replay: str, mode: str) -> Source:
    from netwarden.streaming import sensor as sensors

    if sum(map(bool, (files, interface, replay))) != 1:
        raise ConfigError("give one source of flows: captures, --interface or --replay")
    stream = settings.stream
    if replay:
        from netwarden.streaming.replay import ReplayPlan

        plan = ReplayPlan(
            replay, stream.replay_rate, stream.replay_order == "shuffled", stream.replay_loop, stream.batch_rows
        )
        return sensors.replay_source(settings, plan)
    from netwarden.capture.compiled import ready
    from netwarden.capture.meter import MeterSettings, cicflowmeter_settings

    if mode not in ("corrected", "cicflowmeter"):
        raise ConfigError(f"flow semantics {mode!r} are not known; there are: corrected, cicflowmeter")
    ready(typer.echo)
    # Reports of open flows are for those who watch, and the original has none.
    corrected = MeterSettings(interim_s=stream.interim_s if interface else 0.0)
    meter = cicflowmeter_settings() if mode == "cicflowmeter" else corrected
    return (
        sensors.live_source(settings, interface, meter) if interface else sensors.capture_source(settings, files, meter)
    )


def _champions(settings: Settings) -> ChooseModel:
    from netwarden.portal.models.champions import Champions

    champions = Champions(settings)
    champions.serving()  # loaded before the first flow comes
    return champions.choose


def _portal(settings: Settings) -> Any:
    from functools import partial

    from netwarden.portal.server import serve

    return partial(serve, settings)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    return stop
