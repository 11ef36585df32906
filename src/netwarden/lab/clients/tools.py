"""Real tools in a session: run to their end, or fed through their standard input as time goes by."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from contextlib import suppress

from netwarden.lab.clients.sessions import Session

_LAST_WORDS_S = 8.0  # what a tool may take to end once its input has


def run(s: Session, command: list[str], environment: dict[str, str] | None = None) -> int | None:
    """The tool's exit code; None where the end of the activity came first."""
    try:
        ran = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=s.part.remaining() + 0.1,
            start_new_session=True,  # no terminal to ask for passwords at
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    if ran.returncode:
        s.note(f"{command[0]} ended with {ran.returncode}: {ran.stderr.decode(errors='replace').strip()[-150:]}")
    return ran.returncode


def must_run(s: Session, command: list[str], environment: dict[str, str] | None = None) -> None:
    """The same for a tool that should end well; raises ConnectionError where it does not."""
    if run(s, command, environment):
        raise ConnectionError(f"{command[0]} failed")


def feed(s: Session, command: list[str], pieces: Iterable[str], environment: dict[str, str] | None = None) -> None:
    """Start the tool and give it the pieces as they come (what makes them takes its time); then its input ends."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
    )
    with process, suppress(BrokenPipeError):
        try:
            for piece in pieces:
                _write(process, piece)
            process.communicate(timeout=min(_LAST_WORDS_S, s.part.remaining() + 0.1))
        except subprocess.TimeoutExpired:
            s.count(cut=1)
            return
        finally:
            process.kill()
    if process.returncode:
        raise ConnectionError(f"{command[0]} ended with {process.returncode}")


def _write(process: subprocess.Popen[bytes], piece: str) -> None:
    if process.stdin:  # always, but the type does not say so
        process.stdin.write(piece.encode())
