"""What a device wrote, as it is at home: its plans beside the bundle, its paths as the user's own.

A plan called `host` is of the machine that made it. It does not go to another machine, and comes home as `host-NAME`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgetl.bundle import Bundle
from edgetl.devices.remote.channel import Channel
from edgetl.devices.remote.protocol import MAX_PLAN_BYTES, MAX_PLANS, PLAN_NAME, Start
from edgetl.devices.remote.target import Target
from edgetl.devices.remote.watching import whole
from edgetl.errors import ArtefactError
from edgetl.files import check_schema, inside, write_bytes
from edgetl.runtime.plan import HOST, MAJOR, PROGRESS, Plan

_OWN = f"{HOST}.json"


def local_plans(bundle: Bundle) -> dict[str, bytes]:
    """The plans beside the bundle that may be another machine's, by file name."""
    found = sorted((bundle.path / "plans").glob("*.json"))
    fitting = [path for path in found if _is_plan(path.name) and path.stat().st_size <= MAX_PLAN_BYTES]
    return {path.name: path.read_bytes() for path in fitting[:MAX_PLANS] if path.name != _OWN}


def brought_plans(
    channel: Channel, start: Start, wrote: Sequence[str], bundle: Bundle, target: Target
) -> dict[str, str]:
    """Writes the plans that the job `wrote` into the bundle's `plans/`: name there → path in the bundle.

    Raises ArtefactError for a file that is no plan of this bundle or cannot be written; what has been written before it
    stays.
    """
    brought = {}
    for name in wrote[:MAX_PLANS]:
        if not _is_plan(name):
            raise ArtefactError(
                f"`{target.host}` sends `{name[:200]!r}` as a plan", hint="install the same edgetl there"
            )
        content = whole(channel, start.job, plan=name, limit=MAX_PLAN_BYTES)
        content = checked(content, name, start.manifest, target)
        here = f"plans/{HOST}-{re.sub('[^A-Za-z0-9._-]', '-', target.host)}.json" if name == _OWN else f"plans/{name}"
        path = inside(bundle.path, here)
        try:
            path.parent.mkdir(exist_ok=True)
            write_bytes(path, content)
        except OSError as error:
            raise ArtefactError(
                f"`{path}` cannot be written: {error.strerror}", hint=f"`{target.host}` keeps the plan and uses it"
            ) from error
        brought[name] = here
    return brought


def _is_plan(name: str) -> bool:
    return re.fullmatch(PLAN_NAME, name) is not None and not name.endswith(PROGRESS)


def checked(content: bytes, name: str, manifest: str, target: Target) -> bytes:
    """`content`, if it is a plan of the bundle with that manifest. Raises ArtefactError."""
    try:
        check_schema(msgspec.json.decode(content), Path(name), MAJOR)
        plan = msgspec.json.decode(content, type=Plan)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtefactError(
            f"`{name}` from `{target.host}` is no plan", hint="install the same edgetl there"
        ) from error
    if plan.manifest != manifest:
        raise ArtefactError(f"`{name}` from `{target.host}` is the plan of another bundle", hint="tune there again")
    return content


class Translation:
    """The device's paths in what it wrote, as home's. `places[i]` over there is `paths[i]` here."""

    def __init__(self, paths: Sequence[Path], places: Sequence[str]) -> None:
        self.places = tuple(places)
        self._pairs = [(there, str(here)) for there, here in zip(places, paths, strict=True)]

    def add(self, there: str, here: str) -> None:
        self._pairs.append((there, here))

    def of_text(self, text: str) -> str:
        for there, here in self._longest_first():
            text = text.replace(there, here)
        return text

    def of_json(self, content: bytes) -> bytes:
        """Strings of JSON: what stands for a path there is escaped as JSON has it."""
        for there, here in self._longest_first():
            content = content.replace(_escaped(there), _escaped(here))
        return content

    def _longest_first(self) -> list[tuple[str, str]]:
        return sorted((pair for pair in self._pairs if len(pair[0]) > 1), key=lambda pair: -len(pair[0]))


def _escaped(text: str) -> bytes:
    return msgspec.json.encode(text.encode(errors="replace").decode())[1:-1]
