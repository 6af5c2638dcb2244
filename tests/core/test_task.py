"""The image classification task: answers and scores."""

import msgspec
import numpy as np
import pytest

from edgetl.tasks import ImageClassification, Task
from edgetl.tasks.images import ImageInput

TASK = ImageClassification(labels=("ant", "bee", "wasp"), input=ImageInput(height=8, width=8, resize=8))


def test_the_best_labels_come_first() -> None:
    answers = TASK.postprocess({"probabilities": np.array([[0.2, 0.7, 0.1], [0.5, 0.1, 0.4]])}, top=2)
    assert [each.label for each in answers[0].top] == ["bee", "ant"]
    assert answers[1].label == "ant" and answers[1].top[1].probability == pytest.approx(0.4)


def test_score() -> None:
    assert TASK.score(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])) == {"top1": 0.75}


def test_it_travels_as_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(TASK), type=Task) == TASK


@pytest.mark.parametrize(
    "change",
    [
        {"labels": []},
        {"labels": ["a", "a"]},
        {"std": [0, 1, 1]},
        {"temperature": 0},
        {"input": {"height": 0, "width": 8, "resize": 8}},
        {"input": {"height": 64, "width": 64, "resize": 32}},
    ],
)
def test_nonsense_is_refused(change: dict[str, object]) -> None:
    raw = msgspec.json.encode({**msgspec.to_builtins(TASK), **change})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(raw, type=Task)
