"""The only door to Redis."""

from __future__ import annotations

from urllib.parse import urlsplit

import redis

from netwarden.errors import StoreError


def ping(url: str, timeout_s: float) -> str:
    """Address of a Redis server that answers and takes our login, without the login. Raises StoreError."""
    try:
        parts = urlsplit(url)
        address = f"Redis {parts.hostname}:{parts.port or 6379}"
        client = redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
    except ValueError:  # its text may quote a part of the password
        raise StoreError("REDIS_URL is not an address such as redis://:password@host:6379/0") from None
    with client:
        try:
            client.ping()
        except redis.AuthenticationError:
            raise StoreError(f"{address}: the password is wrong or missing; check REDIS_URL") from None
        except redis.ConnectionError as error:
            raise StoreError(f"{address}: no answer ({error}); is it running?") from None
        except redis.RedisError as error:
            raise StoreError(f"{address}: {error}") from None
    return address
