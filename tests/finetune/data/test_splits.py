"""What is held out: its share of each class, the same every time, no group on two sides."""

import numpy as np
import pytest

from edgetl.errors import DataError
from edgetl.finetune.data.splits import hold_out
from edgetl.finetune.data.table import Samples, TableWriter


def table(labels: list[int], groups: list[str] | None = None) -> Samples:
    writer = TableWriter()
    for i, label in enumerate(labels):
        writer.append(f"{label}/{i}.png", label, 0, groups[i] if groups else "")
    return writer.finish()


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_each_class_gives_its_share_at_least_one_never_the_last(fraction: float) -> None:
    labels = [0] * 50 + [1] * 20 + [2] * 2 + [3]
    fit, held = hold_out(table(labels), fraction, seed=0)
    expected = [round(50 * fraction), round(20 * fraction), 1, 0]
    assert np.bincount(held.labels, minlength=4).tolist() == expected
    assert sorted([*(s.path for s in fit), *(s.path for s in held)]) == sorted(s.path for s in table(labels))


def test_it_is_seeded_and_keeps_the_order() -> None:
    first, again, other = (list(hold_out(table([0, 1] * 30), 0.2, seed)[1]) for seed in (0, 0, 1))
    assert first == again != other
    numbers = [int(s.path.split("/")[1][:-4]) for s in first]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [2, 5])
def test_groups_stay_together_near_the_share(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 300).tolist()
    groups = [f"p{i // size}" if i % 4 else "" for i in range(300)]
    fit, held = hold_out(table(labels, groups), 0.2, seed)
    assert not ({s.group for s in fit} & {s.group for s in held}) - {""}
    assert abs(len(held) - 60) <= 10 and len(fit) + len(held) == 300


def test_two_groups_a_class_are_enough_and_one_is_not() -> None:
    labels = [0, 0, 0, 1, 1, 1]
    fit, held = hold_out(table(labels, ["a", "a", "b", "c", "d", "d"]), 0.2, seed=0)
    assert set(held.labels.tolist()) == set(fit.labels.tolist()) == {0, 1}
    with pytest.raises(DataError, match=r"class of `1/3.png` to hold out \(it is in the group `c`\)"):
        hold_out(table(labels, ["a", "a", "b", "c", "c", "c"]), 0.2, seed=0)
