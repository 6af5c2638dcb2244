"""How often is the gate wrong, and how often undecided? Simulated beside a plain threshold on the observed drop.

python -m benchmarks.gate_power [--runs 10000] [--plots docs]

A cell is a true drop, a number of samples and a share of changed answers. A *false alarm* says fail although the
true drop is within the budget of one point; a *miss* says pass although it is above. A plain threshold compares
the observed drop with the budget.
"""

import argparse
import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
from matplotlib.figure import Figure

from edgetl.devices.statistics import ALPHA, drop_bounds, p_above, p_within

BUDGET = 0.01
DROPS = (0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05)
SAMPLES = (100, 300, 1000, 3000, 10_000)
CHANGES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1)


class Cell(msgspec.Struct, frozen=True):
    """Shares of simulated gate runs, 0–1; `threshold` is what the plain rule does wrong."""

    samples: int
    drop: float
    changes: float
    passed: float
    failed: float
    threshold: float

    @property
    def wrong(self) -> float:
        if self.drop == BUDGET:  # on the bound neither may be said often
            return max(self.failed, self.passed)
        return self.failed if self.drop < BUDGET else self.passed


def simulate(samples: int, runs: int) -> list[Cell]:
    """All cells of one sample size; outcomes that repeat are judged once."""
    judged: dict[tuple[int, int], tuple[bool, bool]] = {}
    return [_cell(samples, drop, changes, runs, judged) for drop, changes in _possible()]


def _possible() -> Iterator[tuple[float, float]]:
    for drop in DROPS:
        for changes in CHANGES:
            if changes >= drop:
                yield drop, changes


def _cell(
    samples: int, drop: float, changes: float, runs: int, judged: dict[tuple[int, int], tuple[bool, bool]]
) -> Cell:
    lost, gained = (changes + drop) / 2, (changes - drop) / 2
    rng = np.random.default_rng([samples, round(1e4 * drop), round(1e4 * changes)])
    outcomes, counts = np.unique(
        rng.multinomial(samples, [lost, gained, 1 - lost - gained], size=runs)[:, :2], axis=0, return_counts=True
    )
    passed = failed = above = 0
    for (b, c), count in zip(outcomes.tolist(), counts.tolist(), strict=True):
        if (b, c) not in judged:
            judged[b, c] = p_within(b, c, samples, BUDGET) <= ALPHA, p_above(b, c, samples, BUDGET) <= ALPHA
        passed, failed = passed + count * judged[b, c][0], failed + count * judged[b, c][1]
        above += count * ((b - c) / samples > BUDGET + 1e-12)
    wrong = above if drop <= BUDGET else runs - above
    return Cell(samples, drop, changes, passed / runs, failed / runs, wrong / runs)


def report(cells: list[Cell], runs: int) -> None:
    print("samples  drop %  changed %   pass %   fail %  undecided %   wrong %   threshold wrong %")
    for cell in cells:
        print(
            f"{cell.samples:7} {100 * cell.drop:7.1f} {100 * cell.changes:10.1f} {100 * cell.passed:8.2f} "
            f"{100 * cell.failed:8.2f} {100 * (1 - cell.passed - cell.failed):12.2f} {100 * cell.wrong:9.2f} "
            f"{100 * cell.threshold:19.2f}"
        )
    worst = max(cells, key=lambda cell: cell.wrong)
    error = 100 * 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs)
    print(
        f"{len(cells)} cells of {runs} runs; worst {100 * worst.wrong:.2f} % wrong at {worst.samples} samples, drop "
        f"{100 * worst.drop:.1f} %, changed {100 * worst.changes:.1f} % (5 % + three simulation errors is "
        f"{5 + error:.2f} %); a plain threshold up to {100 * max(cell.threshold for cell in cells):.1f} %"
    )


def plot_power(cells: list[Cell], path: Path) -> None:
    """What the gate says for a true drop, at 2 % more changed answers than the drop needs."""
    chosen = (300, 1000, 10_000)
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    for axes, samples in zip(figure.subplots(1, 3, sharey=True), chosen, strict=True):
        some = [c for c in cells if c.samples == samples and c.changes == 0.05]
        drops = [100 * c.drop for c in some]
        axes.stackplot(
            drops,
            [100 * c.passed for c in some], [100 * (1 - c.passed - c.failed) for c in some],
            [100 * c.failed for c in some],
            labels=["pass", "undecided", "fail"], colors=["#4c9f70", "#e6d690", "#c8553d"],
        )  # fmt: skip
        said_fail = [100 * (c.threshold if c.drop <= BUDGET else 1 - c.threshold) for c in some]
        axes.plot(drops, [100 - value for value in said_fail], "k--", linewidth=1, label="plain threshold: pass below")
        axes.axvline(100 * BUDGET, color="black", linewidth=0.8)
        axes.set(title=f"{samples} samples", xlabel="true drop, points", xlim=(0, 5), ylim=(0, 100))
    figure.axes[0].set_ylabel("share of gate runs, %")
    figure.axes[2].legend(loc="center right", fontsize=7)
    figure.savefig(path)


def plot_samples(path: Path) -> None:
    """The 95 % upper bound of the drop when as many answers are gained as lost."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    sizes = [50, 100, 153, 256, 400, 700, 1000, 2000, 4000, 8000, 16000, 50_000]
    for changes in (0.0, 0.01, 0.03, 0.1):
        halves = [round(changes * size / 2) for size in sizes]
        bounds = [100 * drop_bounds(half, half, size)[1] for half, size in zip(halves, sizes, strict=True)]
        axes.plot(sizes, bounds, marker="o", markersize=3, label=f"{changes:.0%} of answers change")
    axes.axhline(1, color="black", linewidth=0.8)
    axes.annotate("budget of one point", (55, 1.06), fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="labelled samples", ylabel="largest drop not excluded, points")
    axes.set_yticks([0.1, 0.3, 1, 3, 10], ["0.1", "0.3", "1", "3", "10"])
    axes.legend(fontsize=8)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--plots", type=Path)
    arguments = parser.parse_args()
    with ProcessPoolExecutor() as pool:
        parts = pool.map(simulate, SAMPLES, [arguments.runs] * len(SAMPLES))
        cells = [cell for part in parts for cell in part]
    report(cells, arguments.runs)
    if arguments.plots:
        plot_power(cells, arguments.plots / "verdicts-power.svg")
        plot_samples(arguments.plots / "verdicts-samples.svg")


if __name__ == "__main__":
    main()
