"""HTTP as the benign clients speak it: connections that stay open, requests as long as browsers make them."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, RemoteDisconnected

from netwarden.lab.clients.sessions import TIMEOUT_S, Session, trusting

FAILS_WITH = (HTTPException,)


@dataclass(frozen=True)
class Answer:
    """What came back; `body` is kept where it is a page."""

    status: int
    size_bytes: int
    location: str
    body: str

    @property
    def assets(self) -> list[str]:
        return re.findall(r"src='([^']+)'", self.body)

    @property
    def links(self) -> list[str]:
        return re.findall(r'href="([^"]+)"', self.body)


def connection(s: Session) -> HTTPConnection:
    """A connection (not opened yet) to the session's host, over TLS where the option `tls` says so."""
    if s.option("tls"):
        return HTTPSConnection(s.address, s.port or 443, timeout=TIMEOUT_S, context=trusting())
    return HTTPConnection(s.address, s.port or 80, timeout=TIMEOUT_S)


def fetch(
    s: Session, over: HTTPConnection, path: str, method: str = "GET", body: bytes | None = None, pace_bps: float = 0
) -> Answer:
    """One request and its whole answer; `pace_bps` reads no faster than so many bits a second. Counted."""
    response = _ask(over, method, path, body, _headers(s.rng))
    kept = "text/html" in response.headers.get("Content-Type", "")
    size, text = (0, response.read()) if kept else (_read(s, response, pace_bps), b"")
    answer = Answer(response.status, size or len(text), response.headers.get("Location", ""), text.decode())
    s.count(requests=1, bytes_in=answer.size_bytes, bytes_out=len(body or b""))
    return answer


def _ask(over: HTTPConnection, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> HTTPResponse:
    """The answer's head; where the server has closed an idle connection meanwhile, over a new one, as browsers do."""
    try:
        over.request(method, path, body=body, headers=headers)
        return over.getresponse()
    except (RemoteDisconnected, ConnectionResetError, BrokenPipeError):
        over.close()
        over.request(method, path, body=body, headers=headers)
        return over.getresponse()


def _headers(rng: random.Random) -> dict[str, str]:
    """Headers of differing length, as browsers with many cookies send them."""
    length = int(min(rng.lognormvariate(5.0, 0.9), 3000))
    return {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)", "Accept": "*/*", "Cookie": f"state={'c' * length}"}


def _read(s: Session, response: HTTPResponse, pace_bps: float) -> int:
    size = 0
    while piece := response.read(65_536):
        size += len(piece)
        if pace_bps and not s.pause(len(piece) * 8 / pace_bps):
            break
    return size
