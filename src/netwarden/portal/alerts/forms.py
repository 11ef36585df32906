"""An alert in forms that other programs read: Suricata's EVE, the Elastic Common Schema, and its packets as a pcap."""

from __future__ import annotations

import tempfile
from datetime import UTC
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from netwarden.errors import InputError, NotFoundError
from netwarden.flows.alert import Alert
from netwarden.flows.labels import load_families
from netwarden.portal.alerts.query import PROTOCOLS
from netwarden.portal.alerts.techniques import technique
from netwarden.portal.reference import body, faults
from netwarden.portal.rendering import attachment
from netwarden.sources.alert_store import AlertStore

router = APIRouter()
_ECS_VERSION = "8.11.0"
_EVE_GENERATOR = 1
_PCAP = "application/vnd.tcpdump.pcap"


@router.get(
    "/api/v1/alerts/{alert_id}.eve.json",
    tags=["alerts"],
    summary="One alert as Suricata's EVE has them",
    response_class=Response,
    responses={200: body("application/json", "An EVE record", '{"event_type": "alert"}'), **faults(404)},
)
def alert_as_eve(request: Request, alert_id: str) -> Response:
    """An EVE record of type `alert`, for programs that read those of Suricata."""
    alert = _alert(request, alert_id)
    return JSONResponse(eve(alert, _title(request, alert)))


@router.get(
    "/api/v1/alerts/{alert_id}.ecs.json",
    tags=["alerts"],
    summary="One alert in the Elastic Common Schema",
    response_class=Response,
    responses={200: body("application/json", "A document", '{"event": {"kind": "alert"}}'), **faults(404)},
)
def alert_as_ecs(request: Request, alert_id: str) -> Response:
    """A document of the Elastic Common Schema, for Elasticsearch, OpenSearch and what reads from them."""
    alert = _alert(request, alert_id)
    known = load_families(request.app.state.settings.schema_dir / "families.yaml").families.get(alert.family or "")
    direction = request.app.state.pages.known.direction(alert.source, alert.target)
    return JSONResponse(ecs(alert, _title(request, alert), known.technique if known else "", direction))


@router.get(
    "/api/v1/alerts/{alert_id}.pcap",
    tags=["alerts"],
    summary="The packets behind an alert",
    response_class=Response,
    responses={200: body(_PCAP, "A capture", ""), **faults(404)},
)
def alert_packets(request: Request, alert_id: str) -> Response:
    """The packets of the alert's flow, where the sensor is on this machine and still has them (`recent_packets`)."""
    alert = _alert(request, alert_id)
    with tempfile.TemporaryDirectory(prefix="netwarden-") as folder:
        target = Path(folder) / "alert.pcap"
        _fetch(request, alert, target)
        return Response(target.read_bytes(), media_type=_PCAP, headers=attachment(f"alert-{alert_id[:8]}.pcap"))


def has_packets(request: Request) -> bool:
    """Whether a sensor of this machine may still have packets."""
    return _socket(request).is_socket()


def eve(alert: Alert, title: str) -> dict[str, Any]:
    """An alert as Suricata writes one; what it has no place for stands under `netwarden`."""
    record: dict[str, Any] = {
        "timestamp": alert.raised_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f%z"),
        "flow_id": int(alert.flow_id[:13], 16) if _is_hex(alert.flow_id[:13]) else 0,
        "event_type": "alert",
        "src_ip": alert.source,
        "src_port": alert.source_port,
        "dest_ip": alert.target,
        "dest_port": alert.target_port,
        "proto": PROTOCOLS.get(alert.protocol or -1, str(alert.protocol)) if alert.protocol is not None else None,
        "community_id": alert.features.get("community_id"),
        "host": alert.sensor or None,
        "alert": {
            "action": "allowed",
            "gid": _EVE_GENERATOR,
            "signature_id": 0,
            "rev": 0,
            "signature": f"Netwarden: {title}",
            "category": alert.family or alert.verdict,
            "severity": 1 if alert.score >= (1 + alert.threshold) / 2 else 2,
        },
        "flow": {"start": alert.started_at.isoformat()} if alert.started_at else None,
        "netwarden": _own(alert),
    }
    return {name: value for name, value in record.items() if value is not None}


def ecs(alert: Alert, title: str, technique_id: str, direction: str | None) -> dict[str, Any]:
    """An alert as a document of the Elastic Common Schema; what it has no field for stands under `netwarden`."""
    known = technique(technique_id)
    threat = {"id": [known.technique_id], "name": [known.name], "reference": [known.address]} if known else None
    document = {
        "@timestamp": alert.raised_at.isoformat(),
        "ecs": {"version": _ECS_VERSION},
        "message": title,
        "event": {
            "kind": "alert",
            "category": ["network", "intrusion_detection"],
            "type": ["info"],
            "module": "netwarden",
            "dataset": "netwarden.alert",
            "id": alert.alert_id,
            "start": alert.started_at.isoformat() if alert.started_at else None,
            "risk_score": round(100 * alert.score, 4),
        },
        "source": {"ip": alert.source, "port": alert.source_port},
        "destination": {"ip": alert.target, "port": alert.target_port},
        "network": {
            "transport": PROTOCOLS.get(alert.protocol or -1, "").lower() or None,
            "iana_number": None if alert.protocol is None else str(alert.protocol),
            "community_id": alert.features.get("community_id"),
            "direction": direction if direction != "lateral" else "internal",
        },
        "rule": {"name": alert.family or alert.verdict, "ruleset": alert.bundle_id},
        "threat": {"framework": "MITRE ATT&CK", "technique": threat} if threat else None,
        "observer": {"name": alert.sensor or None, "type": "ids", "product": "Netwarden"},
        "netwarden": _own(alert),
    }
    return {name: _known(value) for name, value in document.items() if value is not None}


def _own(alert: Alert) -> dict[str, Any]:
    names = {"alert_id", "flow_id", "bundle_id", "verdict", "family", "score", "threshold", "state", "interim", "truth"}
    return alert.model_dump(mode="json", include=names, exclude_none=True)


def _known(value: Any) -> Any:
    return {name: one for name, one in value.items() if one is not None} if isinstance(value, dict) else value


def _is_hex(text: str) -> bool:
    return bool(text) and all(letter in "0123456789abcdef" for letter in text.lower())


def _alert(request: Request, alert_id: str) -> Alert:
    store: AlertStore = request.app.state.alerts
    return store.get(alert_id)


def _title(request: Request, alert: Alert) -> str:
    known = load_families(request.app.state.settings.schema_dir / "families.yaml").families.get(alert.family or "")
    return known.title if known else alert.family or "Unlike benign flows"


def _fetch(request: Request, alert: Alert, target: Path) -> None:
    from netwarden.capture.recent_socket import fetch_packets  # noqa: PLC0415 - brings the packet code along

    if not has_packets(request):
        raise NotFoundError(
            f"no packets of flow {alert.flow_id} are at hand: no sensor of this machine keeps any; start it with "
            "--recent-packets 64MB"
        )
    try:
        fetch_packets(_socket(request), alert.flow_id, target)
    except InputError as error:
        raise NotFoundError(str(error)) from None


def _socket(request: Request) -> Path:
    from netwarden.streaming.sensor import packets_socket  # noqa: PLC0415 - only where packets are asked for

    return packets_socket(request.app.state.settings)
