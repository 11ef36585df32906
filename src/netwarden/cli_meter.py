"""The commands of `netwarden meter`. Heavy imports wait until a command needs them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from netwarden.capture.meter import MeterSettings
    from netwarden.capture.recent import RecentPackets

_STANDARD_INPUT = 0


class _RunByDefault(TyperGroup):
    """`meter FILES…` and `meter --interface IF` mean `meter run …`."""

    by_default = "run"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "--help"}:
            args = [self.by_default, *args]
        return super().parse_args(ctx, args)


meter = typer.Typer(
    cls=_RunByDefault, no_args_is_help=True, help="Packets to flows: `meter FILES… -o flows.parquet` is short for run."
)

_Mode = Annotated[str, typer.Option(help="corrected, or cicflowmeter: the original's semantics with its defects")]
_Inner = Annotated[bool, typer.Option("--inner", help="Meter what tunnels carry")]
_Idle = Annotated[float, typer.Option(help="Seconds of silence that end a flow")]
_Active = Annotated[
    float | None, typer.Option(help="Seconds after which a flow is split; default 1800, in mode cicflowmeter 120")
]
_MostFlows = Annotated[int, typer.Option(help="Flows held at once; beyond it the longest silent one ends")]
_Sensor = Annotated[str, typer.Option(help="Name of the sensor; part of each flow id")]


@meter.command()
def run(
    files: Annotated[list[str] | None, typer.Argument(help="Captures, merged by time; - is standard input")] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help=".parquet, .csv or .jsonl file; - writes JSON lines as flows come")
    ] = "-",
    interface: Annotated[str, typer.Option(help="Meter this interface until interrupted")] = "",
    mode: Annotated[
        str,
        typer.Option(
            help="corrected, or cicflowmeter: the original's semantics with its defects", show_default="of the names"
        ),
    ] = "",
    inner: _Inner = False,
    names: Annotated[
        str, typer.Option(help="netwarden (mode corrected), or cicflowmeter: its header, order and times, and its mode")
    ] = "netwarden",
    idle_timeout: _Idle = 120.0,
    active_timeout: _Active = None,
    max_flows: _MostFlows = 131_072,
    interim: Annotated[float, typer.Option(help="Also report flows still open this many seconds apart")] = 0.0,
    sensor: _Sensor = "",
    payload_first: Annotated[
        int,
        typer.Option(
            help="Add the first so many payload bytes of each direction (up to 1024), hexadecimal in text files"
        ),
    ] = 0,
    recent_packets: Annotated[
        str, typer.Option(help="Keep so many bytes of the latest packets (64MB), for `meter extract` while this runs")
    ] = "",
    packets_socket: Annotated[
        Path | None, typer.Option(help="Unix socket that gives them out", show_default="netwarden-INTERFACE.sock")
    ] = None,
) -> None:
    """Meter captures, or an interface, into a file of flows (the word `run` may be left out)."""
    from netwarden.capture.compiled import ready
    from netwarden.capture.flow_file import check_output, check_payload, meter_progress, write_flows
    from netwarden.capture.metering import MeterReport, meter_captures, meter_live, no_flows
    from netwarden.capture.pipe import Pipe

    captures = files or []
    _check_sources(captures, interface, recent_packets, packets_socket)
    check_output(output, names, captures)
    check_payload(payload_first, names)
    if names == "cicflowmeter" and mode == "corrected":
        _say("warning: corrected flows under the original's names: no program, and no detector, can tell them apart")
    mode = mode or ("cicflowmeter" if names == "cicflowmeter" else "corrected")
    settings = _settings(mode, idle_timeout, active_timeout, max_flows, interim)
    ready(_say)
    options: Any = {"inner": inner, "sensor": sensor, "payload_first": payload_first}
    report = MeterReport()
    with (
        _recent(recent_packets, packets_socket or Path(f"netwarden-{interface}.sock"), inner, mode) as recent,
        meter_progress(captures) as progress,
    ):
        if interface:
            stop = _interrupted()
            tables = meter_live(interface, settings, stop, **options, report=report, progress=progress, recent=recent)
        else:
            sources: Any = [Pipe(_STANDARD_INPUT, _interrupted())] if captures == ["-"] else captures
            tables = meter_captures(sources, settings, **options, report=report, progress=progress)
        write_flows(tables, output, no_flows(settings, payload_first), names=names)
    _say(str(report))


@meter.command()
def extract(
    captures: Annotated[
        list[str], typer.Argument(help="The captures that were metered, or the socket of a live meter")
    ],
    flow: Annotated[str, typer.Option(help="Flow id, or a unique beginning of it")],
    output: Annotated[Path, typer.Option("--output", "-o", help="pcap to write")],
    mode: _Mode = "corrected",
    inner: _Inner = False,
    idle_timeout: _Idle = 120.0,
    active_timeout: _Active = None,
    max_flows: _MostFlows = 131_072,
    sensor: _Sensor = "",
) -> None:
    """Write the packets behind one flow; metering options must be those that the flow was metered with.

    A live meter that keeps recent packets (--recent-packets) is asked at its socket, and knows its options.
    """
    from netwarden.capture.compiled import ready
    from netwarden.capture.extract import extract_flow
    from netwarden.capture.recent_socket import fetch_packets
    from netwarden.errors import ConfigError

    if "-" in captures:
        raise ConfigError(
            "captures are read twice, for the flow and for its packets; save standard input to a file first"
        )
    if len(captures) == 1 and Path(captures[0]).is_socket():
        packets = fetch_packets(Path(captures[0]), flow, output)
    else:
        settings = _settings(mode, idle_timeout, active_timeout, max_flows)
        ready(_say)
        packets = extract_flow(captures, flow, output, settings, inner=inner, sensor=sensor)
    print(f"{packets:,} packets of flow {flow} in {output}")


@meter.command("compile")
def compile_ahead() -> None:
    """Compile the packet loops now rather than at first use."""
    from netwarden.capture.compiled import compile_kernels

    print(f"flow meter compiled in {compile_kernels():.1f} s")


def _check_sources(captures: list[str], interface: str, recent_packets: str, packets_socket: Path | None) -> None:
    from netwarden.errors import ConfigError

    if bool(captures) == bool(interface):
        raise ConfigError("give either captures or --interface")
    if captures and (recent_packets or packets_socket):
        raise ConfigError("recent packets are kept of an interface; of captures, `meter extract` finds them later")
    if packets_socket and not recent_packets:
        raise ConfigError("--packets-socket gives out what --recent-packets keeps; say how much that is")


def _settings(
    mode: str, idle_timeout: float, active_timeout: float | None, max_flows: int, interim: float = 0.0
) -> MeterSettings:
    from netwarden.capture.meter import MeterSettings, cicflowmeter_settings

    make = cicflowmeter_settings if mode == "cicflowmeter" else MeterSettings
    changes: dict[str, Any] = (
        {"mode": mode} if active_timeout is None else {"mode": mode, "active_timeout_s": active_timeout}
    )
    return make(idle_timeout_s=idle_timeout, max_flows=max_flows, interim_s=interim, **changes)


@contextmanager
def _recent(size: str, path: Path, inner: bool, mode: str) -> Iterator[RecentPackets | None]:
    """Recent packets, given out at a socket, where a size is asked for; else none."""
    from netwarden.capture.recent import RecentPackets, bytes_of
    from netwarden.capture.recent_socket import packets_served

    if not size:
        yield None
        return
    recent = RecentPackets(bytes_of(size), inner=inner, original=mode == "cicflowmeter")
    with packets_served(recent, path):
        _say(f"packets of the latest {recent.most_bytes:,} bytes: netwarden meter extract {path} --flow ID -o one.pcap")
        yield recent


def _interrupted() -> Any:
    """A function that says whether SIGINT or SIGTERM has come, which then no longer end the process themselves."""
    received: list[int] = []
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda number, _: received.append(number))
    return lambda: bool(received)


def _say(text: str) -> None:
    """To standard error: standard output may carry flows."""
    print(text, file=sys.stderr)
