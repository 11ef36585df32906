"""Write the tables of docs/flow-features.md anew from the definitions: `make flow-features`."""

from pathlib import Path

from netwarden.capture.definitions import feature_tables

PAGE = Path(__file__).with_name("flow-features.md")
HEADING = "## The features\n\n"


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def rewritten(page: str) -> str:
    """The page with the tables that the code defines."""
    prose, _, _ = page.partition(HEADING)
    return prose + HEADING + feature_tables()


if __name__ == "__main__":
    main()
