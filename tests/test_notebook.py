"""Each notebook runs as it is committed, on fewer rows, and tells a newcomer what is missing."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebook").glob("*.ipynb"))


def read(name: str):
    return nbformat.read(ROOT / "notebook" / f"{name}.ipynb", as_version=4)


def execute(notebook, cells: int | None = None, rows: int | None = None):
    """The notebook, run; where `rows` are given, with so many in place of those that its parameters name."""
    notebook.cells = notebook.cells[:cells]
    for cell in notebook.cells:
        if rows and "parameters" in cell.metadata.get("tags", ()):
            cell.source = re.sub(r"(?m)^ROWS = [\d_]+", f"ROWS = {rows}", cell.source)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": ROOT / "notebook"}}
    ).execute()
    return notebook


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rows", "pictures", "words"),
    [
        ("01_explore", None, 4, "148,517 flows"),
        ("02_features", 6_000, 5, "test rows that are nearly a training row"),
        ("03_models", 12_000, 7, "attacks it has not alert at a 1% budget"),
    ],
)
def test_it_runs_from_top_to_bottom_and_draws(nsl_kdd, monkeypatch, name, rows, pictures, words):
    monkeypatch.setenv("NETWARDEN_DATA", str(nsl_kdd.parent))
    outputs = [output for cell in execute(read(name), rows=rows).cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= pictures
    assert any(words in output.get("text", "") for output in outputs)


@pytest.mark.slow
def test_without_the_data_it_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("NETWARDEN_DATA", str(tmp_path))
    with pytest.raises(CellExecutionError, match="make data"):
        execute(read("01_explore"), cells=2)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_imports_netwarden_and_defines_no_logic_of_its_own(path):
    trees = [ast.parse(cell.source) for cell in read(path.stem).cells if cell.cell_type == "code"]
    modules = {node.module for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    readers = {"read_csv", "read_parquet", "load_dataset", "fit", "roc_auc_score"}
    calls = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert any(str(name).startswith("netwarden.") for name in modules) and not readers & calls


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_committed_is_small_has_its_plots_and_names_no_folder_of_the_machine_that_ran_it(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < 800_000 and str(ROOT) not in text and "/home/" not in text
    assert "image/png" in text and '"error"' not in text


def test_what_a_model_is_judged_by_in_a_notebook_is_never_the_test_file():
    code = "".join(cell.source for cell in read("03_models").cells if cell.cell_type == "code")
    assert 'if "Train" in path.name' in code and "Test" not in code
