"""The portal's places, in the order of the main menu."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """An entry of the menu; it is the present one on every page below `within`."""

    title: str
    address: str
    within: tuple[str, ...]

    def holds(self, path: str) -> bool:
        """Whether a page belongs here."""
        return any(path == start or (start != "/" and path.startswith(f"{start}/")) for start in self.within)


PLACES = (
    Place("Overview", "/overview", ("/overview",)),
    Place("Detect", "/", ("/", "/predict", "/uploads")),
    Place("Alerts", "/alerts?state=new", ("/alerts", "/triage", "/suppressions", "/notify")),
    Place("Live", "/live", ("/live",)),
    Place("Models", "/models", ("/models",)),
    Place("Train", "/runs", ("/runs", "/train")),
    Place("Data", "/data", ("/data",)),
    Place("Drift", "/drift", ("/drift",)),
    Place("API", "/docs", ("/docs",)),
)
