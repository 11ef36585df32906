"""Timelines, most frequent values and groups of alerts of a MongoDB database, from kept counts where these can tell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from netwarden.sources.alert_records import (
    CELL_FIELDS,
    GROUP_FIELDS,
    NEWEST,
    SPANS_S,
    Axis,
    cell_key,
    group_of,
    group_page,
    read_cursor,
)
from netwarden.sources.alert_store import GroupPage
from netwarden.sources.filters import Condition, pairs
from netwarden.sources.mongo import Document
from netwarden.sources.mongo_counts import MongoCounts

_OPERATORS = {"equal": "$eq", "at_least": "$gte", "below": "$lt"}
_SECOND_US = 1_000_000
_THERE = {"count": {"$gt": 0}}
_SUMS = {
    "count": {"$sum": "$count"},
    "first": {"$min": "$first"},
    **{name: {"$max": f"${name}"} for name in ("last", "worst", "newest")},
}


def query_of(wanted: Sequence[Condition]) -> Document:
    """Conditions as MongoDB asks them."""
    parts = [_part(one) for one in wanted]
    return {"$and": parts} if parts else {}


def ends(counts: MongoCounts) -> tuple[int, int] | None:
    """Times of the first and the last alert there is, in microseconds."""
    found = [list(counts.alerts.find({}, {"raised_at": 1}).sort([("raised_at", way)]).limit(1)) for way in (1, -1)]
    return (found[0][0]["raised_at"], found[1][0]["raised_at"]) if found[0] else None


def count_spans(counts: MongoCounts, wanted: Sequence[Condition], axis: Axis) -> list[tuple[int, str, int]]:
    """Place on the axis, family and number of alerts, by kept counts."""
    span_s = max(each for each in SPANS_S if axis.span_s % each == 0)
    within = {"span_s": span_s, "start": {"$gte": axis.start_s, "$lt": axis.end_s}}
    stages = [
        {"$match": {"$and": [within, query_of(wanted)]}},
        {"$group": {"_id": {"start": "$start", "family": "$family"}, "count": {"$sum": "$count"}}},
    ]
    found: Counter[tuple[int, str]] = Counter()
    for one in counts.spans.aggregate(stages):
        place = (one["_id"]["start"] - axis.start_s) // axis.span_s
        found[(place, one["_id"].get("family") or "")] += one["count"]
    return [(place, family, count) for (place, family), count in found.items() if count]


def count_newest(
    counts: MongoCounts, wanted: Sequence[Condition], axis: Axis
) -> tuple[list[tuple[int, str, int]], int | None]:
    """The same by the newest matches themselves, and where on the axis these begin, if there are more."""
    within = {"raised_at": {"$gte": axis.start_s * _SECOND_US, "$lt": axis.end_s * _SECOND_US}}
    newest = _newest(counts, {"$and": [within, query_of(wanted)]}, ("raised_at", "family"))
    found = Counter(
        ((one["raised_at"] // _SECOND_US - axis.start_s) // axis.span_s, one["family"] or "") for one in newest
    )
    sums = [(place, family, count) for (place, family), count in found.items()]
    return sums, min(place for place, _, _ in sums) if len(newest) > NEWEST else None


def top(counts: MongoCounts, field: str, wanted: Sequence[Condition], limit: int) -> list[tuple[str, int]]:
    """The most frequent values of a field."""
    if field in CELL_FIELDS and kept_in(wanted, CELL_FIELDS):
        stages = [
            {"$match": {"$and": [_THERE, {field: {"$ne": None}}, query_of(wanted)]}},
            {"$group": {"_id": f"${field}", "count": {"$sum": "$count"}}},
        ]
        found = [(str(one["_id"]), int(one["count"])) for one in counts.cells.aggregate(stages)]
    else:
        newest = _newest(counts, query_of(wanted), (field,))[:NEWEST]
        found = list(Counter(str(one[field]) for one in newest if one[field] is not None).items())
    return sorted(found, key=lambda one: (-one[1], one[0]))[:limit]


def groups(counts: MongoCounts, wanted: Sequence[Condition], limit: int, cursor: str | None) -> GroupPage:
    """Groups of alerts that match, the one with the newest alert first."""
    if kept_in(wanted, CELL_FIELDS):
        return group_page(_kept_groups(counts, wanted, limit, cursor), limit)
    newest = _newest(counts, query_of(wanted), ("alert_id", "raised_at", "score", *GROUP_FIELDS))
    found = _grouped(newest[:NEWEST])
    if cursor is not None:
        since = read_cursor(cursor)
        found = [one for one in found if (one["last"], one["group_key"]) < since]
    return group_page(found[: limit + 1], limit, partial=len(newest) > NEWEST)


def loudest(counts: MongoCounts, wanted: Sequence[Condition], limit: int, names: Sequence[str]) -> GroupPage:
    """Groups of alerts that are alike in some of GROUP_FIELDS, the one with the most alerts first."""
    partial = False
    if kept_in(wanted, CELL_FIELDS):
        stages = [
            {"$match": {"$and": [_THERE, query_of(wanted)]}},
            {"$group": {"_id": {name: f"${name}" for name in names}, **_SUMS}},
            {"$sort": {"count": -1, "last": -1}},
            {"$limit": limit},
        ]
        found = [
            {**dict.fromkeys(GROUP_FIELDS), **one, **one["_id"], "newest": one["newest"].partition("~")[2]}
            for one in counts.cells.aggregate(stages)
        ]
    else:
        newest = _newest(counts, query_of(wanted), ("alert_id", "raised_at", "score", *GROUP_FIELDS))
        partial = len(newest) > NEWEST
        alike = [{**one, **{name: None for name in GROUP_FIELDS if name not in names}} for one in newest[:NEWEST]]
        found = sorted(_grouped(alike), key=lambda one: (-one["count"], -one["last"]))[:limit]
    return GroupPage([group_of(one) for one in found], None, partial)


def kept_in(wanted: Sequence[Condition], fields: Sequence[str]) -> bool:
    """Whether conditions are on these fields alone."""
    return all(one.field in fields for one in wanted)


def _part(one: Condition) -> Document:
    if one.operator == "one_of":
        return {one.field: {"$in": list(one.values)}}
    if one.operator == "words":
        return {"$and": [{"words": _word(str(word))} for word in one.values]}
    if one.operator in ("within", "outside"):
        key = f"{one.field}_key"
        inside = [{key: {"$gte": low, "$lte": high}} for low, high in pairs(one.values)]
        if one.operator == "within":
            return {"$or": inside} if inside else {key: {"$in": []}}
        return {"$and": [{key: {"$ne": None}}, *({"$nor": [each]} for each in inside)]}
    return {one.field: {_OPERATORS[one.operator]: one.values[0]}}


def _word(word: str) -> Document | str:
    """A word, or how it begins."""
    return {"$regex": f"^{re.escape(word[:-1])}"} if word.endswith("*") else word


def _newest(counts: MongoCounts, query: Document, fields: Sequence[str]) -> list[Document]:
    found = counts.alerts.find(query, dict.fromkeys(fields, 1))
    return list(found.sort([("raised_at", -1), ("alert_id", -1)]).limit(NEWEST + 1))


def _kept_groups(
    counts: MongoCounts, wanted: Sequence[Condition], limit: int, cursor: str | None
) -> list[dict[str, Any]]:
    after: Document = {}
    if cursor is not None:
        last, key = read_cursor(cursor)
        after = {"$or": [{"last": {"$lt": last}}, {"last": last, "_id": {"$lt": key}}]}
    facts = {name: {"$first": f"${name}"} for name in GROUP_FIELDS}
    stages = [
        {"$match": {"$and": [_THERE, query_of(wanted)]}},
        {
            "$group": {
                "_id": "$group_key",
                **facts,
                **_SUMS,
            }
        },
        {"$match": after},
        {"$sort": {"last": -1, "_id": -1}},
        {"$limit": limit + 1},
    ]
    found = list(counts.cells.aggregate(stages))
    return [{**one, "group_key": one["_id"], "newest": one["newest"].partition("~")[2]} for one in found]


def _grouped(newest: Sequence[Document]) -> list[dict[str, Any]]:
    """Groups of alerts that come newest first, in the order of their newest."""
    found: dict[str, dict[str, Any]] = {}
    for one in newest:
        key = cell_key(one, GROUP_FIELDS)
        group = found.setdefault(
            key,
            {name: one[name] for name in GROUP_FIELDS}
            | {"group_key": key, "count": 0, "last": one["raised_at"], "worst": 0.0, "newest": one["alert_id"]},
        )
        group["count"] += 1
        group["first"] = one["raised_at"]
        group["worst"] = max(group["worst"], one["score"])
    return sorted(found.values(), key=lambda group: (group["last"], group["group_key"]), reverse=True)
