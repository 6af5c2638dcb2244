"""The document says what the server does: the same endpoints, and answers as it promises."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema_rs import Draft202012Validator
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from schemathesis.specs.openapi.definitions import OPENAPI_31
from starlette.routing import Route
from tests.runtime.serve.conftest import RunningServer, StartServer

from edgetl.runtime.serve.app import build
from edgetl.runtime.serve.config import ServeConfig
from edgetl.runtime.serve.openapi import document
from edgetl.tasks import Classification

TIMEOUT_S = 20
PATHS: dict[str, dict[str, Any]] = document()["paths"]  # type: ignore[assignment]
EXAMPLES = 25
"""For each operation."""

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
          unsupported_method]  # fmt: skip


def test_it_is_openapi_and_its_examples_fit_its_schemas() -> None:
    found = json.loads(json.dumps(document()))
    Draft202012Validator(OPENAPI_31).validate(found)
    operations = [operation for path in found["paths"].values() for operation in path.values()]
    contents = [operation["responses"]["200"].get("content", {}) for operation in operations]
    contents += [refusal["content"] for refusal in found["components"]["responses"].values()]
    media = [media for content in contents for media in content.values() if "example" in media]
    for each in media:
        Draft202012Validator({**each["schema"], "components": found["components"]}).validate(each["example"])
    assert len(media) > len(found["components"]["responses"]), "some answers have one too"


def test_every_route_is_documented_and_nothing_else(bundle: Path) -> None:
    routes = [route for route in build([bundle], ServeConfig())._routed().routes if isinstance(route, Route)]
    served = {(route.path, method) for route in routes for method in route.methods or () if method != "HEAD"}
    documented = {(path, method.upper()) for path, item in PATHS.items() for method in item}
    assert documented == served and len(served) > 10


def test_the_server_gives_it_away_for_what_it_serves(server: RunningServer) -> None:
    found = requests.get(f"{server.url}/openapi.json", timeout=TIMEOUT_S).json()
    assert found == json.loads(json.dumps(document(takes=["image"], answers=[Classification])))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bundle", "reviews", "squares"])
def test_generated_requests_are_answered_as_documented(
    start_server: StartServer, request: pytest.FixtureRequest, name: str
) -> None:
    folder: Path = request.getfixturevalue(name)
    server = start_server(folder, "--queue", "64")
    # no generator guesses these, and what they name does not change what is tried on it
    known = {"model": folder.name, "version": "openvino-fp32", "variant": ""}
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    tried = 0
    for operation in schema.get_all_operations():
        assert isinstance(operation, Ok), operation
        tried += 1

        @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
                  phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(case=operation.ok().as_strategy())
        def ask(case: Any) -> None:
            case.path_parameters = {name: known[name] for name in case.path_parameters}
            case.query = {name: value for name, value in case.query.items() if name not in known}
            case.call_and_validate(checks=CHECKS, timeout=TIMEOUT_S)

        ask()
    assert tried == sum(len(item) for item in PATHS.values()) - 1, "all but the document itself"
