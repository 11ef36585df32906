"""Passwords and tokens of accounts, as hashes that may stand in a settings file."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

# RFC 7914's cost for interactive logins, doubled: 32 MB and some 60 ms a guess.
_COST, _BLOCK, _PARALLEL = 1 << 15, 8, 1
_MEMORY = 128 << 20
_PASSWORD = re.compile(r"scrypt\$(\d{1,8})\$(\d{1,2})\$(\d{1,2})\$([\w-]{22})\$([\w-]{43})")
_TOKEN = re.compile(r"sha256\$[0-9a-f]{64}")


def hash_password(password: str) -> str:
    """The hash of a password, with its salt and cost."""
    salt = secrets.token_bytes(16)
    return (
        f"scrypt${_COST}${_BLOCK}${_PARALLEL}${_text(salt)}${_text(_scrypt(password, salt, _COST, _BLOCK, _PARALLEL))}"
    )


def is_password(password: str, kept: str) -> bool:
    """Whether a password is that of a hash. Takes as long where there is no hash, so that nobody learns who has one."""
    match = _PASSWORD.fullmatch(kept or _NOBODY)
    assert match is not None  # noqa: S101 - the settings were checked by `fault_of`
    cost, block, parallel = (int(part) for part in match.groups()[:3])
    found = _scrypt(password, _bytes(match[4]), cost, block, parallel)
    return hmac.compare_digest(found, _bytes(match[5])) and bool(kept)


def make_token() -> tuple[str, str]:
    """A new token, and its hash."""
    token = secrets.token_urlsafe(32)
    return token, hash_token(token)


def hash_token(token: str) -> str:
    """The hash of a token. No salt and no cost: nobody guesses 256 random bits, and it is checked at every request."""
    return f"sha256${hashlib.sha256(token.encode()).hexdigest()}"


def fault_of(kept: str) -> str:
    """What is wrong with a hash of the settings; empty: nothing."""
    if _TOKEN.fullmatch(kept) or (_PASSWORD.fullmatch(kept) and _can_be_counted(kept)):
        return ""
    return "this is no hash that `netwarden password` makes; was a password or token itself put here?"


def _can_be_counted(kept: str) -> bool:
    _, cost, block, parallel, *_ = kept.split("$")
    memory = 128 * int(cost) * int(block)
    return int(cost).bit_count() == 1 and int(cost) > 1 and 0 < memory < _MEMORY and 0 < int(parallel) <= 16


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=cost, r=block, p=parallel, maxmem=2 * _MEMORY, dklen=32)


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


_NOBODY = f"scrypt${_COST}${_BLOCK}${_PARALLEL}${_text(bytes(16))}${_text(bytes(32))}"
