"""Schemathesis asks the whole API: no answer is a server's fault, and each is as the reference says."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks
from schemathesis.core.failures import FailureGroup

from tests.portal.conftest import listening, make_champion, portal_settings

# These start a training, follow one for ever, or send to whatever address was made up.
LEFT_OUT = ("/train", "/runs", "/events", "/api/v1/runs", "/api/v1/train", "/api/v1/notify")
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
BOUNDED = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def api(bundle, tmp_path_factory):
    """The reference of a portal that nothing else uses."""
    made = portal_settings(tmp_path_factory.mktemp("contract"), uploads_per_minute=10_000, max_upload_mb=1)
    make_champion(made, bundle)
    with listening(made) as running:
        yield schemathesis.openapi.from_url(f"{running.address}/openapi.json", timeout=60)


def test_no_answer_is_a_server_s_fault_and_each_is_as_the_reference_says(api):
    faults, asked = [], 0
    for found in api.get_all_operations():
        operation = found.ok()
        if any(part in operation.path for part in LEFT_OUT):
            continue

        @BOUNDED
        @given(case=operation.as_strategy())
        def ask(case):
            nonlocal asked
            asked += 1
            case.call_and_validate(checks=CHECKS, timeout=30)

        try:
            ask()
        except FailureGroup as group:
            faults += [f"{operation.label}: {fault.title}: {fault.message}" for fault in group.exceptions]
    assert not faults, "\n".join(faults)
    assert asked > 100
