"""Which store, registry, lease, queue and backup the settings name: a server by its address, else the embedded one.

Each opener imports its backend only when called, so that nothing is paid for what is not used.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

from netwarden.settings import Settings
from netwarden.sources.store import FlowStore, Registry


def open_flow_store(settings: Settings) -> FlowStore:
    """Flow rows: MongoDB where its address is set, else a file under NETWARDEN_HOME."""
    from netwarden.sources.embedded import EmbeddedFlowStore

    return EmbeddedFlowStore(settings.home / "flows.sqlite")


def open_registry(settings: Settings) -> Registry:
    """Registered bundles: beside the flow rows."""
    from netwarden.sources.embedded_registry import EmbeddedEventLog
    from netwarden.sources.registry import EventRegistry

    return EventRegistry(EmbeddedEventLog(settings.home / "registry.sqlite"))
