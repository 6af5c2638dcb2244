"""Starting weights: torchvision's published ones, a file, or none; never a pickle that can run code."""

import hashlib
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edgetl.errors import ArtefactError, DependencyError, first_line
from edgetl.files import sha256_of
from edgetl.finetune.backbones.registry import TIMM, Backbone, head_name, head_of, published_weights
from edgetl.run import WeightsRecord
from edgetl.tasks import ImageClassification, Task

METADATA_KEY = "edgetl"
LICENCE_KEYS = ("license", "modelspec.license")
"""Where a safetensors file states its licence: by habit, and by Stability AI's ModelSpec."""

TORCHVISION_LICENCE = (
    "weights published by torchvision under BSD-3-Clause; trained on ImageNet-1K, whose terms allow "
    "non-commercial research"
)


class WeightsMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What edgetl writes into its own weight files, as one key: safetensors does not keep the order of several."""

    task: Task
    licence: str


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """A state dict with its origin. `task` is what the weights' own metadata say about labels and pixels."""

    state: dict[str, Tensor] | None
    record: WeightsRecord
    labels: tuple[str, ...] | None = None
    task: ImageClassification | None = None


def read_weights(backbone: Backbone, source: str) -> Weights:
    """`default`, `none`, or the path of a .safetensors or .pth file, or of a run.

    Raises ArtefactError for a file that holds no weights, DependencyError when a download is impossible.
    """
    if source == "none":
        return Weights(state=None, record=WeightsRecord(origin="random", sha256="", licence="none needed"))
    if source == "default":
        return _published(backbone)
    path = Path(source)
    path = path / "weights.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise ArtefactError(f"the weights `{source}` do not exist", hint="a path, `default` or `none`")
    if path.suffix == ".safetensors":
        return _from_safetensors(path)
    return Weights(state=_read_pth(path), record=_record(backbone, path))


def _record(backbone: Backbone, path: Path) -> WeightsRecord:
    """A file of the user's; one that has the hash which torchvision's file names promise is torchvision's."""
    digest = sha256_of(path)
    for newest in (True, False) if backbone.published else ():
        entry = published_weights(backbone, newest=newest)
        if digest.startswith(_promised(entry)):
            return _published_record(entry, digest)
    return WeightsRecord(origin=path.name, sha256=digest, licence="unknown")


def _promised(entry: Any) -> str:
    """The first digits of the file's SHA-256, which stand at the end of its name."""
    return Path(entry.url).stem.rsplit("-", 1)[-1]


def _published_record(entry: Any, digest: str) -> WeightsRecord:
    licence = f"see {entry.meta['license']}" if "license" in entry.meta else TORCHVISION_LICENCE
    return WeightsRecord(origin=f"torchvision {entry}", sha256=digest, licence=licence, url=entry.url)


def _from_safetensors(path: Path) -> Weights:
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
        state = load_file(path)
        own = msgspec.json.decode(metadata[METADATA_KEY], type=WeightsMetadata) if METADATA_KEY in metadata else None
    except (SafetensorError, msgspec.DecodeError, OSError, ValueError) as error:
        raise ArtefactError(f"`{path}` is no safetensors file: {first_line(error)}", hint="is it complete?") from error
    stated = [metadata[key].strip() for key in LICENCE_KEYS if metadata.get(key, "").strip()]
    licence = own.licence if own else (stated or ["unknown"])[0]
    record = WeightsRecord(origin=path.name, sha256=sha256_of(path), licence=licence)
    task = own.task if own and isinstance(own.task, ImageClassification) else None
    return Weights(state=state, record=record, labels=task.labels if task else None, task=task)


def _read_pth(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about pickle protocols; what matters is refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        # torch's own message advises to run the file's code
        raise ArtefactError(
            f"`{path}` is damaged or holds more than plain tensors",
            hint="save `model.state_dict()`, best as .safetensors",
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    plain = isinstance(content, Mapping) and all(isinstance(key, str) for key in content)
    if not plain or not all(isinstance(v, Tensor) and v.layout == torch.strided for v in content.values()):
        raise ArtefactError(f"`{path}` is no state dict", hint="save `model.state_dict()`")
    return dict(content)


def _published(backbone: Backbone) -> Weights:
    """torchvision's newest weights, from its cache or the network, with the hash its file name carries."""
    if backbone.name.startswith(TIMM):
        raise ArtefactError(
            f"the weights of `{backbone.name}` are not downloaded by edgetl",
            hint="`--weights PATH` with a `model.safetensors` of timm's page on Hugging Face, or `--weights none`",
        )
    if not backbone.published:
        raise ArtefactError(f"no weights are published for `{backbone.name}`", hint="`--weights none` or a path")
    entry = published_weights(backbone, newest=True)
    name = entry.url.rsplit("/", 1)[-1]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    prefix = _promised(entry)
    if not path.is_file():
        _download(entry.url, path, prefix)
    digest = sha256_of(path)
    if not digest.startswith(prefix):
        raise ArtefactError(f"`{path}` does not have the hash its name promises", hint="remove it and try again")
    labels = distinct(entry.meta["categories"])
    return Weights(state=_read_pth(path), record=_published_record(entry, digest), labels=labels)


def _download(url: str, path: Path, prefix: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=False)
    except (URLError, OSError, RuntimeError) as error:
        raise DependencyError(
            f"the weights `{path.name}` cannot be downloaded: {first_line(error)}",
            hint=f"put the file at `{path}`, or pass another with `--weights PATH`",
        ) from error


def build_model(
    backbone: Backbone, state: dict[str, Tensor] | None, classes: int | None, *, seed: int
) -> tuple[nn.Module, list[str]]:
    """The backbone with `state` loaded and a head of `classes` outputs (None keeps the weights' own).

    A head of another size is dropped, and so is what only the published file has, which the returned notes say.
    Raises ArtefactError that names the keys for any other mismatch, and when a head that edgetl replaces is to be kept.
    """
    torch.manual_seed(seed)
    if state is None:
        return backbone.build(classes or 1000), []
    state, notes = _without_extras(backbone, state, classes)
    model = backbone.build(classes or 2)
    head = head_name(model)
    own = state.get(f"{head}.weight")
    outputs = own.shape[0] if own is not None and own.ndim == 2 else None
    if backbone.head_without_bias and outputs is not None:
        state = {f"{head}.bias": torch.zeros(outputs), **state}
    if outputs is not None and classes in (None, outputs):
        model = backbone.build(outputs)
    elif classes is not None:
        fresh = model.state_dict()
        state = {key: value for key, value in state.items() if not key.startswith(f"{head}.")}
        state |= {f"{head}.weight": fresh[f"{head}.weight"], f"{head}.bias": fresh[f"{head}.bias"]}
        notes.append(f"dropped the weights' own head ({outputs or 'no'} outputs) for one of {classes}")
    _load(model, state, backbone.name)
    return model, notes


def _without_extras(
    backbone: Backbone, state: dict[str, Tensor], classes: int | None
) -> tuple[dict[str, Tensor], list[str]]:
    """The state under the module's own names, without auxiliary heads and a head of another kind, and notes."""
    for old, new in backbone.renamed:
        state = {key.replace(old, new): value for key, value in state.items()}
    notes = []
    if auxiliary := [key for key in state if key.startswith(backbone.left_out)]:
        state = {key: value for key, value in state.items() if key not in auxiliary}
        notes.append(f"dropped the weights' auxiliary heads ({len(auxiliary)} tensors)")
    foreign = [key for key in state if backbone.foreign_head and key.startswith(backbone.foreign_head)]
    if foreign and classes is None:
        raise ArtefactError(
            f"the head of these weights (`{foreign[0]}`) cannot be kept: `{backbone.name}` has a linear head here",
            hint="`--strategy feature-extraction` fits a head to your classes",
        )
    if foreign:
        notes.append(f"the weights' own head (`{foreign[0]}`) is no linear layer")
    return {key: value for key, value in state.items() if key not in foreign}, notes


def _load(model: nn.Module, state: dict[str, Tensor], name: str) -> None:
    wanted = model.state_dict()
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    problems = [f"lacks `{key}`" for key in wanted if key not in state and key not in counters]
    problems += [f"has `{key}`, which the architecture has not" for key in state if key not in wanted]
    problems += [
        f"has `{key}` of shape {tuple(state[key].shape)} for {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    kinds = {key: value.dtype for key, value in wanted.items() if key in state}
    problems += [
        f"has `{key}` as {state[key].dtype} for {kind}" for key, kind in kinds.items() if not _fits(state[key], kind)
    ]
    problems += [
        f"has values in `{key}` that are not finite" for key in kinds if not bool(torch.isfinite(state[key]).all())
    ]
    if problems:
        shown = "; ".join(problems[:4]) + (f"; and {len(problems) - 4} more" if len(problems) > 4 else "")
        raise ArtefactError(f"the weights do not fit `{name}`: the file {shown}", hint="is it another architecture?")
    versioned = OrderedDict(state)
    # what a pickled state dict would say: the version of each module's own layout, without which some refuse to load
    versioned._metadata = wanted._metadata  # type: ignore[attr-defined]
    model.load_state_dict(versioned, strict=False)


def _fits(value: Tensor, kind: torch.dtype) -> bool:
    return value.is_floating_point() == kind.is_floating_point and not value.is_complex()


def save_weights(path: Path, model: nn.Module, task: Task, licence: str) -> None:
    """Writes a safetensors file that says what its labels and input are."""
    metadata = {METADATA_KEY: msgspec.json.encode(WeightsMetadata(task=task, licence=licence)).decode()}
    state = {key: value.detach().contiguous() for key, value in model.state_dict().items()}
    save_file(state, path, metadata=metadata)


def distinct(labels: list[str]) -> tuple[str, ...]:
    """Labels made unique: one that stands twice (ImageNet has a bird and a machine `crane`) gets its index."""
    twice = {label for label in labels if labels.count(label) > 1}
    return tuple(f"{label} ({i})" if label in twice else label for i, label in enumerate(labels))


def source_head(weights: Weights, model: nn.Module) -> nn.Linear | None:
    """The head the weights came with, when it fits the backbone's features; `model` says how wide these are."""
    name = head_name(model)
    weight, bias = (None if weights.state is None else weights.state.get(f"{name}.{key}") for key in ("weight", "bias"))
    if weight is None or bias is None or weight.ndim != 2 or weight.shape[1] != head_of(model).in_features:
        return None
    head = nn.Linear(weight.shape[1], weight.shape[0])
    head.load_state_dict({"weight": weight, "bias": bias})
    return head


def state_digest(model: nn.Module) -> str:
    """SHA-256 over names and values of all tensors: the identity of a feature extractor."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
