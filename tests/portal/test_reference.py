"""What /docs says is what the portal does."""

import re

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from jsonschema import Draft202012Validator

from netwarden.portal.app import create_app
from netwarden.portal.reference import PROBLEM, Health, Predictions, Problem, Readiness
from tests.fixtures.data import ROOT
from tests.portal.conftest import portal_settings


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


UNVERSIONED = re.compile(
    r"/(predict|score|batch_score|train|health|ready|metrics|schemas/\{schema_id\}/sample\.npy"
    r"|uploads/\{upload_id\}/scores\.(csv|json)|runs/\{run_id\}(/events|/cancel)?)"
)


def test_the_reference_lists_what_programs_ask_and_no_page(document):
    """All of it stands in docs/openapi.yaml, whose changes are read."""
    strange = [
        path for path in document["paths"] if not path.startswith("/api/v1/") and not UNVERSIONED.fullmatch(path)
    ]
    assert strange == []
    assert {"/predict", "/score", "/batch_score", "/train", "/api/v1/alerts"} <= set(document["paths"])


def test_the_guide_names_an_address_of_the_api_for_each_page(document, tmp_path):
    found = [one.original_route for one in iter_route_contexts(create_app(portal_settings(tmp_path)).routes)]
    routes = [one for one in found if isinstance(one, APIRoute)]
    told = {one.path for one in routes if "GET" in (one.methods or ()) and one.include_in_schema}
    pages = {one.path for one in routes if "GET" in (one.methods or ())} - told - {"/login"}
    pages = {path for path in pages | {"/runs/{run_id}"} if not path.startswith("/static/")}
    text = (ROOT / "docs" / "guide-portal.md").read_text()
    lines = dict(
        re.findall(r"^\| `(/[^`]*)` \| (.+) \|$", text.partition("## Every page and its API")[2], re.MULTILINE)
    )
    assert set(lines) == pages
    for page, line in lines.items():
        named = [path for path in re.findall(r"`(/[^`]+)`", line) if path not in ("/rows", "/openapi.json")]
        assert named or page == "/docs", page
        assert set(named) <= set(document["paths"]), page


def test_every_body_of_json_that_is_sent_or_answered_has_an_example_of_its_shape(document, operations):
    for name, operation in operations.items():
        for part in (operation.get("requestBody", {}), *operation["responses"].values()):
            content = part.get("content", {}).get("application/json")
            if content is not None:
                shape = {**content["schema"], "components": document["components"]}
                fault = next(Draft202012Validator(shape).iter_errors(content["example"]), None)
                assert fault is None, (name, fault)


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
