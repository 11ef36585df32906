"""Frames to packets: link layers, IP and transport headers, in small kernels over raw bytes.

Every read is preceded by a check against the end of the captured bytes; `decode` never reads beyond them.
Sources: RFC 791, 8200, 9293, 768 (IP, IPv6, TCP, UDP), 2784/2890 (GRE), 7348 (VXLAN), 3032 (MPLS), 2516 (PPPoE),
IEEE 802.1Q, and the link-type list of tcpdump.org.
"""

from __future__ import annotations

import numpy as np

from netwarden.capture.kernels import entry_kernel, inlined, kernel

# Why a frame makes no packet; counted in this order.
SKIPS = ("not_ip", "truncated", "malformed", "unsupported_link")
NOT_IP, TRUNCATED, MALFORMED, UNSUPPORTED_LINK = range(4)

# Link types (tcpdump.org/linktypes.html) that we read.
NULL, ETHERNET, RAW_BSD, PPP, RAW_OPENBSD, PPP_HDLC, RAW, C_HDLC, LOOP = 0, 1, 12, 9, 14, 50, 101, 104, 108
LINUX_SLL, IPV4, IPV6, LINUX_SLL2 = 113, 228, 229, 276
LINK_TYPES = {
    NULL: "BSD loopback",
    ETHERNET: "Ethernet",
    RAW_BSD: "raw IP",
    PPP: "PPP",
    RAW_OPENBSD: "raw IP",
    PPP_HDLC: "PPP in HDLC framing",
    RAW: "raw IP",
    C_HDLC: "Cisco HDLC",
    LOOP: "OpenBSD loopback",
    LINUX_SLL: "Linux cooked",
    IPV4: "raw IPv4",
    IPV6: "raw IPv6",
    LINUX_SLL2: "Linux cooked v2",
}

_ETHER_IPV4, _ETHER_IPV6, _VLAN, _QINQ, _QINQ_OLD = 0x0800, 0x86DD, 0x8100, 0x88A8, 0x9100
_MPLS, _MPLS_MULTICAST, _PPPOE = 0x8847, 0x8848, 0x8864
_PPP_IPV4, _PPP_IPV6 = 0x0021, 0x0057
_TEB = 0x6558  # Ethernet inside GRE
_ICMP, _TCP, _UDP, _IPIP, _IP6IN4, _GRE, _ICMP6, _SCTP = 1, 6, 17, 4, 41, 47, 58, 132
_ICMP_PAIRS = {
    _ICMP: ((8, 0), (13, 14), (15, 16), (17, 18), (10, 9)),
    _ICMP6: ((128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145)),
}


def _answers():
    """(ICMP or ICMPv6, type) → the type that answers it, and the other way round; −1 for one-way messages.

    Types stand in for ports, so that request and reply are one flow, as in Zeek and the Community ID specification.
    """
    table = np.full((2, 256), -1, np.int64)
    for row, pairs in enumerate(_ICMP_PAIRS.values()):
        for first, second in pairs:
            table[row, first], table[row, second] = second, first
    return table


ICMP_ANSWERS = _answers()
_OPTION_HEADERS = (0, 43, 60, 135)  # IPv6: hop-by-hop, routing, destination options, mobility
_VXLAN_PORT = 4789
_MOST_LAYERS = 8  # of tunnels or labels; more is an attack on the reader, not traffic


@inlined
def u16(buffer, at):
    return (np.int64(buffer[at]) << 8) | np.int64(buffer[at + 1])


@inlined
def u32(buffer, at):
    return (u16(buffer, at) << 16) | u16(buffer, at + 2)


@inlined
def u64(buffer, at):
    return (np.uint64(u32(buffer, at)) << np.uint64(32)) | np.uint64(u32(buffer, at + 4))


@kernel
def link_payload(buffer, at, end, link):
    """(ether type, offset of the network header); a negative type is a reason to skip, −1 − reason."""
    if link == ETHERNET:
        return _after_type(buffer, at + 12, end)
    if link == LINUX_SLL:
        return _after_type(buffer, at + 14, end)
    if link == LINUX_SLL2:
        if at + 20 > end:
            return -1 - TRUNCATED, at
        return _after_tags(buffer, u16(buffer, at), at + 20, end)
    if link in (RAW, RAW_BSD, RAW_OPENBSD, IPV4, IPV6):
        return _raw_ip(buffer, at, end)
    if link in (NULL, LOOP):
        return _raw_ip(buffer, at + 4, end)
    if link in (PPP, PPP_HDLC):
        return _ppp(buffer, at, end)
    if link == C_HDLC:
        return _after_type(buffer, at + 2, end)
    return -1 - UNSUPPORTED_LINK, at


@kernel
def _after_type(buffer, at, end):
    if at + 2 > end:
        return -1 - TRUNCATED, at
    return _after_tags(buffer, u16(buffer, at), at + 2, end)


@kernel
def _after_tags(buffer, ether_type, at, end):
    """Skip VLAN tags, MPLS labels and a PPPoE header."""
    for _ in range(_MOST_LAYERS):
        if ether_type in (_ETHER_IPV4, _ETHER_IPV6):
            return ether_type, at
        if ether_type in (_VLAN, _QINQ, _QINQ_OLD):
            if at + 4 > end:
                return -1 - TRUNCATED, at
            ether_type = u16(buffer, at + 2)
            at += 4
        elif ether_type in (_MPLS, _MPLS_MULTICAST):
            if at + 4 > end:
                return -1 - TRUNCATED, at
            bottom = buffer[at + 2] & 1
            at += 4
            if bottom:
                return _raw_ip(buffer, at, end)
        elif ether_type == _PPPOE:
            return _ppp_protocol(buffer, at + 6, end)
        else:
            return -1 - NOT_IP, at
    return -1 - MALFORMED, at


@kernel
def _raw_ip(buffer, at, end):
    if at >= end:
        return -1 - TRUNCATED, at
    version = buffer[at] >> 4
    if version == 4:
        return _ETHER_IPV4, at
    if version == 6:
        return _ETHER_IPV6, at
    return -1 - NOT_IP, at


@kernel
def _ppp(buffer, at, end):
    if at + 2 > end:
        return -1 - TRUNCATED, at
    if buffer[at + 1] == 0 and (buffer[at] == 0x0F or buffer[at] == 0x8F):  # Cisco HDLC on a line declared as PPP
        return _after_type(buffer, at + 2, end)
    if buffer[at] == 0xFF and buffer[at + 1] == 0x03:  # HDLC address and control
        at += 2
    return _ppp_protocol(buffer, at, end)


@kernel
def _ppp_protocol(buffer, at, end):
    if at + 2 > end:
        return -1 - TRUNCATED, at
    protocol = u16(buffer, at)
    if protocol == _PPP_IPV4:
        return _ETHER_IPV4, at + 2
    if protocol == _PPP_IPV6:
        return _ETHER_IPV6, at + 2
    if buffer[at] & 1:  # compressed to one byte
        if buffer[at] == _PPP_IPV4:
            return _ETHER_IPV4, at + 1
        if buffer[at] == _PPP_IPV6:
            return _ETHER_IPV6, at + 1
    return -1 - NOT_IP, at


@kernel
def network(buffer, at, end, ether_type, packet):
    """Fill addresses; returns (transport protocol, its offset, its length by the IP header), or (−1 − reason, 0, 0).

    The length comes from the IP header, so that a short snap length does not shrink payloads.
    """
    if ether_type == _ETHER_IPV4:
        return _ipv4(buffer, at, end, packet)
    return _ipv6(buffer, at, end, packet)


@kernel
def _ipv4(buffer, at, end, packet):
    if at + 20 > end:
        return -1 - TRUNCATED, 0, 0
    header = np.int64(buffer[at] & 15) * 4
    if buffer[at] >> 4 != 4 or header < 20:
        return -1 - MALFORMED, 0, 0
    total = u16(buffer, at + 2)
    if total < header:  # zero where the card segments: the frame is what there is
        total = end - at
    packet.version = 4
    packet.source_high = np.uint64(0)
    packet.target_high = np.uint64(0)
    packet.source_low = np.uint64(u32(buffer, at + 12))
    packet.target_low = np.uint64(u32(buffer, at + 16))
    packet.fragment_id = u16(buffer, at + 4)
    offset = u16(buffer, at + 6) & 0x3FFF
    packet.fragment = 0
    if offset & 0x1FFF:
        packet.fragment = 2
    elif offset & 0x2000:
        packet.fragment = 1
    return np.int64(buffer[at + 9]), at + header, max(total - header, 0)


@kernel
def _ipv6(buffer, at, end, packet):
    if at + 40 > end:
        return -1 - TRUNCATED, 0, 0
    if buffer[at] >> 4 != 6:
        return -1 - MALFORMED, 0, 0
    packet.version = 6
    packet.source_high = u64(buffer, at + 8)
    packet.source_low = u64(buffer, at + 16)
    packet.target_high = u64(buffer, at + 24)
    packet.target_low = u64(buffer, at + 32)
    packet.fragment = 0
    packet.fragment_id = 0
    protocol = np.int64(buffer[at + 6])
    length = u16(buffer, at + 4)
    at += 40
    if length == 0:
        length = end - at
    for _ in range(_MOST_LAYERS):
        if protocol == 44 and at + 8 <= end and length >= 8:  # fragment header
            offset = u16(buffer, at + 2)
            packet.fragment_id = u32(buffer, at + 4)
            packet.fragment = 2 if offset & 0xFFF8 else (1 if offset & 1 else 0)
            protocol = np.int64(buffer[at])
            at += 8
            length -= 8
            if packet.fragment == 2:
                break
        elif protocol in _OPTION_HEADERS:
            if at + 8 > end:
                break
            size = (np.int64(buffer[at + 1]) + 1) * 8
            if size > length:
                break
            protocol = np.int64(buffer[at])
            at += size
            length -= size
        elif protocol == 51 and at + 8 <= end:  # authentication header counts in 4-byte units
            size = (np.int64(buffer[at + 1]) + 2) * 4
            if size > length:
                break
            protocol = np.int64(buffer[at])
            at += size
            length -= size
        else:
            break
    return protocol, at, length


@kernel
def tunnel(buffer, protocol, at, end):
    """(ether type, offset) of what a tunnel carries, or (0, 0) where this is none."""
    if protocol in (_IPIP, _IP6IN4):
        ether_type, inner = _raw_ip(buffer, at, end)
        return (ether_type, inner) if ether_type > 0 else (0, 0)
    if protocol == _GRE:
        return _gre(buffer, at, end)
    if protocol == _UDP and at + 16 <= end and u16(buffer, at + 2) == _VXLAN_PORT and buffer[at + 8] & 0x08:
        ether_type, inner = _after_type(buffer, at + 16 + 12, end)
        return (ether_type, inner) if ether_type > 0 else (0, 0)
    return 0, 0


@kernel
def _gre(buffer, at, end):
    if at + 4 > end or buffer[at + 1] & 7:  # version 1 is PPTP
        return 0, 0
    flags = buffer[at]
    ether_type = u16(buffer, at + 2)
    at += 4
    for bit in (0x80, 0x20, 0x10):  # checksum, key, sequence number: four bytes each
        if flags & bit:
            at += 4
    if at > end:
        return 0, 0
    if ether_type == _TEB:
        ether_type, at = _after_type(buffer, at + 12, end)
    else:
        ether_type, at = _after_tags(buffer, ether_type, at, end)
    return (ether_type, at) if ether_type > 0 else (0, 0)


@kernel
def quotation(buffer, at, end, length):
    """(protocol, offset, length) of the transport header that an ICMP error quotes, or of the ICMP message itself."""
    inner = at + 8
    if inner + 20 > end or buffer[at] not in (3, 4, 5, 11, 12) or buffer[inner] >> 4 != 4:
        return _ICMP, at, length
    header = np.int64(buffer[inner] & 15) * 4
    total = u16(buffer, inner + 2)
    if header < 20 or total < header:
        return _ICMP, at, length
    return np.int64(buffer[inner + 9]), inner + header, total - header


@kernel
def transport(buffer, at, end, length, packet):
    """Fill ports, flags and sizes of TCP and UDP; other protocols count their whole payload."""
    packet.source_port = 0
    packet.target_port = 0
    packet.flags = 0
    packet.window = 0
    packet.header_bytes = 0
    packet.payload_bytes = length
    if packet.fragment == 2:
        return
    if packet.protocol == _TCP and at + 20 <= end and length >= 20:
        packet.source_port = u16(buffer, at)
        packet.target_port = u16(buffer, at + 2)
        packet.header_bytes = np.int64(buffer[at + 12] >> 4) * 4
        packet.flags = np.int64(buffer[at + 13])
        packet.window = u16(buffer, at + 14)
        packet.payload_bytes = max(length - packet.header_bytes, 0)
    elif packet.protocol == _UDP and at + 8 <= end and length >= 8:
        packet.source_port = u16(buffer, at)
        packet.target_port = u16(buffer, at + 2)
        packet.header_bytes = 8
        packet.payload_bytes = length - 8
    elif packet.protocol == _SCTP and at + 4 <= end and length >= 12:
        packet.source_port = u16(buffer, at)
        packet.target_port = u16(buffer, at + 2)
    elif (packet.protocol in (_ICMP, _ICMP6)) and at + 2 <= end and length >= 2:
        packet.source_port = np.int64(buffer[at])
        answer = ICMP_ANSWERS[1 if packet.protocol == _ICMP6 else 0, packet.source_port]
        packet.target_port = answer if answer >= 0 else np.int64(buffer[at + 1])


@entry_kernel
def decode(buffer, records, count, packets, skipped, inner, quoted):
    """Decode `count` frames of `buffer` into `packets`; returns how many. `skipped` counts the rest by SKIPS.

    `inner`: follow tunnels to the flow they carry. `quoted`: take an ICMP error for a packet of the transport it
    quotes, between the error's own addresses, as the original CICFlowMeter does.
    """
    made = 0
    for i in range(count):
        record = records[i]
        end = record.offset + record.captured
        packet = packets[made]
        ether_type, at = link_payload(buffer, record.offset, end, record.link)
        if ether_type < 0:
            skipped[-1 - ether_type] += 1
            continue
        protocol, start, length = network(buffer, at, end, ether_type, packet)
        if protocol < 0:
            skipped[-1 - protocol] += 1
            continue
        if inner:
            for _ in range(_MOST_LAYERS):
                if packet.fragment == 2:
                    break
                ether_type, at = tunnel(buffer, protocol, start, end)
                if ether_type == 0:
                    break
                deeper, deeper_start, deeper_length = network(buffer, at, end, ether_type, packet)
                if deeper < 0:  # damaged inside: nothing was written, the outer flow stands
                    break
                protocol, start, length = deeper, deeper_start, deeper_length
        if quoted and protocol == _ICMP and packet.version == 4:
            protocol, start, length = quotation(buffer, start, end, length)
        packet.protocol = protocol
        packet.time_ns = record.time_ns
        packet.frame = i
        transport(buffer, start, end, length, packet)
        made += 1
    return made
