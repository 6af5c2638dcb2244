"""Plain values as TOML, one line a top-level key; tables are written inline."""

import json
import re
from collections.abc import Mapping, Sequence


def toml_text(values: Mapping[str, object]) -> str:
    """`values` as a TOML document. A key whose value is None is left out. Raises TypeError for any other kind."""
    return "".join(f"{_key(key)} = {toml_value(value)}\n" for key, value in values.items() if value is not None)


def toml_value(value: object) -> str:
    """`value` as it stands behind a key. Raises TypeError for what TOML does not have."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {toml_value(each)}" for key, each in value.items() if each is not None)
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, Sequence):
        return "[" + ", ".join(toml_value(each) for each in value) + "]"
    raise TypeError(f"`{type(value).__name__}` has no place in TOML")


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else _string(name)


def _string(text: str) -> str:
    """A basic string; its escapes are those of JSON, and it has one more forbidden character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
