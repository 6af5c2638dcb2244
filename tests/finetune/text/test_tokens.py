"""Lengths and batches: what is cut, what is padded, and that batches hold texts of one length."""

from pathlib import Path

import numpy as np
from tests.finetune.text.corpus import write_backbone

from edgetl.finetune.text.dataset import read_text_dataset
from edgetl.finetune.text.feeds import by_length
from edgetl.finetune.text.tokens import TokenTable, needed_length
from edgetl.tasks.text_classification import TextInput
from edgetl.types import silent

TABLE = "text,label\n" + "".join(f"{'word1 ' * (1 + i % 20)},{'xy'[i % 2]}\n" for i in range(400))


def test_the_length_covers_the_data_and_never_more_than_the_model(tmp_path: Path) -> None:
    """Texts of 1 to 20 words, with two special tokens: 22, rounded up to 24."""
    (tmp_path / "t.csv").write_text(TABLE)
    data = read_text_dataset(tmp_path / "t.csv", seed=0)
    tokenizer = write_backbone(tmp_path / "b") / "tokenizer.json"
    assert needed_length(data, tokenizer, 512, 0) == 24
    assert needed_length(data, tokenizer, 10, 0) == 10


def test_a_cut_text_keeps_its_last_special_token_and_padding_is_masked(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    data = read_text_dataset(tmp_path / "t.csv", seed=0)
    tokenizer = write_backbone(tmp_path / "b") / "tokenizer.json"
    table = TokenTable(data, tokenizer, TextInput(max_length=6, pad_id=7), silent)
    batch = table.batch(np.array([0, 19]))
    assert batch.tolist() == [
        [[2, 17, 3, 7, 7, 7], [1, 1, 1, 0, 0, 0]],
        [[2, 17, 17, 17, 17, 3], [1, 1, 1, 1, 1, 1]],
    ]


def test_batches_have_one_length_and_other_neighbours_every_epoch() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 60, 1000)
    arrange = by_length(lengths, 8)
    epochs = [arrange(np.random.default_rng(epoch).permutation(1000), np.random.default_rng(epoch)) for epoch in (1, 2)]
    again = arrange(np.random.default_rng(1).permutation(1000), np.random.default_rng(1))
    assert all(sorted(order.tolist()) == [*range(1000)] for order in epochs) and (again == epochs[0]).all()
    assert {*epochs[0][:8].tolist()} != {*epochs[1][:8].tolist()}
    longest = lengths[epochs[0]].reshape(-1, 8).max(axis=1)
    assert 8 * longest.sum() < 1.1 * lengths.sum()
    assert np.abs(np.diff(longest)).mean() > 5, "short and long batches come in turns"


def test_few_texts_are_left_in_their_order() -> None:
    order = np.arange(5)
    assert by_length(np.ones(5, np.int64), 8)(order, np.random.default_rng(0)).tolist() == order.tolist()
