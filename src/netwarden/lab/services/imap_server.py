"""A mailbox server with as much of IMAP as a client needs that logs in, looks and fetches; `tls` as everywhere.

Option `refuse_s` [1, 2.5]: how long a wrong password waits for its answer.
"""

from __future__ import annotations

import asyncio
from functools import partial

from netwarden.lab.play import Part, enter
from netwarden.lab.services.accounts import ACCOUNTS
from netwarden.lab.services.serving import serve_tcp

PACKAGES = ("openssl",)


def main() -> None:
    part = enter()
    serve_tcp(part, partial(_talk, part))


async def _talk(part: Part, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"* OK IMAP4rev1 ready\r\n")
    while line := (await reader.readline()).decode(errors="replace").strip():
        tag, command, *given = line.split(" ")
        await asyncio.sleep(part.rng.uniform(0.0005, 0.01))
        if command.upper() == "LOGIN" and not _known(given):
            await asyncio.sleep(part.rng.uniform(*part.options.get("refuse_s", (1.0, 2.5))))
            writer.write(f"{tag} NO wrong user or password\r\n".encode())
            continue
        for answer in _answers(part, command.upper(), given):
            writer.write(answer)
        writer.write(f"{tag} OK done\r\n".encode())
        await writer.drain()
        if command.upper() == "LOGOUT":
            return


def _known(given: list[str]) -> bool:
    user, password = [word.strip('"') for word in (*given, "", "")[:2]]
    return bool(password) and ACCOUNTS.get(user) == password


def _answers(part: Part, command: str, given: list[str]) -> list[bytes]:
    match command:
        case "CAPABILITY":
            return [b"* CAPABILITY IMAP4rev1\r\n"]
        case "SELECT":
            return [b"* 40 EXISTS\r\n* 2 RECENT\r\n* FLAGS (\\Seen \\Answered)\r\n"]
        case "SEARCH":
            return [b"* SEARCH 38 39 40\r\n"]
        case "FETCH":
            size = min(int(part.rng.lognormvariate(8.5, 1.6)), 2_000_000)
            return [f"* {given[0]} FETCH (RFC822 {{{size}}}\r\n".encode(), bytes(size), b")\r\n"]
        case "LOGOUT":
            return [b"* BYE\r\n"]
    return []


if __name__ == "__main__":
    main()
