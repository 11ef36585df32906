"""`python app.py` and the choice of files it serves, as processes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.fixtures.data import ROOT


@contextmanager
def served(workspace: Path, home: Path, **environment: str) -> Iterator[tuple[str, str]]:
    """Address of a portal started with `python app.py`, and what it has logged."""
    clean = {"PATH": os.environ["PATH"], "NETWARDEN_WORKSPACE": str(workspace), "NETWARDEN_HOME": str(home)}
    process = subprocess.Popen(
        [sys.executable, ROOT / "app.py"],
        env={**clean, "NETWARDEN_PORT": "0", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        log = ""
        while not (found := re.search(r"http://[^/\s]+", log)):
            line = process.stderr.readline()
            assert line, f"ended with:\n{log}"
            log += line
        yield found.group(), log
    finally:
        process.send_signal(signal.SIGTERM)
        process.stderr.close()
        assert process.wait(15) in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_the_portal_starts_without_a_bundle_answers_and_ends_when_told(tmp_path: Path):
    with served(ROOT, tmp_path) as (address, log):
        assert "this machine only, no login" in log
        assert httpx.get(f"{address}/health", timeout=20).status_code == 200
        assert httpx.get(f"{address}/ready", timeout=20).status_code == 503
        assert "No detector serves yet" in httpx.get(address, headers={"Accept": "text/html"}, timeout=20).text


@pytest.mark.slow
def test_a_token_is_asked_for_and_never_logged(tmp_path: Path):
    with served(ROOT, tmp_path, NETWARDEN_TOKEN="open sesame") as (address, log):
        assert "log in with an account or NETWARDEN_TOKEN" in log
        assert "sesame" not in log
        assert httpx.get(address, timeout=20).status_code == 401


@pytest.mark.slow
def test_templates_and_static_files_of_the_workspace_come_first(tmp_path: Path):
    for name in ("templates", "static"):
        (tmp_path / name).mkdir()
        for path in (ROOT / name).iterdir():
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    (tmp_path / "static" / "style.css").write_text("/* ours */")
    with served(tmp_path, tmp_path / "home") as (address, _):
        assert httpx.get(f"{address}/static/style.css", timeout=20).text == "/* ours */"
