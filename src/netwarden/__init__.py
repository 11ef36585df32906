"""Netwarden: network traffic in, triaged alerts out.

>>> import netwarden
>>> netwarden.__version__
'0.1.0'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from netwarden.scoring.model import load


def __getattr__(name: str) -> object:
    # Lazy, so that `netwarden --help` does not pay for Arrow and XGBoost.
    if name == "load":
        from netwarden.scoring.model import load  # noqa: PLC0415 - that is the point

        return load
    raise AttributeError(f"module 'netwarden' has no attribute {name!r}")
