"""A tunnel through the names of DNS questions and the data of their answers; the resolver passes both on.

Options: `kind` (TXT, NULL, CNAME or A), `up_bytes` [20, 110] of data in each name, `down_bytes` [40, 400] in each
answer, `questions` [5, 30] of a session, `gap_s` [0.02, 0.3], `one_port` (false: a port for each question).
"""

from __future__ import annotations

import base64
import socket
from contextlib import closing

from netwarden.lab.clients.look_up import question
from netwarden.lab.clients.sessions import Session, play

_KINDS = {"A": 1, "CNAME": 5, "NULL": 10, "TXT": 16}
_LABEL = 57


def session(s: Session) -> None:
    over = _port(s)
    try:
        for nth in range(round(s.between("questions", 5, 30))):
            if nth and not s.option("one_port", False):
                over.close()
                over = _port(s)
            _ask(s, over)
            if not s.pause(s.between("gap_s", 0.02, 0.3)):
                return
    finally:
        over.close()


def name(data: bytes, down_bytes: int) -> str:
    """The name that carries the data; the lab's resolver reads from the label `sN` how much to answer."""
    text = base64.b32encode(data).decode().rstrip("=").lower()
    labels = [text[at : at + _LABEL] for at in range(0, len(text), _LABEL)]
    return ".".join([*labels, f"s{down_bytes}", "t.example.net"])


def _ask(s: Session, over: socket.socket) -> None:
    up, down = round(s.between("up_bytes", 20, 110)), round(s.between("down_bytes", 40, 400))
    kind = _KINDS[s.option("kind", "TXT")]
    over.send(question(name(s.rng.randbytes(up), down), kind, s.rng.randrange(65_536), extended=True))
    try:
        answer = over.recv(8192)
    except TimeoutError:
        s.count(lost=1)
    else:
        s.count(questions=1, bytes_up=up, bytes_down=len(answer))


def _port(s: Session) -> socket.socket:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as over:
        over.connect((s.address, s.port or 53))
        over.settimeout(2.0)
        return over.dup()


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
