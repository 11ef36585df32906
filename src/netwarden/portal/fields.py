"""Fields of a filter as forms send them: one that nobody filled comes as an empty text, and is not set."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator


def unset(value: Any) -> Any:
    """None for the empty text of a field that nobody filled, anything else as it is."""
    return None if isinstance(value, str) and not value.strip() else value


Blank = BeforeValidator(unset)  # beside the type of a field that may be left empty
Text = Annotated[str | None, Blank]
