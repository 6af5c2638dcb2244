"""Where a text backbone comes from: a folder in Hugging Face's layout, a name on its hub, or a run of edgetl."""

import json
import re
from pathlib import Path
from typing import Any

import huggingface_hub
import msgspec
import torch
import transformers
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import nn

from edgetl.errors import ArtefactError, DependencyError, first_line
from edgetl.files import read_json, sha256_of
from edgetl.finetune.backbones.quiet import quiet
from edgetl.finetune.backbones.registry import head_name
from edgetl.finetune.text.model import Architecture, Pooling, TextModel, build, classifier, known_family
from edgetl.finetune.text.rebuild import ARCHITECTURE, WEIGHTS, fill, read_state
from edgetl.run import WeightsRecord, open_run

HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
WANTED = ("config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer.json", "tokenizer_config.json",
          "special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt", "*.model", "README.md")  # fmt: skip
"""What is fetched from the hub: never a pickle, never code."""

VOCABULARIES = ("vocab.txt", "vocab.json", "*.model")
"""What a tokeniser can be made of."""

LICENCE = re.compile(r"^license:\s*([\w.+-]+)\s*$", re.MULTILINE)
NAMELESS = re.compile(r"LABEL_\d+")

RANDOM = WeightsRecord(origin="random", sha256="", licence="none needed")


class TextBackbone(msgspec.Struct, frozen=True, kw_only=True):
    """An architecture with its tokeniser's file and its folder. `labels`: those of the head it came with."""

    name: str
    folder: Path
    architecture: Architecture
    tokenizer: Path
    record: WeightsRecord
    labels: tuple[str, ...] | None = None


def open_backbone(source: str, *, weights: bool, scratch: Path) -> TextBackbone:
    """The backbone `source`; without `weights` its tensors are not needed. `scratch`: a folder for what is converted.

    Raises ArtefactError for a folder that lacks something, ConfigError for a family that edgetl does not know,
    DependencyError when the hub cannot be reached.
    """
    folder = Path(source)
    if not folder.is_dir():
        folder = _fetched(source)
    if (folder / ARCHITECTURE).is_file():
        return _of_run(folder)
    if not (folder / "config.json").is_file():
        raise ArtefactError(f"`{folder}` has no config.json", hint="a folder that `save_pretrained` wrote, or a run")
    config = _plain_config(folder)
    family = str(config.get("model_type", ""))
    known_family(family)
    files = sorted(folder.glob("*.safetensors"))
    if weights and not files:
        hint = "edgetl reads no pickles: load and save the model with transformers, which writes safetensors"
        raise ArtefactError(f"`{folder}` has no .safetensors file", hint=hint)
    own = weights and str((config.get("architectures") or [""])[0]).endswith("ForSequenceClassification")
    pooling: Pooling = "own" if own else "mean"
    architecture = Architecture(family=family, pooling=pooling, config=_kept(config))
    tokenizer = _tokenizer(folder, scratch)
    _check_ids(tokenizer, int(architecture.transformers_config().vocab_size))
    return TextBackbone(
        name=_name(source, folder, config),
        folder=folder,
        architecture=architecture,
        tokenizer=tokenizer,
        record=_record(source, folder, files) if weights else RANDOM,
        labels=_named(config) if own else None,
    )


def _fetched(source: str) -> Path:
    """The folder of the hub's repository `source` in its local cache, fetched where the network allows."""
    if not HUB_NAME.fullmatch(source):
        raise ArtefactError(f"the backbone `{source}` does not exist", hint="a folder, or a name on the hub")
    try:
        return Path(huggingface_hub.snapshot_download(source, allow_patterns=list(WANTED)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, RuntimeError) as error:
        raise DependencyError(
            f"the backbone `{source}` is no folder here and cannot be fetched: {first_line(error)}",
            hint="pass a folder with config.json, model.safetensors and tokenizer.json as `--backbone`",
        ) from error


def _of_run(folder: Path) -> TextBackbone:
    run, task, _ = open_run(folder)
    return TextBackbone(
        name=run.backbone,
        folder=folder,
        architecture=read_json(folder / ARCHITECTURE, Architecture),
        tokenizer=folder / "tokenizer.json",
        record=WeightsRecord(
            origin=run.name, sha256=run.files[WEIGHTS], licence=run.weights.licence, url=run.weights.url
        ),
        labels=task.labels,
    )


def _name(source: str, folder: Path, config: dict[str, Any]) -> str:
    """The hub's name where one is known, else that of the folder: a path would tell who made the run."""
    if not Path(source).is_dir():
        return source
    said = str(config.get("_name_or_path", ""))
    return said if HUB_NAME.fullmatch(said) else folder.resolve().name


def _plain_config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(f"`{folder / 'config.json'}` cannot be read: {first_line(error)}") from error
    if not isinstance(found, dict):
        raise ArtefactError(f"`{folder / 'config.json'}` is no configuration", hint="write it again")
    return found


LEFT_OUT = ("_name_or_path", "architectures", "auto_map", "dtype", "id2label", "label2id", "model_type", "num_labels",
            "torch_dtype", "transformers_version", "problem_type")  # fmt: skip
"""What says nothing about the network: names, labels, remote code."""


def _kept(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in LEFT_OUT}


def _named(config: dict[str, Any]) -> tuple[str, ...] | None:
    """The labels of the head, where somebody gave them names."""
    table = config.get("id2label") or {}
    names = [str(table[key]) for key in sorted(table, key=int)]
    return None if not names or all(NAMELESS.fullmatch(name) for name in names) else tuple(names)


def _record(source: str, folder: Path, files: list[Path]) -> WeightsRecord:
    readme = folder / "README.md"
    stated = LICENCE.search(readme.read_text(encoding="utf-8", errors="replace")[:4096]) if readme.is_file() else None
    on_hub = not Path(source).is_dir()
    return WeightsRecord(
        origin=source if on_hub else f"{folder.name}/{files[0].name}",
        sha256=sha256_of(files[0]),
        licence=stated[1] if stated else "unknown",
        url=f"https://huggingface.co/{source}" if on_hub else "",
    )


def _tokenizer(folder: Path, scratch: Path) -> Path:
    """`tokenizer.json`; where there is none, what transformers makes of the older files."""
    if (folder / "tokenizer.json").is_file():
        return folder / "tokenizer.json"
    hint = "`AutoTokenizer.from_pretrained(…).save_pretrained(FOLDER)` writes it"
    if not any(path for pattern in VOCABULARIES for path in folder.glob(pattern)):
        # transformers would make an empty one up
        raise ArtefactError(f"`{folder}` has no tokenizer.json and no vocabulary", hint=hint)
    try:
        with quiet():
            converted: Any = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        converted.backend_tokenizer.save(str(scratch / "tokenizer.json"))
    except (OSError, ValueError, ImportError, AttributeError, TypeError, KeyError) as error:
        raise ArtefactError(f"`{folder}` has no tokenizer.json, and none can be made of it", hint=hint) from error
    return scratch / "tokenizer.json"


def _check_ids(tokenizer: Path, rows: int) -> None:
    """An id that the network's table of embeddings does not have would end the training. Raises ArtefactError."""
    try:
        ids = Tokenizer.from_file(str(tokenizer)).get_vocab(with_added_tokens=True).values()
    except Exception as error:  # the library raises nothing more special
        raise ArtefactError(f"`{tokenizer}` is no tokeniser: {first_line(error)}", hint="save it again") from error
    if max(ids, default=0) >= rows:
        raise ArtefactError(
            f"`{tokenizer}` has the token id {max(ids)}, the model knows {rows} of them",
            hint="is the tokeniser another model's?",
        )


def load(
    backbone: TextBackbone, labels: int, *, weights: bool, keep_head: bool, seed: int
) -> tuple[TextModel, list[str]]:
    """The network with its weights and a head of `labels` outputs, and notes; the head is random unless it is kept.

    Raises ArtefactError when the weights do not fit the architecture.
    """
    if not weights:
        return build(backbone.architecture, labels, seed=seed), []
    torch.manual_seed(seed)
    if (backbone.folder / ARCHITECTURE).is_file():
        model = build(backbone.architecture, len(backbone.labels or ()), seed=seed)
        fill(model, read_state(backbone.folder / WEIGHTS), backbone.folder / WEIGHTS)
    else:
        model = _pretrained(backbone, labels)
    _check_finite(model, backbone.name)
    if keep_head:
        return model, []
    old = model.get_submodule(head_name(model))
    assert isinstance(old, nn.Linear)
    torch.manual_seed(seed)
    model.set_submodule(head_name(model), nn.Linear(old.in_features, labels))
    came = backbone.architecture.pooling == "own" or backbone.labels is not None
    return model, [f"dropped the weights' own head ({old.out_features} outputs) for one of {labels}"] if came else []


def _pretrained(backbone: TextBackbone, labels: int) -> TextModel:
    """Through transformers, which knows older names of tensors too; only what a head may lack may be missing."""
    try:
        with quiet():
            model, found = transformers.AutoModelForSequenceClassification.from_pretrained(
                backbone.folder, use_safetensors=True, trust_remote_code=False, local_files_only=True,
                dtype=torch.float32, output_loading_info=True,
            )  # fmt: skip
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        hint = "is it complete, and of this architecture?"
        raise ArtefactError(f"`{backbone.folder}` cannot be loaded: {first_line(error)}", hint=hint) from error
    encoder = f"{model.base_model_prefix}."
    own = backbone.architecture.pooling == "own"
    lacking = [key for key in found["missing_keys"] if own or (key.startswith(encoder) and ".pooler." not in key)]
    if lacking:
        raise ArtefactError(
            f"the weights of `{backbone.name}` lack `{min(lacking)}`", hint="are they of this architecture?"
        )
    return classifier(model, backbone.architecture.pooling, labels)


def _check_finite(model: nn.Module, name: str) -> None:
    for key, value in model.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            raise ArtefactError(f"the weights of `{name}` have values in `{key}` that are not finite")
