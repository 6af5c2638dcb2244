"""The JSON schemas of what the REST endpoints take and answer, as the OpenAPI document lists them."""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

BINARY: Schema = {"type": "string", "format": "binary"}
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
FREE: Schema = {"type": "object"}


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def record(properties: Mapping[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
BOX: Schema = {**array(NUMBER), "minItems": 4, "maxItems": 4,
               "description": "Left, top, right, bottom in pixels of the upright image"}  # fmt: skip


def prediction(name: str, each: Schema) -> Schema:
    """An answer of `/predict`, best first in the field `name`."""
    return record(
        {
            "model": TEXT,
            "variant": TEXT,
            name: array(each),
            "milliseconds": record({"preprocessing": NUMBER, "queue": NUMBER, "inference": NUMBER, "total": NUMBER}),
            "batch": {"type": "integer", "minimum": 1, "description": "Samples of the engine call that answered"},
        }
    )


TENSOR = {
    "name": TEXT,
    "datatype": {"enum": ["UINT8", "INT64", "FP32", "FP16", "BYTES"]},
    "shape": array({"type": "integer"}),
}
PARAMETERS = record({"binary_data_size": WHOLE}, ("binary_data_size",))

SCHEMAS: dict[str, Schema] = {
    "Error": record({"error": TEXT}),
    "Server": record({"name": TEXT, "version": TEXT, "extensions": array(TEXT)}),
    "Model": record(
        {
            "name": TEXT,
            "versions": array(TEXT),
            "platform": TEXT,
            "inputs": array(record(TENSOR)),
            "outputs": array(record(TENSOR)),
        }
    ),
    "Index": array(
        record({"name": TEXT, "version": TEXT, "state": {"enum": ["READY", "UNAVAILABLE"]}, "reason": TEXT})
    ),
    "InferenceRequest": record(
        {
            "id": TEXT,
            "parameters": record({"binary_data_output": {"type": "boolean"}}, ("binary_data_output",)),
            "inputs": array(
                record({**TENSOR, "data": {"type": "array"}, "parameters": PARAMETERS}, ("data", "parameters"))
            ),
            "outputs": array(
                record(
                    {
                        "name": TEXT,
                        "parameters": record(
                            {"binary_data": {"type": "boolean"}, "classification": WHOLE},
                            ("binary_data", "classification"),
                        ),
                    },
                    ("parameters",),
                )
            ),
        },
        ("id", "parameters", "outputs"),
    ),
    "InferenceResponse": record(
        {
            "id": TEXT,
            "model_name": TEXT,
            "model_version": TEXT,
            "outputs": array(record({**TENSOR, "data": array({}), "parameters": PARAMETERS}, ("data", "parameters"))),
        },
        ("id",),
    ),
    "Labels": prediction("top", record({"label": TEXT, "probability": SHARE})),
    "Objects": prediction("objects", record({"label": TEXT, "score": SHARE, "box": BOX})),
    "Models": record(
        {
            "models": array(
                record(
                    {
                        "name": TEXT,
                        "labels": array(TEXT),
                        "takes": {"enum": ["image", "text"]},
                        "answers": {"enum": ["top", "objects"]},
                        "variants": array(
                            record(
                                {
                                    "id": TEXT,
                                    "engine": TEXT,
                                    "precision": TEXT,
                                    "status": TEXT,
                                    "default": {"type": "boolean"},
                                    "opened": {"type": "boolean"},
                                    "facts": {"type": ["object", "null"]},
                                    "problem": {"type": ["string", "null"]},
                                }
                            )
                        ),
                    }
                )
            )
        }
    ),
}
