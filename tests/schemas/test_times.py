"""Every way a start time is written, and what the schema settles about it."""

import pyarrow as pa
import pytest

from netwarden.errors import SchemaError
from netwarden.flows.conform import conform
from netwarden.flows.schema import FlowSchema


def _read(text, **time):
    column = {"name": "at", "type": "time", "role": "time", "time": time}
    feature = {"name": "x", "type": "int"}
    schema = FlowSchema.model_validate({"id": "made_up", "columns": [column, feature]})
    found = conform(pa.table({"at": [text], "x": ["1"]}), schema)
    if found.rejected:
        return found.rejected[0].reason
    at = found.table.arrow["at"][0].as_py()
    return at and at.isoformat()


@pytest.mark.parametrize(
    ("text", "time", "expected"),
    [
        ("2017-07-06 13:15:35", {"formats": ["iso"]}, "2017-07-06T13:15:35+00:00"),
        ("2017-07-06T13:15:35.250", {"formats": ["iso"]}, "2017-07-06T13:15:35.250000+00:00"),
        ("2017-07-06T13:15:35-03:00", {"formats": ["iso"]}, "2017-07-06T16:15:35+00:00"),
        ("2017-07-06T13:15:35Z", {"formats": ["iso"], "zone": "Asia/Tokyo"}, "2017-07-06T13:15:35+00:00"),
        ("1545403816.962094", {"formats": ["epoch_s"]}, "2018-12-21T14:50:16.962094+00:00"),
        ("1545403816962", {"formats": ["epoch_ms"]}, "2018-12-21T14:50:16.962000+00:00"),
        ("06/07/2017 01:15:35 PM", {"formats": ["%d/%m/%Y %I:%M:%S %p"]}, "2017-07-06T13:15:35+00:00"),
        ("7/7/2017 3:56", {"formats": ["%d/%m/%Y %H:%M"], "pm_before": 8}, "2017-07-07T15:56:00+00:00"),
        ("7/7/2017 8:56", {"formats": ["%d/%m/%Y %H:%M"], "pm_before": 8}, "2017-07-07T08:56:00+00:00"),
        ("7/7/2017 12:01", {"formats": ["%d/%m/%Y %H:%M"], "pm_before": 8}, "2017-07-07T12:01:00+00:00"),
        ("7/7/2017 3:56", {"formats": ["%d/%m/%Y %H:%M"], "zone": "-03:00"}, "2017-07-07T06:56:00+00:00"),
        ("14/02/2018 08:31", {"formats": ["%d/%m/%Y %H:%M"], "zone": "America/Moncton"}, "2018-02-14T12:31:00+00:00"),
        ("", {"formats": ["iso"]}, None),
        ("yesterday", {"formats": ["iso", "epoch_s", "%d/%m/%Y"]}, "at: not a time"),
        ("2017-02-30 00:00:00", {"formats": ["%d/%m/%Y"]}, "at: not a time"),
    ],
)
def test_a_time_is_read_as_the_schema_says(text, time, expected):
    assert _read(text, **time) == expected


def test_a_format_may_have_a_zone_and_a_clock_of_its_own():
    formats = [{"format": "%d/%m/%Y %H:%M", "zone": "America/Moncton", "pm_before": 8}, "%d/%m/%Y %H:%M:%S"]
    assert _read("06/07/2017 1:15", formats=formats) == "2017-07-06T16:15:00+00:00"
    assert _read("06/07/2017 01:15:00", formats=formats) == "2017-07-06T01:15:00+00:00"


def test_an_unknown_zone_is_named():
    with pytest.raises(SchemaError, match="column 'at': time zone 'Mars/Olympus' is not known"):
        _read("2017-07-06", formats=["iso"], zone="Mars/Olympus")


def test_a_time_column_without_formats_says_what_to_add():
    schema = FlowSchema.model_validate(
        {"id": "made_up", "columns": [{"name": "at", "type": "time", "role": "time"}, {"name": "x", "type": "int"}]}
    )
    with pytest.raises(SchemaError, match="column 'at' is a time without formats; say in the schema how it is written"):
        conform(pa.table({"at": ["2017-07-06"], "x": ["1"]}), schema)
