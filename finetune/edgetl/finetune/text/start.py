"""What a run on texts starts from: data, backbone, task and network, read and checked before anything is learned."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from edgetl.errors import ConfigError, DataError
from edgetl.files import sha256_of
from edgetl.finetune.config import DEFAULT_BACKBONE, FinetuneConfig, check_options
from edgetl.finetune.data.leakage import Leakage, find_equal
from edgetl.finetune.start import labels_of
from edgetl.finetune.strategies import AUTO, Strategy, get_strategy, without_effect
from edgetl.finetune.text.backbone import TextBackbone, load, open_backbone
from edgetl.finetune.text.dataset import TextDataset, read_text_dataset
from edgetl.finetune.text.model import TextModel
from edgetl.finetune.text.tokens import TokenTable, needed_length
from edgetl.finetune.training.config import LoopConfig, Value, loop_config
from edgetl.tasks import TextClassification
from edgetl.tasks.text_classification import TextInput
from edgetl.types import Track

LOOP_OPTIONS = frozenset((
    "epochs", "batch_size", "learning_rate", "warmup", "weight_decay", "rate_decay", "freeze", "thaw", "dropout",
    "label_smoothing", "ema", "clip_norm", "imbalance", "metric", "patience", "hold_out", "precision",
))  # fmt: skip
"""What of the training loop texts listen to; the rest is of pixels."""

DEFAULTS: Mapping[str, Value] = {
    # Devlin et al., "BERT", NAACL 2019, appendix A.3: 2 to 4 epochs at 2e-5 to 5e-5; small encoders take a higher rate
    "epochs": 3, "learning_rate": 1e-4, "weight_decay": 0.01, "clip_norm": 1.0, "patience": 2, "label_smoothing": 0.0,
    "dropout": 0.1, "augment": "none",
}  # fmt: skip
BY_STRATEGY: Mapping[str, Mapping[str, Value]] = {
    "from-scratch": {"epochs": 10, "learning_rate": 5e-4},
    "progressive": {"epochs": 4, "thaw": 3},
}


class TextStart(msgspec.Struct, frozen=True, kw_only=True):
    """What is read before anything is learned."""

    config: FinetuneConfig
    backbone: TextBackbone
    data: TextDataset
    leakage: Leakage
    task: TextClassification
    tokens: TokenTable
    tokeniser: str
    model: TextModel
    pretrained: bool
    notes: tuple[str, ...]


def text_start(config: FinetuneConfig, scratch: Path, track: Track) -> TextStart:
    """`scratch`: a folder for what is converted on the way."""
    _check(config)
    pretrained = config.weights != "none" and config.strategy != "from-scratch"
    backbone = open_backbone(config.backbone, weights=pretrained, scratch=scratch)
    kept = _kept_labels(config, backbone) if config.strategy == "none" else None
    data = read_text_dataset(Path(config.data), seed=config.seed, labels=kept, training=kept is None, track=track)
    labels = data.dataset.labels
    task = TextClassification(labels=labels, input=_input(config, backbone, data))
    model, notes = load(backbone, len(labels), weights=pretrained, keep_head=kept is not None, seed=config.seed)
    return TextStart(
        config=config,
        backbone=backbone,
        data=data,
        leakage=find_equal(data.dataset.samples, "text"),
        task=task,
        tokens=TokenTable(data, backbone.tokenizer, task.input, track),
        tokeniser=sha256_of(backbone.tokenizer),
        model=model,
        pretrained=pretrained,
        notes=tuple(notes),
    )


def text_loop(strategy: Strategy, given: Mapping[str, Value]) -> LoopConfig:
    """How texts are trained with this strategy. Raises ConfigError for an unknown or bad value."""
    own = {key: value for key, value in strategy.loop.items() if key in LOOP_OPTIONS}
    return loop_config({**DEFAULTS, **own, **BY_STRATEGY.get(strategy.name, {})}, given)


def _check(config: FinetuneConfig) -> None:
    """Options that texts or the strategy would ignore are mistakes."""
    check_options(config, "text")
    if config.backbone == DEFAULT_BACKBONE:
        hint = "`--backbone FOLDER` or a name on the hub, such as sentence-transformers/all-MiniLM-L6-v2"
        raise ConfigError("texts need a backbone", hint=hint)
    strategy = get_strategy("fine-tune" if config.strategy == AUTO else config.strategy)
    text_loop(strategy, config.loop)
    if foreign := sorted(set(config.loop) - LOOP_OPTIONS):
        raise ConfigError(f"`{foreign[0]}` means nothing for texts", hint="it is an option of `--task image`")
    if config.strategy != AUTO and (ignored := without_effect(strategy, config.loop)):
        hint = "`--strategy fine-tune` trains"
        raise ConfigError(f"`{config.strategy}` trains nothing, so `{ignored[0]}` has no effect", hint=hint)
    if config.weights not in ("default", "none"):
        hint = "`--backbone` takes a folder or a run with its weights; `--weights none` leaves them out"
        raise ConfigError(f"a text backbone's weights cannot be `{config.weights}`", hint=hint)
    if config.weights == "none" and config.strategy not in (AUTO, "from-scratch"):
        hint = "`--strategy from-scratch` trains random weights"
        raise ConfigError(f"`{config.strategy}` starts from weights", hint=hint)
    if config.labels is not None and config.strategy != "none":
        raise ConfigError("`--labels` goes with `--strategy none`", hint="otherwise the column `label` has them")


def _kept_labels(config: FinetuneConfig, backbone: TextBackbone) -> tuple[str, ...]:
    """The labels of the head that is kept. Raises DataError."""
    found = labels_of(config, backbone.labels)
    if backbone.labels is not None and len(found) != len(backbone.labels):
        raise DataError(
            f"the weights have {len(backbone.labels)} outputs, {len(found)} labels were given",
            hint="one label a line, in output order",
        )
    return found


def _input(config: FinetuneConfig, backbone: TextBackbone, data: TextDataset) -> TextInput:
    most, asked = backbone.architecture.longest, config.max_length
    if asked is not None and not 2 <= asked <= most:
        raise ConfigError(f"`{backbone.name}` takes 2 to {most} tokens, not {asked}", hint="change `--max-length`")
    length = asked or needed_length(data, backbone.tokenizer, most, config.seed)
    return TextInput(max_length=length, pad_id=backbone.architecture.pad_id)
