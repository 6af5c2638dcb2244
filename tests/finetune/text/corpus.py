"""A small world of texts: sentences whose words tell their label, a tokeniser of them, and tiny encoders."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

GOOD = ("good", "lovely", "bright", "warm", "clever", "fresh")
BAD = ("bad", "dull", "cold", "stale", "clumsy", "flat")
PLAIN = tuple(f"word{i}" for i in range(40))
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *GOOD, *BAD, *PLAIN)

SIZES = {
    "vocab_size": len(WORDS), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 70, "pad_token_id": 0,
}  # fmt: skip
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False}
FAMILIES: Mapping[str, Mapping[str, object]] = {
    "bert": SIZES,
    "distilbert": {"vocab_size": len(WORDS), "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64,
                   "max_position_embeddings": 70, "pad_token_id": 0},
    "roberta": SIZES,
    "deberta": {**SIZES, **RELATIVE},
    "deberta-v2": {**SIZES, **RELATIVE, "position_buckets": 16, "share_att_key": True, "norm_rel_ebd": "layer_norm"},
    "modernbert": {**SIZES, "local_attention": 8, "global_attn_every_n_layers": 2, "cls_token_id": 2,
                   "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
}  # fmt: skip
"""Every family of `edgetl.finetune.text.model`, as small as it goes."""


def sentence(rng: np.random.Generator, good: bool, *, longest: int = 12) -> str:
    words = [*rng.choice(PLAIN, int(rng.integers(2, longest))), *rng.choice(GOOD if good else BAD, 2)]
    return " ".join(rng.permutation(words))


def write_reviews(path: Path, counts: Mapping[str, int], *, seed: int = 0) -> Path:
    """A .csv with `counts[split]` texts of each label; a split named "" stands empty."""
    rng = np.random.default_rng(seed)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("text", "label", "split"))
        for split, count in counts.items():
            for i in range(2 * count):
                writer.writerow((sentence(rng, i % 2 == 0), ("good", "bad")[i % 2], split))
    return path


def write_backbone(folder: Path, family: str = "bert", *, labels: tuple[str, ...] = (), seed: int = 0) -> Path:
    """A folder in Hugging Face's layout, as `save_pretrained` writes it; with `labels` it has a head of its own."""
    torch.manual_seed(seed)
    config = transformers.AutoConfig.for_model(family, **FAMILIES[family])
    if labels:
        config.num_labels, config.id2label = len(labels), dict(enumerate(labels))
        kind: Any = transformers.AutoModelForSequenceClassification
    else:
        kind = transformers.AutoModel
    model = kind.from_config(config)
    model.save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    special = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def read_lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
