"""The same workspaces as the intake tests use."""

from tests.intake.conftest import bare, empty_settings, model, settings

__all__ = ["bare", "empty_settings", "model", "settings"]
