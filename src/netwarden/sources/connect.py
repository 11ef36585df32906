"""Which store, registry, lease, queue, feed or backup the settings name: a server by its address, else an embedded one.

Each opener imports its backend only when called, so that nothing is paid for what is not used. Nothing connects before
its first use.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

from typing import TYPE_CHECKING

from netwarden.settings import Settings
from netwarden.sources.portal_store import PortalStore
from netwarden.sources.store import AlertStore, Backup, Feed, FlowStore, Lease, Queue, QueueLimits, Registry

if TYPE_CHECKING:
    from netwarden.sources.mongo import Mongo

_PUBLISH_TIMEOUT_S = 0.5  # sensors ask again, and look meanwhile whether they are to stop


def open_flow_store(settings: Settings) -> FlowStore:
    """Flow rows: MongoDB where its address is set, else `flows.sqlite` under NETWARDEN_HOME."""
    if settings.mongodb_uri:
        from netwarden.sources.mongo_flows import MongoFlowStore

        return MongoFlowStore(_mongo(settings))
    from netwarden.sources.embedded import EmbeddedFlowStore

    return EmbeddedFlowStore(settings.home / "flows.sqlite")


def open_alert_store(settings: Settings) -> AlertStore:
    """Alerts: MongoDB where its address is set, else `alerts.sqlite` under NETWARDEN_HOME."""
    if settings.mongodb_uri:
        from netwarden.sources.mongo_alerts import MongoAlertStore

        return MongoAlertStore(_mongo(settings))
    from netwarden.sources.embedded_alerts import EmbeddedAlertStore

    return EmbeddedAlertStore(settings.home / "alerts.sqlite")


def open_portal_store(settings: Settings) -> PortalStore:
    """The portal's audit log and notes: MongoDB where its address is set, else `portal.sqlite` under NETWARDEN_HOME."""
    if settings.mongodb_uri:
        from netwarden.sources.mongo_portal import MongoPortalStore

        return MongoPortalStore(_mongo(settings))
    from netwarden.sources.embedded_portal import EmbeddedPortalStore

    return EmbeddedPortalStore(settings.home / "portal.sqlite")


def open_registry(settings: Settings) -> Registry:
    """Registered bundles: MongoDB where its address is set, else `registry.sqlite` under NETWARDEN_HOME."""
    from netwarden.sources.registry import EventRegistry

    if settings.mongodb_uri:
        from netwarden.sources.mongo_registry import MongoEventLog

        return EventRegistry(MongoEventLog(_mongo(settings)))
    from netwarden.sources.embedded_registry import EmbeddedEventLog

    return EventRegistry(EmbeddedEventLog(settings.home / "registry.sqlite"))


def open_lease(settings: Settings) -> Lease:
    """Single flight: across all machines of one MongoDB, else across this machine's processes."""
    from netwarden.sources.leases import RenewedLease

    if settings.mongodb_uri:
        from netwarden.sources.mongo_registry import MongoLeaseTable

        return RenewedLease(MongoLeaseTable(_mongo(settings)))
    from netwarden.sources.embedded_registry import EmbeddedLeaseTable

    return RenewedLease(EmbeddedLeaseTable(settings.home / "registry.sqlite"))


def open_queue(settings: Settings) -> Queue:
    """Flows on their way to workers: Redis where its address is set, else a queue of this process."""
    stream = settings.stream
    limits = QueueLimits(
        messages=stream.queue_messages,
        bytes=stream.queue_mb << 20,
        when_full=stream.when_full,
        publish_timeout_s=_PUBLISH_TIMEOUT_S,
        max_age_s=stream.max_age_s,
        dead_letters=stream.dead_letters,
    )
    if settings.redis_url:
        from netwarden.sources.redis_queue import RedisQueue

        return RedisQueue(settings.redis_url.get_secret_value(), limits, timeout_s=settings.store.timeout_s)
    from netwarden.sources.memory_queue import MemoryQueue

    return MemoryQueue(limits)


def open_feed(settings: Settings, name: str = "scored", entries: int = 0) -> Feed:
    """Scored flows for those who follow them: in Redis, else one feed for all of this process with the same home.

    Another name is another feed; `entries` is how many bodies it keeps, by default what the settings say.
    """
    entries = entries or settings.stream.feed_batches
    if settings.redis_url:
        from netwarden.sources.redis_queue import RedisFeed

        url = settings.redis_url.get_secret_value()
        return RedisFeed(url, name, entries, timeout_s=settings.store.timeout_s)
    from netwarden.sources.memory_queue import shared_feed

    return shared_feed(f"{settings.home.resolve()}:{name}", entries)


def open_backup(settings: Settings) -> Backup:
    """Backups: the S3 bucket where one is named, else `backup/` under NETWARDEN_HOME."""
    if settings.s3_bucket:
        from netwarden.sources.s3 import open_bucket

        return open_bucket(settings)
    from netwarden.sources.local_backup import LocalBackup

    return LocalBackup(settings.home / "backup")


def _mongo(settings: Settings) -> Mongo:
    from netwarden.sources.mongo import shared

    assert settings.mongodb_uri is not None  # noqa: S101 - callers asked
    return shared(settings.mongodb_uri.get_secret_value(), settings.store.database, settings.store.timeout_s)
