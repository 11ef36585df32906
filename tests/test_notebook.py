"""The notebook runs as it is committed, and tells a newcomer what is missing."""

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebook" / "01_explore.ipynb"


def execute(cells: int | None = None):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells = notebook.cells[:cells]
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": NOTEBOOK.parent}}
    ).execute()
    return notebook


@pytest.mark.slow
def test_it_runs_from_top_to_bottom_and_draws(nsl_kdd, monkeypatch):
    monkeypatch.setenv("NETWARDEN_DATA", str(nsl_kdd.parent))
    outputs = [output for cell in execute().cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4
    assert any("148,517 flows" in output.get("text", "") for output in outputs)


@pytest.mark.slow
def test_without_the_data_it_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("NETWARDEN_DATA", str(tmp_path))
    with pytest.raises(CellExecutionError, match="make data"):
        execute(cells=2)


def test_it_imports_netwarden_and_defines_no_logic_of_its_own():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    trees = [ast.parse(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
    modules = {node.module for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    readers = {"read_csv", "read_parquet", "load_dataset"}
    calls = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert any(str(name).startswith("netwarden.") for name in modules) and not readers & calls


def test_what_is_committed_is_small_and_names_no_folder_of_the_machine_that_ran_it():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 400_000 and str(ROOT) not in text and "/home/" not in text
