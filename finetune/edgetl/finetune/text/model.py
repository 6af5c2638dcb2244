"""An encoder of the BERT family as a classifier: (ids, mask) → logits, and its layers as stages from stem to head."""

from typing import Any, Literal

import msgspec
import torch
import transformers
from torch import Tensor, nn

from edgetl.errors import ArtefactError, ConfigError, suggest
from edgetl.finetune.backbones.registry import head_name
from edgetl.finetune.backbones.stages import Stage

Pooling = Literal["mean", "own"]


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """`padded_positions`: positions are counted from the padding token's id on, so that many are lost."""

    padded_positions: bool = False


FAMILIES = {
    "bert": Family(),
    "distilbert": Family(),
    "roberta": Family(padded_positions=True),
    "xlm-roberta": Family(padded_positions=True),
    "deberta": Family(),
    "deberta-v2": Family(),
    "modernbert": Family(),
}
"""The architectures that train, export and run with any batch and length. MiniLM is `bert`, DeBERTa v3 `deberta-v2`."""


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """`backbone.json`: what builds the network again without the folder or the network it came from.

    `config`: that of transformers. `pooling`: `mean` of the last layer's tokens before a linear head, or the `own`
    head that the weights came with.
    """

    family: str
    pooling: Pooling
    config: dict[str, Any]

    def transformers_config(self) -> Any:
        """Raises ConfigError for a family that edgetl does not know."""
        known_family(self.family)
        try:
            return transformers.AutoConfig.for_model(self.family, **self.config)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ArtefactError(f"the configuration of `{self.family}` does not fit", hint="is it damaged?") from error

    @property
    def longest(self) -> int:
        """Tokens that the positions reach for, special ones included."""
        config = self.transformers_config()
        lost = int(config.pad_token_id or 0) + 1 if FAMILIES[self.family].padded_positions else 0
        return min(int(config.max_position_embeddings) - lost, 8192)

    @property
    def pad_id(self) -> int:
        return int(self.transformers_config().pad_token_id or 0)


def known_family(name: str) -> None:
    """Raises ConfigError."""
    if name not in FAMILIES:
        raise ConfigError(f"`{name}` is no architecture for texts", hint=suggest(name, FAMILIES))


class MeanClassifier(nn.Module):
    """The mean of an encoder's last hidden states over a text's tokens, and a linear head.

    Reimers & Gurevych, "Sentence-BERT", EMNLP 2019, compare it with the first token's state.
    """

    def __init__(self, encoder: nn.Module, labels: int) -> None:
        super().__init__()
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None  # type: ignore[assignment]  # it would never learn
        self.encoder = encoder
        self.head = nn.Linear(int(_config(encoder).hidden_size), labels)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids, mask: int64 (batch, length); returns float32 (batch, labels)."""
        hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1.0)
        logits: Tensor = self.head(pooled)
        return logits


class OwnClassifier(nn.Module):
    """A sequence classifier of transformers with the head it came with."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @property
    def encoder(self) -> nn.Module:
        inner = self.model.base_model
        assert isinstance(inner, nn.Module)
        return inner

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """As `MeanClassifier.forward`."""
        logits: Tensor = self.model(input_ids=ids, attention_mask=mask).logits
        return logits


TextModel = MeanClassifier | OwnClassifier


def classifier(model: nn.Module, pooling: Pooling, labels: int) -> TextModel:
    """A sequence classifier of transformers with its own head, or its encoder with one of `labels` outputs."""
    if pooling == "own":
        return OwnClassifier(model)
    encoder = model.base_model
    assert isinstance(encoder, nn.Module)
    return MeanClassifier(encoder, labels)


def build(architecture: Architecture, labels: int, *, seed: int = 0) -> TextModel:
    """The network with random weights."""
    config = architecture.transformers_config()
    config.num_labels = labels
    torch.manual_seed(seed)
    factory: Any = transformers.AutoModelForSequenceClassification
    model: nn.Module = factory.from_config(config)
    return classifier(model, architecture.pooling, labels)


class Joined(nn.Module):
    """`model` for one tensor: int64 (batch, 2, length) of ids and mask, as a training step gets them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Tensor) -> Tensor:
        logits: Tensor = self.model(batch[:, 0], batch[:, 1])
        return logits


def text_stages(model: TextModel) -> tuple[Stage, ...]:
    """Embeddings, every layer, the head. What belongs to no layer is the stem's; a last norm is the last layer's."""
    lists = [(name, module) for name, module in model.encoder.named_modules() if isinstance(module, nn.ModuleList)]
    prefix = next(name for name, module in model.named_modules() if module is model.encoder)
    inner, layers = next(each for each in lists if len(each[1]) == _config(model.encoder).num_hidden_layers)
    chain = [f"{prefix}.{inner}.{i}" for i in range(len(layers))]
    names = [f"{prefix}.embeddings", *chain, head_name(model)]

    def place(name: str) -> int:
        if not name.startswith(f"{prefix}."):
            return len(names) - 1
        if name.startswith(f"{prefix}.final_norm"):
            return len(chain)
        return next((i for i, layer in enumerate(chain, 1) if name.startswith(f"{layer}.")), 0)

    leaves = [name for name, module in model.named_modules() if _is_leaf(module)]
    return tuple(
        Stage(
            name=stage,
            modules=tuple(name for name in leaves if place(name) == i),
            parameters=tuple(name for name, _ in model.named_parameters() if place(name) == i),
        )
        for i, stage in enumerate(names)
    )


def _is_leaf(module: nn.Module) -> bool:
    return not any(module.children())


def _config(encoder: nn.Module) -> Any:
    return encoder.config
