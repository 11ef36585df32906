"""Lists come a page at a time: each answer has a `cursor` that leads to the next page, null on the last."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Query
from pydantic import AfterValidator, Field

from netwarden.errors import InputError

_T = TypeVar("_T")
_LEADS_ON = "Of the page before, which says where this one begins"
# Ids of what is kept by time (uploads, runs, decisions, lines of logs) begin with it, so larger ones are later.
_BY_TIME = re.compile(r"\d{8}[T-]\d{6}([.-]\d{6})?-[0-9a-f]{4,8}")


def _is_by_time(cursor: str) -> str:
    if cursor and not _BY_TIME.fullmatch(cursor):
        raise ValueError(_no_page(cursor))
    return cursor


def _is_place(cursor: str) -> str:
    if not re.fullmatch(r"\d{0,15}", cursor, re.ASCII):
        raise ValueError(_no_page(cursor))
    return cursor


def _no_page(cursor: str) -> str:
    return f"{cursor!r} is of no page here; begin without a cursor"


Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many")]
Cursor = Annotated[str, Query(max_length=4200, description=_LEADS_ON)]
TimeCursor = Annotated[str, AfterValidator(_is_by_time), Query(max_length=100, description=_LEADS_ON)]
PlaceCursor = Annotated[str, AfterValidator(_is_place), Query(max_length=100, description=_LEADS_ON)]
Next = Annotated[str | None, Field(description="For the next page; null: this is the last")]


def page_of(found: Sequence[_T], limit: int, name: Callable[[_T], str]) -> tuple[list[_T], str | None]:
    """The first `limit` of what was found, and the cursor of the next page: the name of the last one shown.

    Look for one more than `limit`: it only says that there are more.
    """
    shown = list(found[:limit])
    return shown, name(shown[-1]) if len(found) > limit else None


def places(cursor: str, limit: int, total: int) -> tuple[slice, str | None]:
    """Where a page lies among so many rows in a fixed order, and the cursor of the next."""
    start = int(cursor or 0)
    end = start + limit
    return slice(start, end), str(end) if end < total else None


def after(cursor: str, names: Sequence[str]) -> int:
    """Where the page behind the one that ended with a name begins. Raises InputError for a name that is not there."""
    if not cursor:
        return 0
    if cursor not in names:
        raise InputError(f"cursor {_no_page(cursor)}")
    return names.index(cursor) + 1
