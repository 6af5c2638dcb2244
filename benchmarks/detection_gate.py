"""How often is the verdict on a detector wrong, and how often undecided? Simulated beside a plain threshold.

python -m benchmarks.detection_gate [--runs 400] [--processes N]

Photos hold objects of three labels (many, some, rare ones). The reference finds most of them, with scores, among wrong
detections. A variant's scores differ a little everywhere, and what it loses depends on the cell: *objects* at random,
*photos* as a whole, or objects of the rare *label* alone, so many that the true drop of mAP50 is as wanted. A *false
alarm* says fail although the true drop is within the budget of two points; a *miss* says pass although it is above. On
the bound neither may be said in more than 5 % of runs. A plain threshold compares the observed drop with the budget.
"""

import argparse
import math
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import msgspec
import numpy as np
from tests.devices.detection.simulated import KINDS, Kind, pair, share_for, true_drop, world

from edgetl.devices.detection.drop import resample_precision
from edgetl.devices.statistics import ALPHA

BUDGET = 0.02
DROPS = (0.0, 0.01, 0.02, 0.04, 0.08)
PHOTOS = (72, 200, 600)


class Cell(msgspec.Struct, frozen=True):
    """Shares of simulated verdicts, 0–1; `threshold` is what the plain rule does wrong."""

    kind: Kind
    photos: int
    drop: float
    passed: float
    failed: float
    threshold: float

    @property
    def wrong(self) -> float:
        if self.drop == BUDGET:  # on the bound neither may be said often
            return max(self.failed, self.passed)
        return self.failed if self.drop < BUDGET else self.passed


def simulate(kind: Kind, drop: float, runs: int) -> list[Cell]:
    """A cell for each number of photos."""
    share = share_for(kind, drop) if drop else 0.0
    # precision falls in steps, so the budget is moved to where the true drop is as far from it as wanted
    budget = true_drop(kind, share) + BUDGET - drop
    return [_cell(kind, drop, photos, runs, (share, budget)) for photos in PHOTOS]


def _cell(kind: Kind, drop: float, photos: int, runs: int, terms: tuple[float, float]) -> Cell:
    share, budget = terms
    passed = failed = above = 0
    for run in range(runs):
        rng = np.random.default_rng([run, photos, round(1e4 * drop), KINDS.index(kind)])
        drawn = resample_precision(pair(world(rng, photos), kind, share, rng))
        if drawn is None:
            continue
        within = drawn.p_within(budget) <= ALPHA
        passed += within
        failed += not within and drawn.p_above(budget) <= ALPHA
        above += drawn.reference - drawn.value > budget
    wrong = above if drop <= BUDGET else runs - above
    return Cell(kind, photos, drop, passed / runs, failed / runs, wrong / runs)


def report(cells: list[Cell], runs: int) -> None:
    print("lost      photos  drop    pass %   fail %  undecided %   wrong %   threshold wrong %")
    for cell in cells:
        print(
            f"{cell.kind:8} {cell.photos:7} {100 * cell.drop:5.1f} {100 * cell.passed:9.2f} {100 * cell.failed:8.2f} "
            f"{100 * (1 - cell.passed - cell.failed):12.2f} {100 * cell.wrong:9.2f} {100 * cell.threshold:19.2f}"
        )
    worst = max(cells, key=lambda cell: cell.wrong)
    error = 100 * 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)
    where = f"{worst.kind}, {worst.photos} photos, drop {100 * worst.drop:.0f} points"
    print(
        f"{len(cells)} cells of {runs} runs; worst {100 * worst.wrong:.2f} % wrong ({where}; 5 % + three simulation "
        f"errors is {5 + error:.2f} %); a plain threshold up to {100 * max(cell.threshold for cell in cells):.1f} %"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--processes", type=int)
    arguments = parser.parse_args()
    cells = list(product(KINDS, DROPS))
    with ProcessPoolExecutor(arguments.processes) as pool:
        found = pool.map(simulate, *zip(*cells, strict=True), [arguments.runs] * len(cells))
        report([cell for part in found for cell in part], arguments.runs)


if __name__ == "__main__":
    main()
