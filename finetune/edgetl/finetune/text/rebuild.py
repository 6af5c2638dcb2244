"""The network of a run, built from the run's folder alone."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from edgetl.errors import ArtefactError, first_line
from edgetl.files import read_json, sha256_of
from edgetl.finetune.text.model import Architecture, TextModel, build
from edgetl.run import Run
from edgetl.tasks import TextClassification

ARCHITECTURE = "backbone.json"
WEIGHTS = "weights.safetensors"


def open_text_model(path: Path, run: Run, task: TextClassification) -> nn.Module:
    """The trained network of the run `path`, in evaluation mode: (ids, mask) → logits; both int64 (batch, length).

    Raises ArtefactError when a file is damaged or does not fit.
    """
    if sha256_of(path / ARCHITECTURE) != run.files.get(ARCHITECTURE):
        raise ArtefactError(f"`{path / ARCHITECTURE}` is not what run.json says", hint="run `edgetl finetune` again")
    model = build(read_json(path / ARCHITECTURE, Architecture), len(task.labels))
    fill(model, read_state(path / WEIGHTS), path / WEIGHTS)
    return model.eval()


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises ArtefactError."""
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtefactError(f"`{path}` is no safetensors file: {first_line(error)}", hint="is it complete?") from error


def fill(model: TextModel, state: dict[str, Tensor], path: Path) -> None:
    """Loads exactly the tensors that `model` has. Raises ArtefactError that names the first that does not fit."""
    wanted = model.state_dict()
    problems = [f"lacks `{key}`" for key in wanted if key not in state]
    problems += [f"has `{key}`, which the architecture has not" for key in state if key not in wanted]
    problems += [
        f"has `{key}` of shape {tuple(state[key].shape)} for {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    if problems:
        raise ArtefactError(f"the weights `{path}` do not fit: the file {problems[0]}", hint="is it another model's?")
    model.load_state_dict(state)
