"""What every feature means, in both modes: the source of docs/flow-features.md and of the original's names."""

from __future__ import annotations

from dataclasses import dataclass

from netwarden.capture.context import CONTEXT_NAMES


@dataclass(frozen=True)
class FeatureDefinition:
    """One feature: what it is, of a flow of one packet too, and what the original tool does otherwise."""

    name: str
    original: str  # the original CICFlowMeter's column
    unit: str
    direction: str  # fwd, bwd or both
    formula: str
    one_packet: str = "0"
    original_differs: str = ""


_TWICE = "the first packet's payload counts twice, in the sum and in the number of packets"
_BULK = "packets of both directions count as bwd, so fwd is 0; integer division"
_NAMES = {"fwd": "Fwd", "bwd": "Bwd"}


def _payload(lane: str) -> tuple[FeatureDefinition, ...]:
    title, first = _NAMES[lane], "the packet's payload" if lane == "fwd" else "0"
    return (
        FeatureDefinition(
            f"{lane}_packet_bytes_max", f"{title} Packet Length Max", "bytes", lane, "largest payload", first
        ),
        FeatureDefinition(
            f"{lane}_packet_bytes_min", f"{title} Packet Length Min", "bytes", lane, "smallest payload", first
        ),
        FeatureDefinition(
            f"{lane}_packet_bytes_mean", f"{title} Packet Length Mean", "bytes", lane, "Σ payload / packets", first
        ),
        FeatureDefinition(
            f"{lane}_packet_bytes_std",
            f"{title} Packet Length Std",
            "bytes",
            lane,
            "sample standard deviation of the payloads",
        ),
    )


def _lane_gaps(lane: str) -> tuple[FeatureDefinition, ...]:
    title = _NAMES[lane]
    facts = (
        ("total", "Total", "time from the direction's first to its last packet"),
        ("mean", "Mean", "total / (packets − 1)"),
        ("std", "Std", "sample standard deviation of the gaps"),
        ("max", "Max", "largest gap"),
        ("min", "Min", "smallest gap"),
    )
    return tuple(
        FeatureDefinition(f"{lane}_iat_{short}_us", f"{title} IAT {word}", "us", lane, formula)
        for short, word, formula in facts
    )


def _bulk(lane: str) -> tuple[FeatureDefinition, ...]:
    title = _NAMES[lane]
    return (
        FeatureDefinition(
            f"{lane}_bulk_bytes_mean",
            f"{title} Bytes/Bulk Avg",
            "bytes",
            lane,
            "payload in bulks / bulks",
            original_differs=_BULK,
        ),
        FeatureDefinition(
            f"{lane}_bulk_packets_mean",
            f"{title} Packet/Bulk Avg",
            "packets",
            lane,
            "packets in bulks / bulks",
            original_differs=_BULK,
        ),
        FeatureDefinition(
            f"{lane}_bulk_bytes_per_s",
            f"{title} Bulk Rate Avg",
            "bytes/s",
            lane,
            "payload in bulks / time in bulks",
            original_differs=_BULK + ", rounded down",
        ),
    )


def _periods(kind: str, formula: str, differs: str) -> tuple[FeatureDefinition, ...]:
    title = kind.capitalize()
    facts = (
        ("mean", "Mean", f"mean of {formula}"),
        ("std", "Std", f"sample standard deviation of {formula}"),
        ("max", "Max", f"longest of {formula}"),
        ("min", "Min", f"shortest of {formula}"),
    )
    return tuple(
        FeatureDefinition(f"{kind}_{short}_us", f"{title} {word}", "us", "both", text, original_differs=differs)
        for short, word, text in facts
    )


_FLAGS = (("fin", "FIN"), ("syn", "SYN"), ("rst", "RST"), ("psh", "PSH"), ("ack", "ACK"), ("urg", "URG"))
_RATE_UNSET = "missing: a rate over no time"

FEATURES: tuple[FeatureDefinition, ...] = (
    FeatureDefinition("flow_duration_us", "Flow Duration", "us", "both", "time of the last packet − of the first"),
    FeatureDefinition("fwd_packets", "Total Fwd Packet", "packets", "fwd", "packets", "1"),
    FeatureDefinition("bwd_packets", "Total Bwd packets", "packets", "bwd", "packets"),
    FeatureDefinition("fwd_bytes", "Total Length of Fwd Packet", "bytes", "fwd", "Σ payload", "the packet's payload"),
    FeatureDefinition("bwd_bytes", "Total Length of Bwd Packet", "bytes", "bwd", "Σ payload"),
    *_payload("fwd"),
    *_payload("bwd"),
    FeatureDefinition("flow_bytes_per_s", "Flow Bytes/s", "bytes/s", "both", "Σ payload / duration", _RATE_UNSET),
    FeatureDefinition("flow_packets_per_s", "Flow Packets/s", "packets/s", "both", "packets / duration", _RATE_UNSET),
    FeatureDefinition("flow_iat_mean_us", "Flow IAT Mean", "us", "both", "duration / (packets − 1)"),
    FeatureDefinition(
        "flow_iat_std_us", "Flow IAT Std", "us", "both", "sample standard deviation of gaps between packets"
    ),
    FeatureDefinition("flow_iat_max_us", "Flow IAT Max", "us", "both", "largest gap"),
    FeatureDefinition("flow_iat_min_us", "Flow IAT Min", "us", "both", "smallest gap"),
    *_lane_gaps("fwd"),
    *_lane_gaps("bwd"),
    *(
        FeatureDefinition(
            f"{lane}_{flag}_flags",
            f"{_NAMES[lane]} {flag.upper()} Flags",
            "packets",
            lane,
            f"packets with {flag.upper()}",
            "1 if set" if lane == "fwd" else "0",
            "counts the flow's first packet only",
        )
        for flag in ("psh", "urg")
        for lane in ("fwd", "bwd")
    ),
    FeatureDefinition(
        "fwd_header_bytes", "Fwd Header Length", "bytes", "fwd", "Σ TCP or UDP header", "the packet's header"
    ),
    FeatureDefinition("bwd_header_bytes", "Bwd Header Length", "bytes", "bwd", "Σ TCP or UDP header"),
    FeatureDefinition("fwd_packets_per_s", "Fwd Packets/s", "packets/s", "fwd", "packets / duration, 0 without one"),
    FeatureDefinition("bwd_packets_per_s", "Bwd Packets/s", "packets/s", "bwd", "packets / duration, 0 without one"),
    FeatureDefinition(
        "packet_bytes_min", "Packet Length Min", "bytes", "both", "smallest payload", "the packet's payload"
    ),
    FeatureDefinition(
        "packet_bytes_max", "Packet Length Max", "bytes", "both", "largest payload", "the packet's payload"
    ),
    FeatureDefinition(
        "packet_bytes_mean",
        "Packet Length Mean",
        "bytes",
        "both",
        "Σ payload / packets",
        "the packet's payload",
        _TWICE,
    ),
    FeatureDefinition(
        "packet_bytes_std",
        "Packet Length Std",
        "bytes",
        "both",
        "sample standard deviation of the payloads",
        original_differs=_TWICE,
    ),
    FeatureDefinition(
        "packet_bytes_variance",
        "Packet Length Variance",
        "bytes²",
        "both",
        "sample variance of the payloads",
        original_differs=_TWICE,
    ),
    *(
        FeatureDefinition(f"{low}_packets", f"{high} Flag Count", "packets", "both", f"packets with {high}", "1 if set")
        for low, high in (*_FLAGS, ("cwr", "CWR"), ("ece", "ECE"))
    ),
    FeatureDefinition(
        "down_up_ratio",
        "Down/Up Ratio",
        "",
        "both",
        "bwd packets / fwd packets, 0 without fwd packets",
        original_differs="integer division",
    ),
    FeatureDefinition(
        "packet_bytes_average",
        "Average Packet Size",
        "bytes",
        "both",
        "Σ payload / packets",
        "the packet's payload",
        "the first packet's payload counts twice in the sum",
    ),
    FeatureDefinition(
        "fwd_segment_bytes_mean", "Fwd Segment Size Avg", "bytes", "fwd", "Σ payload / packets", "the packet's payload"
    ),
    FeatureDefinition("bwd_segment_bytes_mean", "Bwd Segment Size Avg", "bytes", "bwd", "Σ payload / packets"),
    *_bulk("fwd"),
    *_bulk("bwd"),
    *(
        FeatureDefinition(
            f"subflow_{lane}_{what}",
            f"Subflow {_NAMES[lane]} {what.capitalize()}",
            what,
            lane,
            f"{'packets' if what == 'packets' else 'Σ payload'} / subflows",
            "as the flow's" if lane == "fwd" else "0",
            "divides integers by the gaps over one second (subflows − 1), 0 where there is none",
        )
        for lane in ("fwd", "bwd")
        for what in ("packets", "bytes")
    ),
    FeatureDefinition(
        "fwd_init_window_bytes",
        "FWD Init Win Bytes",
        "bytes",
        "fwd",
        "TCP window of the direction's first packet, missing without one",
        "the packet's window",
        "0 where there is none",
    ),
    FeatureDefinition(
        "bwd_init_window_bytes",
        "Bwd Init Win Bytes",
        "bytes",
        "bwd",
        "TCP window of the direction's first packet, missing without one",
        "missing",
        "the window of its last packet, 0 without one",
    ),
    FeatureDefinition(
        "fwd_data_packets",
        "Fwd Act Data Pkts",
        "packets",
        "fwd",
        "packets with payload",
        "1 with payload, else 0",
        "leaves the flow's first packet out",
    ),
    FeatureDefinition(
        "fwd_header_bytes_min", "Fwd Seg Size Min", "bytes", "fwd", "smallest TCP or UDP header", "the packet's header"
    ),
    *_periods(
        "active",
        "the spans between silences over 5 s, spans without length left out",
        "the span after the last silence is never counted",
    ),
    *_periods("idle", "the silences over 5 s", ""),
)

CICFLOWMETER_NAMES: dict[str, str] = {
    "flow_id": "Flow ID",
    "src_ip": "Src IP",
    "src_port": "Src Port",
    "dst_ip": "Dst IP",
    "dst_port": "Dst Port",
    "protocol": "Protocol",
    "started_at": "Timestamp",
    **{feature.name: feature.original for feature in FEATURES},
    "label": "Label",
}

_CONTEXT_MEANING = {
    "flows": "flows that ended",
    "failed": "TCP flows among them that opened with SYN and got no answer, or were reset before any payload",
    "out_bytes": "payload bytes of their initiators",
    "in_bytes": "payload bytes of their responders",
    "ports": "different responder ports and protocols among them, estimated",
    "peers": "different endpoints on the other side, estimated",
}


def feature_tables() -> str:
    """The two tables of docs/flow-features.md, in Markdown."""
    head = (
        "| feature | original name | unit | direction | corrected mode | one packet | cicflowmeter mode differs |",
        "|---|---|---|---|---|---|---|",
    )
    rows = [
        f"| `{f.name}` | {f.original} | {f.unit or '–'} | {f.direction} | {f.formula} | {f.one_packet} "
        f"| {f.original_differs or '–'} |"
        for f in FEATURES
    ]
    context = [f"| `{name}` | {_context_meaning(name)} |" for name in CONTEXT_NAMES]
    return "\n".join([*head, *rows, "", "| context column | meaning |", "|---|---|", *context, ""])


def _context_meaning(name: str) -> str:
    if name == "pair_start_gap_us":
        return "running mean of the gaps between starts of the pair's flows, the newest weighing a fifth; us"
    if name == "pair_start_irregularity":
        spread = "running standard deviation of those gaps over their mean"
        return f"{spread}: near 0 for a beacon; missing before the third flow"
    kind, rest = name.split("_", 1)
    what, window = rest.rsplit("_", 1)
    whose = {"source": "of this initiator", "target": "of this responder", "pair": "between these two"}[kind]
    return f"{_CONTEXT_MEANING[what]}, {whose}, in the last {window.replace('s', ' s').replace('m', ' min')}"
