"""Context columns: the same however a capture comes in pieces, and in bounded memory whoever floods them."""

import io
import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from netwarden.capture.context import context, empty_tables
from netwarden.capture.meter import MeterSettings
from netwarden.capture.metering import meter_captures
from netwarden.capture.records import END_OF_INPUT, FLOW
from tests.capture.frames import capture
from tests.capture.test_meter import captures


class InPieces(io.BytesIO):
    """A stream that gives at most so many bytes at a time."""

    most_bytes = 1

    def read(self, size=-1):
        return super().read(min(size, self.most_bytes) if size > 0 else size)


@settings(deadline=None, max_examples=15)
@given(captures(), st.sampled_from((1, 7, 1000)), st.sampled_from((0.0, 0.7)))
def test_context_is_the_same_however_the_capture_comes_in_pieces(packets, most_bytes, interim_s):
    data, rules = capture(packets), MeterSettings(idle_timeout_s=2, interim_s=interim_s)
    pieces = InPieces(data)
    pieces.most_bytes = most_bytes
    assert _rows(pieces, rules) == _rows(io.BytesIO(data), rules)


def _rows(source, rules):
    return [row for table in meter_captures([source], rules) for row in table.arrow.to_pylist()]


def test_a_flood_of_distinct_sources_takes_no_memory_and_leaves_a_busy_pair_its_history():
    tables = empty_tables(1024)
    busy = _flows(np.zeros(1, np.uint64), 0)
    seen = [context(tables, busy)["pair_flows_30m"][0]]
    tracemalloc.start()
    try:
        for batch in range(20):
            context(tables, _flows(np.arange(1 + batch * 4096, 1 + (batch + 1) * 4096, dtype=np.uint64), batch))
            seen.append(context(tables, busy)["target_flows_30m"][0])
            if batch == 0:
                before, _ = tracemalloc.get_traced_memory()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 200_000
    assert seen == [1.0, *(float(4096 * batch + batch + 1) for batch in range(1, 21))]


def _flows(sources, second):
    """One flow of each source to the same target, in the same second."""
    flows = np.zeros(len(sources), FLOW)
    flows["source_low"], flows["target_low"], flows["protocol"] = sources, 9, 17
    flows["start_us"] = flows["ended_us"] = 1_600_000_000_000_000 + second * 1_000_000
    flows["ended_by"] = END_OF_INPUT
    return flows
