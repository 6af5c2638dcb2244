"""The JSON Schema of a profile, for editors that complete and check TOML; the same facts as tables for the manual."""

from inspect import cleandoc
from typing import Any

import msgspec

from edgetl.devices.profile import Profile
from edgetl.plugins import ENGINES
from edgetl.runtime.engines.options import OPTIONS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def profile_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a profile's file: every key with its description, an unknown key refused.

    The options of `[[engines]]` are those of the engine named there.
    """
    _, parts = msgspec.json.schema_components([Profile, *OPTIONS.values()], ref_template="#/$defs/{name}")
    parts["EngineChoice"]["properties"]["name"]["enum"] = list(ENGINES)
    parts["EngineChoice"]["properties"]["options"] = {
        "description": parts["EngineChoice"]["properties"]["options"]["description"],
        "type": "object",
    }
    parts["EngineChoice"]["allOf"] = [
        {
            "if": {"properties": {"name": {"const": engine}}, "required": ["name"]},
            "then": {"properties": {"options": {"$ref": f"#/$defs/{kind.__name__}"}}},
        }
        for engine, kind in OPTIONS.items()
    ]
    whole = {"$schema": DIALECT, **parts.pop("Profile"), "$defs": parts}
    bare: dict[str, Any] = _for_toml(whole)
    return bare


def tables() -> dict[str, list[tuple[str, str, str, str]]]:
    """Every TOML table of a profile and every engine's options: each key's name, type, default and description."""
    schema = profile_schema()
    defs = schema["$defs"]
    named = {
        "the top of the file": schema,
        "hardware": defs["Hardware"],
        "engines": defs["EngineChoice"],
        "accuracy": defs["Accuracy"],
        "latency": defs["LatencyBudget"],
        "numerics": defs["Numerics"],
        "numerics.PRECISION": defs["Tolerance"],
        "quantisation": defs["QuantisationAdvice"],
    }
    named |= {f"engines.options of {engine}": defs[kind.__name__] for engine, kind in OPTIONS.items()}
    return {table: [_row(key, each) for key, each in part["properties"].items()] for table, part in named.items()}


def _row(key: str, part: dict[str, Any]) -> tuple[str, str, str, str]:
    default = part.get("default", "")
    shown = f"`{msgspec.json.encode(default).decode()}`" if default or default is False else ""
    return key, _kind(part), shown, part["description"]


def _kind(part: dict[str, Any]) -> str:
    """The type in a word or two."""
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "$ref" in part:
        return "table"
    if part["type"] == "array":
        return "tables" if "$ref" in part["items"] else f"list of {_kind(part['items'])}"
    named: dict[str, str] = {"object": "table", "integer": "whole number", "boolean": "true or false"}
    return named.get(part["type"], str(part["type"]))


def _for_toml(part: Any) -> Any:
    """TOML has no null: an optional value is the value alone; docstrings lose their indentation."""
    if isinstance(part, list):
        return [_for_toml(each) for each in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("description"), str):
        part = {**part, "description": cleandoc(part["description"])}
    left = {key: _for_toml(value) for key, value in part.items() if not (key == "default" and value is None)}
    kinds = [each for each in left.get("anyOf", ()) if each != {"type": "null"}]
    if len(kinds) == 1:
        del left["anyOf"]
        return {**left, **kinds[0]}
    return {key: value for key, value in left.items() if not (key == "default" and isinstance(value, dict))}
