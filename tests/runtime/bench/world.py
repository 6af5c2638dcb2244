"""A clock that only calls and waiting move, so that time can be asserted."""

from collections.abc import Callable


class World:
    """`cost` says how many seconds query number i takes."""

    def __init__(self, cost: Callable[[int], float]) -> None:
        self.seconds = 0.0
        self.asked: list[int] = []
        self._cost = cost

    def clock(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def ask(self, number: int) -> None:
        self.seconds += self._cost(len(self.asked))
        self.asked.append(number)
