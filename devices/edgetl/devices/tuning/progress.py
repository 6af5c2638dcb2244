"""What an interrupted tune had measured, so that the next one does not measure it again."""

import hashlib
from pathlib import Path

import msgspec

from edgetl.bundle import Bundle
from edgetl.devices.tuning.candidates import Candidate
from edgetl.devices.tuning.search import Cost
from edgetl.errors import ArtefactError
from edgetl.files import read_json, write_json
from edgetl.machine import Machine
from edgetl.runtime.plan import PROGRESS, Aim, plan_path

SCHEMA = "1.0"


class _State(msgspec.Struct, kw_only=True):
    """`turns`: aim → candidate → ms a sample in each turn."""

    schema: str
    key: str
    turns: dict[str, dict[str, list[float]]] = {}


class Progress:
    """`plans/NAME.tuning.json`: the turns measured so far. Another key than the file's starts anew."""

    def __init__(self, bundle: Bundle, device: str, key: str) -> None:
        path = plan_path(bundle, device)
        self.path = path.with_name(path.stem + PROGRESS)
        self._state = _read(self.path, key)

    def remembering(self, aim: Aim, cost: Cost) -> Cost:
        """`cost` that answers from the file where it can, and writes to it what it had to measure."""

        def remembered(candidate: Candidate, number: int, seconds: float) -> float:
            turns = self._state.turns.setdefault(aim, {}).setdefault(candidate.key, [])
            if number >= len(turns):
                turns.append(cost(candidate, number, seconds))
                write_json(self.path, self._state)
            return turns[number]

        return remembered

    def close(self) -> None:
        """Removes the file: the tune is done."""
        self.path.unlink(missing_ok=True)


def progress_key(bundle: Bundle, machine: Machine, candidates: object, versions: dict[str, str]) -> str:
    """Changes with anything that a measured turn depends on: content, machine, engines, what is measured how."""
    whole = [bundle.digest, machine, candidates, versions]
    return hashlib.sha256(msgspec.json.encode(whole, order="deterministic")).hexdigest()


def _read(path: Path, key: str) -> _State:
    """What the file holds if it is of the same key. It is a cache: one that cannot be read is measured again."""
    try:
        state = read_json(path, _State, major=1) if path.is_file() else None
    except ArtefactError:
        state = None
    return state if state is not None and state.key == key else _State(schema=SCHEMA, key=key)
