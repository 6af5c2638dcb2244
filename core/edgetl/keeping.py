"""Keeps what was measured beside the bundle, as far as its folder lets it."""

from typing import Any

import msgspec

from edgetl.console import disk_is_full, say
from edgetl.errors import ArtefactError


def keep_measurement(bundle: Any, command: str, result: Any, machine: Any = None) -> None:
    """Adds a record, of this machine unless `machine` is another; a read-only bundle is no reason to fail.

    A gate's single answers are for a later `--baseline`, and what became of each class is long: neither is kept.
    """
    from edgetl.devices import measurements

    if command == "gate":
        result = msgspec.structs.replace(result, answers={})
    if command in ("check", "gate"):
        lean = tuple(msgspec.structs.replace(variant, classes=()) for variant in result.variants)
        result = msgspec.structs.replace(result, variants=lean)
    try:
        measurements.remember(bundle, command, result, machine)
    except ArtefactError as error:
        say(f"warning: {error.message}")
    except OSError as error:
        if not disk_is_full(error):
            raise
        say(f"warning: the disk of `{bundle.path}` is full, the measurement is not kept")
