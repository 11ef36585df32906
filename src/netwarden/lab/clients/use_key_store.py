"""Programs that use Redis: small reads and writes over a connection of their own, now and then a bulk.

Options: `requests` [5, 60] of a session, `gap_s` [0, 0.5], `bulk` (0.05: share of requests with 50 to 500 kB).
"""

from __future__ import annotations

from typing import BinaryIO

from netwarden.lab.clients.sessions import Session, play


def session(s: Session) -> None:
    with s.connect(s.port or 6379) as over, over.makefile("rb") as answers:
        for _ in range(round(s.between("requests", 5, 60))):
            over.sendall(_request(s))
            s.count(requests=1, bytes_in=_answer(answers))
            if not s.pause(s.between("gap_s", 0, 0.5)):
                return


def _request(s: Session) -> bytes:
    key = f"{s.rng.choice(('cart', 'user', 'page'))}:{s.rng.randint(1, 50)}"
    if s.rng.random() < s.option("bulk", 0.05):
        return _command("SET" if s.rng.random() < 0.4 else "GET", "bulk", bytes(s.rng.randint(50_000, 500_000)))
    if s.rng.random() < 0.35:
        return _command("SET", key, bytes(int(min(s.rng.lognormvariate(5, 1.2), 20_000))))
    return _command("GET", key)


def _command(verb: str, key: str, value: bytes = b"") -> bytes:
    words = [verb.encode(), key.encode(), *([value] if verb == "SET" else [])]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _answer(answers: BinaryIO) -> int:
    line = answers.readline()
    if not line or line.startswith(b"-"):
        raise ConnectionError(f"Redis answers {line!r}")
    size = int(line[1:]) if line.startswith(b"$") else -1
    return len(line) + (len(answers.read(size + 2)) if size >= 0 else 0)


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
