"""Plain values as YAML text: block style, JSON's escapes, nothing that a reader could take for another type."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9._/-]*")
WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
"""YAML 1.1, which Kubernetes reads, takes these for something else than a string."""


def to_yaml(*documents: Mapping[str, object]) -> str:
    """Each mapping as one document. Keys are strings; values are str, int, bool, or lists and mappings of those.

    YAML 1.2 is a superset of JSON (https://yaml.org/spec/1.2.2/, section 1.2), so a quoted string is a JSON string.
    """
    return "---\n".join("".join(line + "\n" for line in _mapping(document)) for document in documents)


def _mapping(values: Mapping[str, object]) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield f"{_scalar(key)}:"
            yield from ("  " + line for line in _mapping(value))
        elif isinstance(value, Sequence) and not isinstance(value, str) and value:
            yield f"{_scalar(key)}:"
            yield from _items(value)
        else:
            yield f"{_scalar(key)}: {_scalar(value)}"


def _items(values: Sequence[object]) -> Iterator[str]:
    for value in values:
        lines = list(_mapping(value)) if isinstance(value, Mapping) and value else [_scalar(value)]
        yield "- " + lines[0]
        yield from ("  " + line for line in lines[1:])


def _scalar(value: object) -> str:
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in WORDS:
        return value
    return json.dumps(value, ensure_ascii=True, allow_nan=False)
