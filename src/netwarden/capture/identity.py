"""Who a flow is between and what it is called: addresses as text, flow ids, Community IDs. Kernels over FLOW records.

Sources: RFC 3174 (SHA-1), 4648 (base64), 5952 (IPv6 addresses as text), github.com/corelight/community-id-spec.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from netwarden.capture.decode import ICMP_ANSWERS
from netwarden.capture.kernels import entry_kernel, inlined, kernel
from netwarden.flows.table import content_hash

_LONGEST_ADDRESS = 39
_ID_CHARACTERS = 32  # half of a digest as hexadecimal digits, like all ids here
_COMMUNITY_CHARACTERS = 30  # "1:" and a digest in base64
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_BASE64 = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)
_DOT, _COLON, _PAD = b".:="
_START = tuple(np.uint32(word) for word in (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0))
_ICMP, _TCP, _UDP, _ICMP6, _SCTP = 1, 6, 17, 58, 132


def endpoint_addresses(records: Any) -> tuple[Any, Any]:
    """Source and target address of FLOW records, as Arrow strings."""
    return _addresses(records, "source"), _addresses(records, "target")


def flow_names(records: Any, sensor: str) -> tuple[Any, Any]:
    """Flow ids and Community IDs (version 1, seed 0) of FLOW records, as Arrow strings.

    A flow id is made of sensor, endpoints, protocol and the first packet's time, so it is the same whoever meters again
    or redelivers; a Community ID is the same for both directions, and the one that Zeek and Suricata give.
    """
    ids = np.empty((len(records), _ID_CHARACTERS), np.uint8)
    community = np.empty((len(records), _COMMUNITY_CHARACTERS), np.uint8)
    of_sensor = np.uint64(int.from_bytes(content_hash(sensor.encode())[:8], "big"))
    name_flows(records, of_sensor, _empty_block(), ids, community)
    return _equally_long(ids), _equally_long(community)


def _addresses(records: Any, which: str) -> Any:
    text = np.empty(len(records) * _LONGEST_ADDRESS, np.uint8)
    offsets = np.zeros(len(records) + 1, np.int32)
    write_addresses(records["version"], records[f"{which}_high"], records[f"{which}_low"], text, offsets)
    return pa.StringArray.from_buffers(len(records), pa.py_buffer(offsets), pa.py_buffer(text))


def _equally_long(texts: Any) -> Any:
    offsets = np.arange(0, texts.size + 1, texts.shape[1], dtype=np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(texts))


# --- addresses ----------------------------------------------------------------------------------------------


@entry_kernel
def write_addresses(versions, highs, lows, text, offsets):
    """Addresses one behind the other into `text`; row i ends at offsets[i + 1]."""
    at = 0
    for i in range(len(versions)):
        at = _ipv4(lows[i], text, at) if versions[i] == 4 else _ipv6(highs[i], lows[i], text, at)
        offsets[i + 1] = at


@kernel
def _ipv4(low, text, at):
    for shift in (24, 16, 8, 0):
        octet = np.int64(low >> np.uint64(shift)) & 255
        if octet >= 100:
            text[at] = _HEX[octet // 100]
            at += 1
        if octet >= 10:
            text[at] = _HEX[octet // 10 % 10]
            at += 1
        text[at] = _HEX[octet % 10]
        text[at + 1] = _DOT
        at += 2
    return at - 1


@kernel
def _ipv6(high, low, text, at):
    """Groups of 16 bits; the first of the longest runs of two or more zeros is left out."""
    start, length = _zeros(high, low)
    for place in range(8):
        if place == start:
            text[at] = text[at + 1] = _COLON
            at += 2
        if start <= place < start + length:
            continue
        if place not in (0, start + length):
            text[at] = _COLON
            at += 1
        group = _group(high, low, place)
        for shift in (12, 8, 4, 0):
            if group >> shift or shift == 0:
                text[at] = _HEX[(group >> shift) & 15]
                at += 1
    return at


@kernel
def _zeros(high, low):
    best, length, run = -1, 1, 0
    for place in range(8):
        run = run + 1 if _group(high, low, place) == 0 else 0
        if run > length:
            best, length = place + 1 - run, run
    return (best, length) if best >= 0 else (-1, 0)


@inlined
def _group(high, low, place):
    half = high if place < 4 else low
    return np.int64(half >> np.uint64(48 - 16 * (place & 3))) & 0xFFFF


# --- hashed names -------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """Room for hashing one message shorter than 56 bytes."""

    message: Any  # uint8 (64)
    words: Any  # uint32 (80)
    digest: Any  # uint8 (21): 20 and a zero, so that base64 finds whole groups


def _empty_block() -> Block:
    return Block(np.zeros(64, np.uint8), np.zeros(80, np.uint32), np.zeros(21, np.uint8))


@entry_kernel
def name_flows(flows, sensor, block, ids, community):
    for i in range(len(flows)):
        _flow_id(flows[i], sensor, block, ids[i])
        _community_id(flows[i], block, community[i])


@kernel
def _flow_id(flow, sensor, block, text):
    at = _put(block.message, 0, sensor, 8)
    at = _put(block.message, at, flow.source_high, 8)
    at = _put(block.message, at, flow.source_low, 8)
    at = _put(block.message, at, flow.target_high, 8)
    at = _put(block.message, at, flow.target_low, 8)
    at = _put(block.message, at, flow.source_port, 2)
    at = _put(block.message, at, flow.target_port, 2)
    at = _put(block.message, at, flow.protocol, 1)
    at = _put(block.message, at, flow.version, 1)
    at = _put(block.message, at, flow.start_ns, 8)
    sha1(block, at)
    for i in range(_ID_CHARACTERS // 2):
        text[2 * i] = _HEX[block.digest[i] >> 4]
        text[2 * i + 1] = _HEX[block.digest[i] & 15]


@kernel
def _community_id(flow, block, text):
    """Endpoints stand in order of address and port, so that both directions give one id."""
    one_way = flow.protocol in (_ICMP, _ICMP6) and ICMP_ANSWERS[int(flow.protocol == _ICMP6), flow.source_port] < 0
    at = _put(block.message, 0, 0, 2)  # the seed
    if one_way or _in_order(flow):
        at = _put_address(block.message, at, flow.version, flow.source_high, flow.source_low)
        at = _put_address(block.message, at, flow.version, flow.target_high, flow.target_low)
        first_port, second_port = flow.source_port, flow.target_port
    else:
        at = _put_address(block.message, at, flow.version, flow.target_high, flow.target_low)
        at = _put_address(block.message, at, flow.version, flow.source_high, flow.source_low)
        first_port, second_port = flow.target_port, flow.source_port
    at = _put(block.message, at, flow.protocol, 1)
    at = _put(block.message, at, 0, 1)
    if flow.protocol in (_TCP, _UDP, _SCTP, _ICMP, _ICMP6):
        at = _put(block.message, at, first_port, 2)
        at = _put(block.message, at, second_port, 2)
    sha1(block, at)
    text[0], text[1] = _HEX[1], _COLON
    for group in range(7):
        bits = 0
        for k in range(3):
            bits = (bits << 8) | block.digest[3 * group + k]
        for k in range(4):
            text[2 + 4 * group + k] = _BASE64[(bits >> (18 - 6 * k)) & 63]
    text[_COMMUNITY_CHARACTERS - 1] = _PAD


@inlined
def _in_order(flow):
    if flow.source_high != flow.target_high:
        return flow.source_high < flow.target_high
    if flow.source_low != flow.target_low:
        return flow.source_low < flow.target_low
    return flow.source_port <= flow.target_port


@inlined
def _put(message, at, value, size):
    """Write a number in network order; returns the place behind it."""
    for k in range(size):
        message[at + k] = (np.uint64(value) >> np.uint64(8 * (size - 1 - k))) & np.uint64(255)
    return at + size


@inlined
def _put_address(message, at, version, high, low):
    if version == 4:
        return _put(message, at, low, 4)
    at = _put(message, at, high, 8)
    return _put(message, at, low, 8)


@kernel
def sha1(block, length):
    """Put the digest of the first `length` bytes of the message, fewer than 56, into `block.digest`."""
    _schedule(block, length)
    a, b, c, d, e = _START
    for t in range(80):
        if t < 20:
            mixed = (d ^ (b & (c ^ d))) + 0x5A827999
        elif t < 40:
            mixed = (b ^ c ^ d) + 0x6ED9EBA1
        elif t < 60:
            mixed = ((b & c) | (d & (b | c))) + 0x8F1BBCDC
        else:
            mixed = (b ^ c ^ d) + 0xCA62C1D6
        a, b, c, d, e = np.uint32(_rotated(a, 5) + mixed + e + block.words[t]), a, _rotated(b, 30), c, d
    added = (a, b, c, d, e)
    for i in range(5):
        _put(block.digest, 4 * i, np.uint32(_START[i] + added[i]), 4)


@inlined
def _schedule(block, length):
    """Pad the message to 64 bytes and spread it over 80 words."""
    block.message[length] = 0x80
    for at in range(length + 1, 62):
        block.message[at] = 0
    _put(block.message, 62, 8 * length, 2)
    for t in range(16):
        word = np.uint32(0)
        for k in range(4):
            word = np.uint32(word << 8) | np.uint32(block.message[4 * t + k])
        block.words[t] = word
    for t in range(16, 80):
        words = block.words
        block.words[t] = _rotated(words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16], 1)


@inlined
def _rotated(word, by):
    return np.uint32((word << by) | (word >> (32 - by)))
