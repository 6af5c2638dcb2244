"""The OpenAPI document of the REST endpoints, written by hand so that it says what a client may rely on."""

from collections.abc import Collection, Mapping
from importlib.metadata import version
from typing import Any

from edgetl.runtime.serve.schemas import BINARY, FREE, SCHEMAS, TEXT, Schema, record, ref
from edgetl.tasks import Classification, Detections, Prediction
from edgetl.tasks.preparation import SampleKind

REFUSALS = {
    "400": "The request is not as the protocol says, or does not fit the model",
    "401": "The server wants a token and this is not it",
    "404": "No such model or variant",
    "408": "The request did not arrive in time",
    "413": "The body, its image or its number of samples is larger than the server's limits",
    "415": "Not what the model takes, or an unknown content encoding",
    "422": "The body is no image that can be decoded, or an empty text",
    "431": "The headers are longer than 64 KiB",
    "500": "An engine failed, or the server has a bug; its log says more",
    "503": "Full, too late, shutting down, or the variant cannot be opened",
}
HEADERS = {
    "401": {"WWW-Authenticate": {"schema": {"const": "Bearer"}}},
    "503": {"Retry-After": {"description": "Seconds", "schema": {"type": "string", "pattern": "^[0-9]+$"}}},
}
ANYWHERE = ("400", "408", "431", "500", "503")
"""What a connection or a limit refuses before an endpoint sees the request."""

MODEL = ("model", "The name of a bundle's folder")
VERSION = ("version", "The id of one of its variants")

IMAGE_RESPONSE = {"model_name": "flowers", "model_version": "openvino-int8",
                  "outputs": [{"name": "probabilities", "datatype": "BYTES", "shape": [1, 2],
                               "data": ["0.913204:3:rose", "0.061022:1:daisy"]}]}  # fmt: skip
COST = {"milliseconds": {"preprocessing": 2.9, "queue": 0.1, "inference": 1.8, "total": 5.2}, "batch": 1}
LABELS = {"model": "flowers", "variant": "openvino-int8", "top": [{"label": "rose", "probability": 0.913204}]} | COST
OBJECTS = {"model": "cells", "variant": "openvino-int8",
           "objects": [{"label": "RBC", "score": 0.913, "box": [12.5, 30.0, 101.2, 118.9]}]} | COST  # fmt: skip

RAW: Schema = {"schema": BINARY}
FORM = {"schema": {"type": "object", "properties": {"image": BINARY}, "maxProperties": 1, "minProperties": 1}}
BODIES: dict[SampleKind, Schema] = {
    "image": {"image/*": RAW, "application/octet-stream": RAW, "multipart/form-data": FORM},
    "text": {"text/plain": {"schema": TEXT}, "application/json": {"schema": record({"text": TEXT})}},
}
"""What `/predict` takes."""

TOP: Schema = {"name": "top", "in": "query", "description": "So many labels",
               "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 5}}  # fmt: skip
THRESHOLD: Schema = {"name": "threshold", "in": "query", "schema": {"type": "number", "minimum": 0, "maximum": 1},
                     "description": "What objects score at least; default: the model's own"}  # fmt: skip
ANSWERS: dict[type[Prediction], tuple[str, Schema, Schema]] = {
    Classification: ("Labels", LABELS, TOP),
    Detections: ("Objects", OBJECTS, THRESHOLD),
}
"""What it answers: the name of the schema, an example, and what may be asked of it."""

EVERYTHING = tuple(BODIES), tuple(ANSWERS)


def document(
    takes: Collection[SampleKind] = EVERYTHING[0], answers: Collection[type[Prediction]] = EVERYTHING[1]
) -> dict[str, object]:
    """OpenAPI 3.1 of a server whose models take and answer this. Reference: https://spec.openapis.org/oas/v3.1.0."""
    what = " or ".join(f"{each}s" for each in BODIES if each in takes)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edgetl",
            "version": version("edgetl"),
            "description": f"`/predict` takes {what}, `/v2` speaks the Open Inference Protocol with its extensions for "
            "binary tensors and classification. Another path is refused with 404, another method with 405.",
        },
        "tags": [
            {"name": "predictions", "description": "An image or a text in, labels or objects out"},
            {"name": "inference", "description": "The Open Inference Protocol v2"},
            {"name": "operation", "description": "What an operator and a browser need"},
        ],
        "security": [{}, {"token": []}],
        "paths": _paths(_predict(takes, answers)),
        "components": {
            "schemas": SCHEMAS,
            "responses": {_name(status): _refusal(status) for status in REFUSALS},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths(predict: Schema) -> dict[str, object]:
    model, versioned = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    infer = {
        "parameters": [
            {
                "name": "Inference-Header-Content-Length",
                "in": "header",
                "description": "Bytes of JSON before the binary tensors",
                "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
            }
        ],
        "body": {
            "application/json": {"schema": ref("InferenceRequest")},
            "application/octet-stream": {"schema": BINARY, "example": "the JSON, then the bytes of each input"},
        },
        "answer": {
            "application/json": {"schema": ref("InferenceResponse"), "example": IMAGE_RESPONSE},
            "application/octet-stream": {"schema": BINARY},
        },
        "refusals": ("401", "404", "413", "415"),
    }
    named = {"refusals": ("401", "404")}
    return {
        "/predict": {"post": predict},
        "/models": {"get": _get("predictions", "What is served", _json("Models"))},
        **_both(model, versioned, "/infer", "post", "Run a model on tensors", infer),
        **_both(model, versioned, "", "get", "A model's tensors", {"answer": _json("Model"), **named}),
        **_both(model, versioned, "/ready", "get", "May a model be asked?", named),
        "/v2": {"get": _get("inference", "Name, version and extensions", _json("Server"))},
        "/v2/repository/index": {
            "post": _operation("inference", "All variants", body={"application/json": {"schema": FREE}}, optional=True,
                               answer=_json("Index"), refusals=("401",))
        },
        "/v2/health/live": {"get": _get("operation", "Does the server run?", {}, open_to_all=True)},
        "/v2/health/ready": {"get": _get("operation", "May it be asked?", {}, open_to_all=True)},
        "/metrics": {"get": _get("operation", "Metrics for Prometheus", {"text/plain": {"schema": TEXT}})},
        "/openapi.json": {"get": _get("operation", "This document", {"application/json": {"schema": FREE}})},
        "/": {"get": _get("operation", "A page to try it", {"text/html": {"schema": TEXT}}, open_to_all=True)},
    }  # fmt: skip


def _predict(takes: Collection[SampleKind], answers: Collection[type[Prediction]]) -> Schema:
    text = {"schema": TEXT}
    given = [ANSWERS[each] for each in ANSWERS if each in answers]
    query = [
        {"name": "model", "in": "query", "description": "Needed where several are served", **text},
        {"name": "variant", "in": "query", "description": "The id of a variant", **text},
        *(wish for _, _, wish in given),
    ]
    body = {kind: media for each in BODIES if each in takes for kind, media in BODIES[each].items()}
    schemas = [ref(name) for name, _, _ in given]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    answer = {"application/json": {"schema": schema, "example": given[0][1]}}
    refusals = ("401", "404", "413", "415", "422")
    return _operation("predictions", "Ask a model", parameters=query, body=body, answer=answer, refusals=refusals)


def _both(model: str, versioned: str, end: str, method: str, summary: str, parts: Mapping[str, Any]) -> Schema:
    """The same operation on a model's default variant and on the one that is named."""
    own = parts.get("parameters", [])
    rest = {key: value for key, value in parts.items() if key != "parameters"}
    named = {model: [_in_path(MODEL)], versioned: [_in_path(MODEL), _in_path(VERSION)]}
    return {
        path + end: {method: _operation("inference", summary, parameters=[*names, *own], **rest)}
        for path, names in named.items()
    }


def _in_path(named: tuple[str, str]) -> Schema:
    name, description = named
    return {"name": name, "in": "path", "required": True, "description": description, "schema": TEXT}


def _json(name: str, example: object = None) -> Schema:
    return {"application/json": {"schema": ref(name)} | ({"example": example} if example else {})}


def _get(tag: str, summary: str, answer: Schema, *, open_to_all: bool = False) -> Schema:
    made = _operation(tag, summary, answer=answer, refusals=() if open_to_all else ("401",))
    return made | ({"security": []} if open_to_all else {})


def _operation(
    tag: str,
    summary: str,
    *,
    parameters: list[Schema] | None = None,
    body: Schema | None = None,
    optional: bool = False,
    answer: Schema | None = None,
    refusals: tuple[str, ...] = (),
) -> Schema:
    success: Schema = {"description": "Yes" if not answer else "The answer"} | ({"content": answer} if answer else {})
    refused = {status: {"$ref": f"#/components/responses/{_name(status)}"} for status in sorted((*ANYWHERE, *refusals))}
    made: Schema = {"tags": [tag], "summary": summary, "responses": {"200": success, **refused}}
    if parameters:
        made["parameters"] = parameters
    if body:
        made["requestBody"] = {"required": not optional, "content": body}
    return made


def _name(status: str) -> str:
    return f"Refused{status}"


def _refusal(status: str) -> Schema:
    content = {"application/json": {"schema": ref("Error"), "example": {"error": "what happened"}}}
    headers = {"headers": HEADERS[status]} if status in HEADERS else {}
    return {"description": REFUSALS[status], "content": content, **headers}
