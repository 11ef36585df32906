"""Writes docs/openapi.yaml: the API as the portal tells it at /openapi.json. `make openapi` runs it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import yaml

from netwarden.portal.app import create_app
from netwarden.settings import Settings

ROOT = Path(__file__).parents[1]


def main(target: Path) -> None:
    """Write the document."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(workspace=ROOT, home=Path(folder), datasets=Path(folder))
        document = create_app(settings).openapi()
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    target.write_text(f"# Written by `make openapi`.\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "openapi.yaml")
