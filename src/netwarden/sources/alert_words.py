"""What free text finds of an alert, the same in every store: words, whole or by how they begin."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_WORD = re.compile(r"[a-z0-9_:.+=/-]+")  # an address, a name of a file, a Community ID: one word each
_INSIDE = re.compile(r"[^a-z0-9]+")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_LIKE_ADDRESS = re.compile(r"[0-9a-f]*[.:][0-9a-f.:]*")  # what is not need not be tried
_LONGEST = 100  # characters of a word
_NAMED = ("family", "verdict", "sensor", "truth", "source", "target", "bundle_id")
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}


def words_of(record: Mapping[str, Any], features: Mapping[str, Any]) -> str:
    """Words of an alert, each once, in order: endpoints, port, protocol, names and their parts, texts of features."""
    texts = [record[name] for name in _NAMED if record[name]]
    texts += [value for value in features.values() if isinstance(value, str)]
    texts += [str(record["target_port"] or ""), _PROTOCOLS.get(record["protocol"], "")]
    return " ".join(sorted({word for text in texts for word in _words_of(text)}))


def words_asked(text: str) -> tuple[str, ...]:
    """Words of a question, each once; one that ends in `*` stands for each that begins so."""
    found = []
    for part in _folded(text).split():
        whole = part.removesuffix("*")
        words = [word.strip(".:/") for word in _WORD.findall(whole)]
        found += [f"{word}*" if part.endswith("*") and word == words[-1] else word for word in words if word]
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=65_536)
def address_key(address: str) -> str:
    """A text that sorts as addresses do; what is no address gets one of its own behind them all."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return f"~{address}"
    if isinstance(known, ipaddress.IPv6Address):
        return known.exploded.replace(":", "")
    return f"{0xFFFF00000000 + int(known):032x}"  # as IPv6 maps it


@lru_cache(maxsize=65_536)
def _words_of(text: str) -> tuple[str, ...]:
    whole = [word.strip(".:/")[:_LONGEST] for word in _WORD.findall(_folded(text))]
    parts = [part for word in whole if not _is_address(word) for part in _INSIDE.split(word)]
    return tuple(word for word in (*whole, *parts) if word)


def _is_address(word: str) -> bool:
    return _LIKE_ADDRESS.fullmatch(word) is not None and not address_key(word).startswith("~")


def _folded(text: str) -> str:
    """In small letters; what is beyond ASCII becomes `_`, in alerts and in questions alike."""
    return _BEYOND_ASCII.sub("_", text.lower())
