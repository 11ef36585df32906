"""The architecture as failing tests."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_imports_go_down_only_and_heavy_libraries_stay_in_their_file():
    lint = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run(
        [lint, "--config", ROOT / "pyproject.toml"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_command_line_starts_without_arrow_or_numba():
    code = "import sys, netwarden.cli; print([m for m in ('pyarrow', 'numba', 'numpy', 'pandas') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_no_module_has_a_name_that_says_nothing():
    empty = {"utils", "helpers", "common", "components", "entity", "constants", "manager"}
    found = [path for path in (ROOT / "src").rglob("*.py") if path.stem in empty or path.parent.name in empty]
    assert not found


def test_the_layers_told_are_the_layers_enforced():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    enforced = [layer.replace("netwarden.", "") for layer in contracts[0]["layers"]]
    told = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("## Layers")[1].split("```")[1].split("\n")
    assert [line for line in told if line] == enforced
