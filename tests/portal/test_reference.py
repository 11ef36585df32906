"""What /docs says is what the portal does."""

import pytest

from netwarden.portal.reference import PROBLEM, Health, Predictions, Problem, Readiness


@pytest.fixture(scope="module")
def document(portal):
    return portal.client.get("/openapi.json").json()


@pytest.fixture(scope="module")
def operations(document):
    return {
        f"{method} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_the_reference_lists_what_programs_ask_and_no_page(operations):
    assert set(operations) == {
        "post /predict",
        "get /uploads/{upload_id}/scores.csv",
        "get /uploads/{upload_id}/scores.json",
        "get /api/v1/uploads/{upload_id}/rows/{row}/why",
        "get /schemas/{schema_id}/sample.npy",
        "get /api/v1/alerts",
        "get /api/v1/alerts/events",
        "get /api/v1/alerts/{alert_id}",
        "post /api/v1/alerts/{alert_id}/triage",
        "post /api/v1/uploads/{upload_id}/alerts",
        "get /api/v1/triage",
        "post /api/v1/triage",
        "post /api/v1/triage/{act_id}/undo",
        "get /train",
        "get /runs/{run_id}",
        "get /runs/{run_id}/events",
        "post /runs/{run_id}/cancel",
        "get /health",
        "get /ready",
        "get /metrics",
    }


def test_every_route_has_a_summary_a_description_a_tag_and_says_what_success_looks_like(operations):
    for name, operation in operations.items():
        assert operation["summary"], name
        assert operation["description"], name
        assert len(operation["tags"]) == 1, name
        assert any(answer.get("content") for code, answer in operation["responses"].items() if code < "300"), name


def test_every_error_is_a_problem_with_an_example(document, operations):
    for name, operation in operations.items():
        for code, answer in operation["responses"].items():
            if code >= "400" and name != "get /ready":
                assert Problem.model_validate(answer["content"][PROBLEM]["example"]).status == int(code)
    assert "HTTPValidationError" not in str(document)


def test_every_reference_within_the_document_leads_somewhere(document):
    def references(value):
        if isinstance(value, dict):
            yield from (
                inner for key, item in value.items() for inner in ([item] if key == "$ref" else references(item))
            )
        elif isinstance(value, list):
            yield from (inner for item in value for inner in references(item))

    found = set(references(document["paths"]))
    assert found
    for address in found:
        assert address.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_the_example_of_a_prediction_is_one_that_works(portal, operations):
    body = operations["post /predict"]["requestBody"]["content"]["application/json"]["example"]
    answer = portal.client.post("/predict", json=body)
    assert Predictions.model_validate_json(answer.content).rows == 1


def test_answers_have_the_shapes_that_the_reference_tells(portal):
    sample = portal.client.get("/schemas/nsl_kdd/sample.npy").content
    sent = portal.client.post("/predict", files={"file": ("a.npy", sample)}, headers={"Accept": "application/json"})
    predictions = Predictions.model_validate_json(sent.content)
    kept = portal.client.get(f"/uploads/{predictions.id}/scores.json")
    assert Predictions.model_validate_json(kept.content) == predictions
    assert Readiness.model_validate_json(portal.client.get("/ready").content).status == "ready"
    assert Health.model_validate_json(portal.client.get("/health").content).version
    assert Problem.model_validate_json(portal.client.get("/runs/x").content).status == 404
