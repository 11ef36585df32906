"""netwarden plan: its rates are those that were measured, and its plans grow as traffic does."""

import json
import re

import pytest

from netwarden.capacity import (
    ALERT_BYTES,
    FLOW_BYTES,
    LIVE_PPS,
    METERED_FLOWS,
    RATES,
    SENSOR_MB,
    SPARSE_FLOW_BYTES,
    Rate,
    Traffic,
    describe_plan,
    first_to_break,
    plan,
)
from tests.fixtures.data import ROOT

OFFICE = Traffic(packets_per_s=5_000, flows_per_s=200, retention_days=30)
SIZES = (SENSOR_MB, FLOW_BYTES, SPARSE_FLOW_BYTES, ALERT_BYTES)


def measured(rate: Rate) -> list[float]:
    """What the benchmark found, each time that it ran and no other work kept the machine busy."""
    lines = (ROOT / f"benchmarks/results/{rate.subject}.jsonl").read_text().splitlines()
    found = [line for line in map(json.loads, lines) if line["name"] == rate.name and "machine" not in line]
    if rate is METERED_FLOWS:
        return [line["flows"] / line["seconds"] for line in found]
    if rate is LIVE_PPS:
        return [line["packets"] / line["seconds"] for line in found]
    return [line["value"] for line in found]


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: rate.name)
def test_no_rate_is_better_than_the_worst_that_was_measured(rate):
    found = measured(rate)
    assert found
    assert rate.value >= max(found) if rate in SIZES else rate.value <= min(found) * 1.02  # rounded


def test_an_office_fits_on_one_machine_and_all_but_its_link_disk_and_people_was_measured():
    needs = plan(OFFICE)
    reckoned = {need.part for need in needs if need.basis == "extrapolated"}
    assert reckoned == {"mirrored link", "disk of the store", "people"}
    assert {need.amount.split()[0] for need in needs if need.part in ("sensors", "Redis", "workers")} == {"1"}


def test_an_internet_exchange_needs_many_of_everything_and_none_of_it_counts_as_measured():
    exchange = Traffic(packets_per_s=100e6, flows_per_s=2e6, retention_days=30)
    needs = {need.part: need for need in plan(exchange)}
    assert {need.basis for need in needs.values()} == {"extrapolated"}
    assert needs["sensors"].amount.startswith("182 of 1 core")
    assert needs["workers"].amount.startswith("75 of 1 core")
    assert needs["store"].amount.startswith("MongoDB")
    assert needs["network of Redis"].amount == "6.4 Gbit/s in, the same out"


def test_what_breaks_first_is_named_with_how_near_it_is():
    assert re.match(r"the embedded store \(\d+% of what one bears\)", first_to_break(OFFICE))
    many = first_to_break(Traffic(packets_per_s=10e6, flows_per_s=50_000, retention_days=0))
    assert many.startswith("the one core of a sensor (667%")


def test_a_plan_is_a_table_that_marks_what_is_measured():
    lines = describe_plan(OFFICE).splitlines()
    assert lines[0].split() == ["part", "needs", "basis", "because"]
    assert all(" measured " in line or " extrapolated " in line for line in lines[1:-2])
