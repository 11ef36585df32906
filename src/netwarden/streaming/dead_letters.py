"""Dead letters for people: what they are, and back into the queue with them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from netwarden.errors import InputError
from netwarden.settings import Settings
from netwarden.sources.connect import open_queue
from netwarden.sources.store import DeadLetter
from netwarden.streaming.batch import unpack


def describe_letters(settings: Settings, limit: int) -> str:
    """A line for each of the oldest dead letters: id, what it holds, reason."""
    with closing(open_queue(settings)) as queue:
        letters = queue.dead_letters(limit)
    return "\n".join(map(_line, letters)) or "no dead letters"


def redrive_letters(settings: Settings, letter_ids: Sequence[str] | None) -> str:
    """Put dead letters (None: all) back into the queue; says how many there were."""
    with closing(open_queue(settings)) as queue:
        if letter_ids is None:
            letter_ids = [letter.letter_id for letter in queue.dead_letters(settings.stream.dead_letters)]
        found = queue.redrive(letter_ids)
    missing = f"; {len(letter_ids) - found} were no longer there" if found < len(letter_ids) else ""
    return f"{found} put back into the queue{missing}"


def _line(letter: DeadLetter) -> str:
    try:
        batch = unpack(letter.body)
        held = f"{len(batch)} flows of {batch.flows.schema_id} from {batch.sensor} ({batch.source})"
    except InputError:
        held = f"{len(letter.body):,} bytes"
    return f"{letter.letter_id}  {held}  {letter.reason}"
