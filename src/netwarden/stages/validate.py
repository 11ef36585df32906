"""Stage 2: checks that the data must pass; a failed one stops the pipeline and says which rows."""

from __future__ import annotations

from netwarden import logs
from netwarden.evaluation.checks import require_passed, run_checks
from netwarden.params import Params
from netwarden.settings import Settings
from netwarden.stages.workspace import enter, output_folder, read_flows, write_json

_log = logs.get(__name__)


def run(settings: Settings, params: Params) -> str:
    """Report of every check. Raises DataCheckError, after writing it, where one failed."""
    table, schema = read_flows(settings)
    checks = run_checks(table, schema, params.validate_)
    report = {"rows": len(table), "schema": schema.id, "checks": [check.as_dict() for check in checks]}
    write_json(output_folder(settings, "validate") / "report.json", report)
    require_passed(checks, schema)
    warnings = [check for check in checks if check.warns]
    for check in warnings:
        _log.warning(check.what, extra={"check": check.name, "found": check.found})
    said = f"; warnings: {', '.join(check.name for check in warnings)}" if warnings else ""
    return f"{len(checks)} checks passed on {len(table)} rows{said}"


if __name__ == "__main__":
    enter("validate", run)
