"""`netwarden batch` killed or interrupted: the same command again goes on, and no row is lost or doubled."""

import gzip
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from netwarden.errors import InputError, JobBusyError
from netwarden.flows.schema import load_schema
from netwarden.scoring.batch import Pieces, score_file
from netwarden.scoring.intake import Place, read_flows
from netwarden.scoring.journal import open_journal
from tests.fixtures.data import ROOT, given
from tests.service.running import as_codes


class Interrupted(BaseException):
    """As a Ctrl-C: nothing of ours catches it."""


def interrupted_after(batches):
    """A progress callback that ends the run after so many batches."""
    left = iter(range(batches))

    def advance(_share):
        if next(left, None) is None:
            raise Interrupted

    return advance


SMALL = Pieces(batch_rows=30, part_s=0)


@pytest.fixture
def sources(bare, model, tmp_path):
    """The same flows as every kind of file; in text, some lines are no flows."""
    pacsv.write_csv(bare, tmp_path / "flows.csv")
    lines = (tmp_path / "flows.csv").read_text().splitlines(keepends=True)
    lines[40] = "1,2\n"
    lines[100] = "-5" + lines[100][lines[100].index(",") :]
    lines.insert(70, lines[0])
    lines.insert(90, "\n")
    (tmp_path / "flows.csv").write_text("".join(lines))
    (tmp_path / "flows.csv.gz").write_bytes(gzip.compress((tmp_path / "flows.csv").read_bytes()))
    pq.write_table(bare, tmp_path / "flows.parquet", row_group_size=45)
    feather.write_feather(bare, tmp_path / "flows.arrow", chunksize=45)
    np.save(tmp_path / "flows.npy", as_codes(model, bare))
    return [tmp_path / f"flows.{ending}" for ending in ("csv", "csv.gz", "parquet", "arrow", "npy")]


def test_an_interrupted_run_goes_on_in_every_format_as_if_it_had_never_stopped(settings, sources, tmp_path):
    for source in sources:
        whole, target = tmp_path / "whole.parquet", tmp_path / f"{source.name}.scores.parquet"
        expected = score_file(settings, source, whole)
        with pytest.raises(Interrupted):
            score_file(settings, source, target, pieces=SMALL, progress=interrupted_after(3))
        assert not target.exists()
        report = score_file(settings, source, target, pieces=SMALL)
        assert 0 < report.kept < report.rows, source.name
        assert pq.read_table(target).equals(pq.read_table(whole)), source.name
        assert (report.verdicts, report.rejected, report.unknown) == (
            expected.verdicts,
            expected.rejected,
            expected.unknown,
        )
        if expected.rejected_file and report.rejected_file:
            assert report.rejected_file.read_bytes() == expected.rejected_file.read_bytes()
        assert f"{report.kept:,} of them were scored by an earlier run" in str(report)
        assert not list(tmp_path.glob(".*.parts"))


def test_reasons_of_alerts_survive_an_interruption(settings, sources, tmp_path):
    expected = score_file(settings, sources[2], tmp_path / "whole.parquet", explain=2)
    with pytest.raises(Interrupted):
        score_file(
            settings, sources[2], tmp_path / "scores.parquet", explain=2, pieces=SMALL, progress=interrupted_after(6)
        )
    report = score_file(settings, sources[2], tmp_path / "scores.parquet", explain=2)
    assert list(map(str, report.highest)) == list(map(str, expected.highest))
    assert pq.read_table(tmp_path / "scores.parquet").equals(pq.read_table(tmp_path / "whole.parquet"))


def test_another_input_bundle_or_option_starts_anew(settings, sources, tmp_path):
    target = tmp_path / "scores.parquet"
    for change in ("input", "option"):
        with pytest.raises(Interrupted):
            score_file(settings, sources[2], target, pieces=SMALL, progress=interrupted_after(3))
        if change == "input":
            os.utime(sources[2])
        report = score_file(settings, sources[2], target, explain=2 if change == "option" else 0)
        assert (report.rows, report.kept) == (200, 0)


def test_a_second_run_on_the_same_target_is_refused(settings, sources, tmp_path):
    with (
        open_journal(tmp_path / "scores.csv", {}),
        pytest.raises(JobBusyError, match=r"another run is writing .*scores"),
    ):
        score_file(settings, sources[0], tmp_path / "scores.csv")


def test_a_target_that_cannot_be_written_says_so(settings, sources, tmp_path):
    (tmp_path / ".scores.csv.parts").write_text("in the way")
    with pytest.raises(InputError, match=r"the output cannot be written in .*: File exists"):
        score_file(settings, sources[0], tmp_path / "scores.csv")


def test_what_was_skipped_before_an_interruption_is_told_with_the_rest():
    schema, path = (
        load_schema("suricata_flow", ROOT / "schema"),
        given("NETWARDEN_DATA", "logs", "suricata_eve.json.gz"),
    )
    whole = list(read_flows(path, schema, batch_rows=500))
    place = whole[3].place
    assert place.rows and place.lines and place.skipped
    rest = list(read_flows(path, schema, batch_rows=500, after=place))
    assert rest[-1].notes == whole[-1].notes
    assert [row for batch in rest for row in batch.rows] == [row for batch in whole[4:] for row in batch.rows]


def test_a_capture_goes_on_behind_the_flows_that_were_scored():
    schema, path = load_schema("netwarden_flow", ROOT / "schema"), given("NETWARDEN_PCAPS", "vnc.pcap.gz")
    flows = pa.concat_tables(batch.table.arrow for batch in read_flows(path, schema))
    kept = len(flows) // 2
    rest = list(read_flows(path, schema, after=Place(kept)))
    assert pa.concat_tables(batch.table.arrow for batch in rest).equals(flows.slice(kept))
    assert [row for batch in rest for row in batch.rows] == list(range(kept, len(flows)))


def test_killed_at_any_moment_and_run_again_it_gives_every_row_once(settings, bare, tmp_path):
    rows = 40 * len(bare)
    pq.write_table(pa.concat_tables([bare] * 40), tmp_path / "flows.parquet")
    whole, target = tmp_path / "whole.parquet", tmp_path / "scores.parquet"
    score_file(settings, tmp_path / "flows.parquet", whole)
    code = (
        "import sys; from pathlib import Path; from netwarden.settings import load_settings;"
        "from netwarden.scoring.batch import Pieces, score_file;"
        "score_file(load_settings(), Path(sys.argv[1]), Path(sys.argv[2]), pieces=Pieces(100, 0))"
    )
    places = {"NETWARDEN_WORKSPACE": str(settings.workspace), "NETWARDEN_HOME": str(settings.home)}
    command = [sys.executable, "-c", code, tmp_path / "flows.parquet", target]
    parts = tmp_path / ".scores.parquet.parts"
    run = subprocess.Popen(command, env=os.environ | places)
    deadline = time.monotonic() + 60
    while len(list(parts.glob("0*"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.002)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert not target.exists()
    report = score_file(settings, tmp_path / "flows.parquet", target)
    assert 500 <= report.kept < rows == report.rows
    assert pq.read_table(target).equals(pq.read_table(whole))
