"""An engine lent to many threads: closed by one of them, it is freed when the last call that runs has its answer."""

import threading

from edgetl.errors import EngineError
from edgetl.runtime.engines import Engine
from edgetl.types import EngineFacts, Feeds, Outputs


class Lease:
    """Lends `engine` until `close`, after which every call raises EngineError; calls that run then finish."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine, self._name = engine, name
        self._calls = 0
        self._closed = False
        # a signal handler may close the session in the midst of a call of its own thread
        self._state = threading.RLock()

    def run(self, feeds: Feeds) -> Outputs:
        self._enter()
        try:
            return self._engine.run(feeds)
        finally:
            self._leave()

    @property
    def facts(self) -> EngineFacts:
        self._enter()
        try:
            return self._engine.facts
        finally:
            self._leave()

    def close(self) -> None:
        """Closing twice is allowed."""
        with self._state:
            if self._closed:
                return
            self._closed = True
            self._free()

    def _enter(self) -> None:
        with self._state:
            if self._closed:
                raise EngineError(self._name, "the session is closed", hint="load the bundle again")
            self._calls += 1

    def _leave(self) -> None:
        with self._state:
            self._calls -= 1
            self._free()

    def _free(self) -> None:
        if self._closed and not self._calls:
            self._engine.close()
