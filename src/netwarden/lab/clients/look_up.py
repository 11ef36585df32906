"""Programs that ask the resolver: usual names, long ones as content networks use them, names that do not exist.

Options: `names` [1, 6] of a session; shares `missing` (0.05), `long` (0.2), `text` (0.05: TXT and MX, as mail servers
ask), `tcp` (0.01); `gap_s` [0, 0.3]; `one_port` (false: a port for each question; true: one for all, as forwarders do).
"""

from __future__ import annotations

import socket
import struct
from contextlib import ExitStack, nullcontext

from netwarden.lab.clients.sessions import Session, play

A, MX, TXT, AAAA = 1, 15, 16, 28
_WORDS = ("mail", "shop", "static", "login", "news", "video", "maps", "cloud", "img", "wiki", "update", "api", "fonts")
_ZONES = ("example.com", "example.org", "example.net", "lab.test", "shop.example", "news.example")


def session(s: Session) -> None:
    with ExitStack() as stack:
        kept = stack.enter_context(_port(s)) if s.option("one_port", False) else None
        _look_up(s, kept)


def _look_up(s: Session, kept: socket.socket | None) -> None:
    for _ in range(round(s.between("names", 1, 6))):
        name = _name(s)
        if s.rng.random() < s.option("text", 0.05):
            _ask(s, kept, name, s.rng.choice((TXT, MX)))
        else:
            _ask(s, kept, name, A)
            if s.rng.random() < 0.6:
                _ask(s, kept, name, AAAA)
        if not s.pause(s.between("gap_s", 0, 0.3)):
            return


def _name(s: Session) -> str:
    drawn = s.rng.random()
    if drawn < s.option("missing", 0.05):
        return f"{s.rng.choice(_WORDS)}-{s.rng.randint(1, 99)}.{s.rng.choice(('home', 'invalid'))}"
    if drawn < s.option("missing", 0.05) + s.option("long", 0.2):
        labels = [s.rng.randbytes(s.rng.randint(6, 24)).hex() for _ in range(s.rng.randint(1, 3))]
        return ".".join([*labels, f"s{s.rng.randint(40, 500)}", "edge.cdn.example"])
    return f"{s.rng.choice(_WORDS)}{s.rng.choice(('', '', str(s.rng.randint(1, 40))))}.{s.rng.choice(_ZONES)}"


def _ask(s: Session, kept: socket.socket | None, name: str, kind: int) -> None:
    query = question(name, kind, s.rng.randrange(65_536), s.rng.random() < 0.5)
    answer = b"" if s.rng.random() < s.option("tcp", 0.01) else _over_udp(s, kept, query)
    if not answer or answer[2] & 0x02:  # cut short: the whole of it over TCP
        answer = _over_tcp(s, query)
    s.count(questions=1, missing=int(answer[3] & 0x0F == 3), bytes_in=len(answer))


def question(name: str, kind: int, number: int, extended: bool) -> bytes:
    """A DNS message that asks for one name; `extended` adds the OPT record of EDNS, as most resolvers do."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    option = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0) if extended else b""
    return (
        struct.pack("!6H", number, 0x0100, 1, 0, 0, int(extended))
        + labels
        + b"\0"
        + struct.pack("!HH", kind, 1)
        + option
    )


def _port(s: Session) -> socket.socket:
    over = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    over.connect((s.address, s.port or 53))
    over.settimeout(1.0)
    return over


def _over_udp(s: Session, kept: socket.socket | None, query: bytes) -> bytes:
    with nullcontext(kept) if kept else _port(s) as over:
        for _ in range(3):
            over.send(query)
            try:
                return over.recv(4096)
            except TimeoutError:
                s.count(retries=1)
    return b""


def _over_tcp(s: Session, query: bytes) -> bytes:
    with s.connect(s.port or 53) as over, over.makefile("rb") as answers:
        over.sendall(len(query).to_bytes(2) + query)
        return answers.read(int.from_bytes(answers.read(2)))


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
