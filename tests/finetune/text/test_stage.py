"""What a user counts on when texts are learned: a whole run, the frozen part frozen, the same again, clear refusals."""

import json
import shutil
import signal
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tomllib
import torch
from safetensors.torch import load_file, save_file
from tests.conftest import Cli
from tests.finetune.text.conftest import asked
from tests.finetune.text.corpus import read_lines, write_backbone, write_reviews

from edgetl.errors import ArtefactError, ConfigError, DataError, DependencyError
from edgetl.finetune.config import FinetuneConfig
from edgetl.finetune.text.model import text_stages
from edgetl.finetune.text.rebuild import open_text_model
from edgetl.finetune.text.stage import finetune
from edgetl.finetune.training.config import Value
from edgetl.run import open_run, texts
from edgetl.tasks import TextClassification


def test_a_run_is_whole_and_answers_as_it_did(text_run: Path) -> None:
    """The run alone gives the network back; its answers have the accuracy that run.json states."""
    run, task, samples = open_run(text_run)
    assert isinstance(task, TextClassification) and task.labels == ("bad", "good")
    assert {"texts.json", "tokenizer.json", "backbone.json"} <= set(run.files)
    model = open_text_model(text_run, run, task)
    shown = texts(text_run)
    held = [i for i, sample in enumerate(samples) if sample.split == "val"]
    prepared = task.preparation(lambda name: text_run / name)([shown[i] for i in held])
    with torch.inference_mode():
        logits = model(*(torch.from_numpy(prepared.feeds[name]) for name in ("ids", "mask"))).numpy()
    right = logits.argmax(1) == np.array([samples[i].label for i in held])
    assert right.mean() == run.metrics["top1"] > 0.9
    assert run.backbone == "tiny" and run.headline == "val"


def test_the_report_shows_wrong_answers_as_texts(text_run: Path) -> None:
    page = (text_run / "report.html").read_text()
    assert "On 120 val texts" in page and "up to 16 tokens" in page and "images" not in page


@pytest.mark.slow
def test_the_configuration_of_a_run_does_the_same_again(text_run: Path, tmp_path: Path) -> None:
    config = tomllib.loads((text_run / "config.toml").read_text())
    assert "mixup" not in config["loop"] and "size" not in config and "detector" not in config
    finetune(msgspec.convert(config, FinetuneConfig), tmp_path / "again")
    one, other = (load_file(folder / "weights.safetensors") for folder in (text_run, tmp_path / "again"))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("strategy", "options", "learned"),
    [
        ("feature-extraction", None, [False, False, False, True]),
        ("partial", {"freeze": "2"}, [False, False, True, True]),
        pytest.param(
            "partial", {"freeze": "encoder.encoder.layer.1"}, [False, False, False, True], marks=pytest.mark.slow
        ),
        pytest.param("progressive", {"epochs": 4}, [True] * 4, marks=pytest.mark.slow),
        pytest.param("layer-wise", {}, [True] * 4, marks=pytest.mark.slow),
        pytest.param("full", {}, [True] * 4, marks=pytest.mark.slow),
    ],
)
def test_exactly_the_frozen_layers_stay_as_they_were(
    reviews: Path, encoder: Path, tmp_path: Path, strategy: str, options: dict[str, Value] | None, learned: list[bool]
) -> None:
    """Embeddings, two layers, head; fitting the head alone takes none of the loop's options."""
    config = asked(reviews, encoder, strategy, **(options or {}))
    if options is None:
        config = msgspec.structs.replace(config, loop={"precision": "fp32"})
    finetune(config, tmp_path / "r")
    run, task, _ = open_run(tmp_path / "r")
    assert isinstance(task, TextClassification)
    new = load_file(tmp_path / "r" / "weights.safetensors")
    old = {f"encoder.{key}": value for key, value in load_file(encoder / "model.safetensors").items()}
    stages = text_stages(open_text_model(tmp_path / "r", run, task))  # type: ignore[arg-type]
    changed = [any(key not in old or not torch.equal(old[key], new[key]) for key in each.parameters) for each in stages]
    assert changed == learned


@pytest.mark.slow
def test_embeddings_are_computed_once(reviews: Path, encoder: Path, tmp_path: Path) -> None:
    config = asked(reviews, encoder, "feature-extraction")
    config = msgspec.structs.replace(config, loop={}, max_length=11)
    counts = []
    for name in ("one", "two"):
        finetune(config, tmp_path / name)
        counts.append(open_run(tmp_path / name)[0].compute["texts_computed"])
    assert counts == [160, 0]


@pytest.mark.slow
def test_auto_measures_and_says_why(reviews: Path, encoder: Path, tmp_path: Path) -> None:
    result = finetune(asked(reviews, encoder, "auto"), tmp_path / "r")
    assert "training texts" in result.reason and "images" not in result.reason
    assert result.strategy in ("feature-extraction", "layer-wise", "fine-tune")


@pytest.mark.slow
def test_a_test_split_is_the_headline_and_val_chooses_the_epoch(encoder: Path, tmp_path: Path) -> None:
    data = write_reviews(tmp_path / "t.csv", {"train": 40, "val": 30, "test": 30})
    config = asked(data, encoder, "fine-tune", epochs=6, learning_rate=0.03, warmup=1.0, patience=2)
    result = finetune(config, tmp_path / "r")
    lines = read_lines(tmp_path / "r" / "metrics.jsonl")
    assert result.headline == "test" and result.samples == 60
    assert result.selection == max(line["val_metric"] for line in lines)  # type: ignore[type-var]


@pytest.mark.slow
def test_an_interrupted_training_resumes_to_the_same_weights(reviews: Path, encoder: Path, tmp_path: Path) -> None:
    """Stopped after its second epoch by what the observer raises; dropout and averaging are on."""
    config = asked(reviews, encoder, "fine-tune", ema=0.9, epochs=4)
    finetune(config, tmp_path / "whole")

    def stop(epoch: object) -> None:
        if getattr(epoch, "epoch", 0) == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        finetune(config, tmp_path / "r", observe=stop)
    assert not (tmp_path / "r").exists()
    with pytest.raises(ConfigError, match="an unfinished run"):
        finetune(config, tmp_path / "r")
    finetune(config, tmp_path / "r", resume=True)
    one, other = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "r"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_run_is_a_backbone_and_keeps_its_head(text_run: Path, reviews: Path, tmp_path: Path) -> None:
    config = msgspec.structs.replace(asked(reviews, text_run, "none"), loop={})
    result = finetune(config, tmp_path / "kept")
    assert result.metrics["top1"] == open_run(text_run)[0].metrics["top1"]


def test_a_head_of_transformers_keeps_its_labels(reviews: Path, tmp_path: Path) -> None:
    folder = write_backbone(tmp_path / "b", labels=("good", "bad"))
    config = msgspec.structs.replace(asked(reviews, folder, "none"), loop={})
    finetune(config, tmp_path / "kept")
    run, task, _ = open_run(tmp_path / "kept")
    assert (
        task.labels == ("good", "bad") and json.loads((tmp_path / "kept/backbone.json").read_text())["pooling"] == "own"
    )
    assert isinstance(task, TextClassification) and open_text_model(tmp_path / "kept", run, task)
    other = write_reviews(tmp_path / "t.csv", {"train": 10, "val": 5})
    other.write_text(other.read_text().replace(",bad,", ",awful,"))
    with pytest.raises(DataError, match="the class `awful` is none of the weights' labels"):
        finetune(msgspec.structs.replace(config, data=str(other)), tmp_path / "other")


@pytest.mark.slow
def test_the_temperature_is_fitted_to_texts_set_aside(encoder: Path, tmp_path: Path) -> None:
    data = write_reviews(tmp_path / "t.csv", {"train": 200, "val": 30})
    finetune(asked(data, encoder, "fine-tune", hold_out=0.3, epochs=2), tmp_path / "r")
    _, task, _ = open_run(tmp_path / "r")
    assert isinstance(task, TextClassification) and task.temperature != 1.0


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"loop": {"mixup": 0.2}}, "`mixup` means nothing for texts", "--task image"),
        ({"loop": {"epoch": 2}}, "epoch", "did you mean `epochs`"),
        ({"size": 96}, "`--size` means nothing for text", "--task image"),
        ({"skip_bad_images": True}, "`--skip-bad-images` means nothing", "--task image"),
        ({"compare_scratch": True}, "`--compare-scratch` means nothing", "--task image"),
        ({"max_length": 4096}, "takes 2 to 70 tokens, not 4096", "--max-length"),
        ({"backbone": "mobilenet_v2"}, "texts need a backbone", "MiniLM"),
        ({"weights": "elsewhere.safetensors"}, "cannot be `elsewhere.safetensors`", "--backbone"),
        ({"weights": "none"}, "`fine-tune` starts from weights", "from-scratch"),
        ({"strategy": "feature-extraction", "loop": {"epochs": 2}}, "trains nothing, so `epochs`", "fine-tune"),
        ({"loop": {"freeze": "layer.9"}}, "no stage below the head is called `layer.9`", "a stage"),
    ],
)
def test_an_option_that_means_nothing_is_refused(
    reviews: Path, encoder: Path, tmp_path: Path, change: dict[str, object], message: str, hint: str
) -> None:
    config = msgspec.structs.replace(asked(reviews, encoder, "fine-tune"), **change)
    with pytest.raises(ConfigError, match=message) as caught:
        finetune(config, tmp_path / "r")
    assert hint in (caught.value.hint or "") and not [*tmp_path.iterdir()]


def test_images_refuse_the_options_of_texts(dataset: Path, tmp_path: Path) -> None:
    from edgetl.finetune.stage import finetune as finetune_images

    with pytest.raises(ConfigError, match="`--max-length` means nothing for image"):
        finetune_images(FinetuneConfig(data=str(dataset), max_length=8), tmp_path / "r")
    with pytest.raises(ConfigError, match="the task is `text`, not `image`"):
        finetune_images(FinetuneConfig(data=str(dataset), task="text"), tmp_path / "r")


def test_a_folder_that_is_no_backbone_says_what_it_lacks(reviews: Path, tmp_path: Path) -> None:
    def refusal(name: str) -> str:
        with pytest.raises(ArtefactError) as caught:
            finetune(asked(reviews, tmp_path / name, "fine-tune"), tmp_path / "r")
        return str(caught.value)

    whole = write_backbone(tmp_path / "whole")
    for name in ("pickled", "lacking", "unsplit", "foreign", "endless", "empty"):
        shutil.copytree(whole, tmp_path / name)
    (tmp_path / "pickled/model.safetensors").rename(tmp_path / "pickled/pytorch_model.bin")
    assert "no .safetensors file" in refusal("pickled") and "edgetl reads no pickles" in refusal("pickled")
    state = load_file(whole / "model.safetensors")
    key = "encoder.layer.1.output.dense.weight"
    save_file({name: value for name, value in state.items() if name != key}, tmp_path / "lacking/model.safetensors")
    assert f"lack `bert.{key}`" in refusal("lacking")
    (tmp_path / "unsplit/tokenizer.json").unlink()
    assert "no tokenizer.json" in refusal("unsplit")
    vocabulary = (whole / "tokenizer.json").read_text().replace('"word0": 16', '"word0": 160')
    assert vocabulary != (whole / "tokenizer.json").read_text()
    (tmp_path / "foreign/tokenizer.json").write_text(vocabulary)
    assert "has the token id 160, the model knows 56" in refusal("foreign")
    save_file({**state, key: torch.full_like(state[key], torch.inf)}, tmp_path / "endless/model.safetensors")
    assert "not finite" in refusal("endless")
    (tmp_path / "empty/config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ConfigError, match="`gpt2` is no architecture for texts"):
        finetune(asked(reviews, tmp_path / "empty", "fine-tune"), tmp_path / "r")


def test_a_hub_that_cannot_be_reached_is_a_missing_dependency(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's own switch for machines without a network; nothing of the name is in its cache."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DependencyError, match="`someone/somewhere` is no folder here and cannot be fetched") as caught:
        finetune(asked(reviews, Path("someone/somewhere"), "fine-tune"), tmp_path / "r")
    assert "pass a folder" in (caught.value.hint or "")


def test_a_damaged_backbone_file_of_a_run_is_found(text_run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(text_run, tmp_path / "copy"))
    run, task, _ = open_run(copy)
    assert isinstance(task, TextClassification)
    (copy / "backbone.json").write_text((copy / "backbone.json").read_text().replace('"mean"', '"own"'))
    with pytest.raises(ArtefactError, match=r"is not what run\.json says"):
        open_text_model(copy, run, task)


def test_the_command_line_learns_from_texts(reviews: Path, encoder: Path, tmp_path: Path, cli: Cli) -> None:
    options = ("--task", "text", "--backbone", encoder, "--strategy", "feature-extraction", "--max-length", 12)
    done = cli("finetune", reviews, *options, "-o", tmp_path / "r", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["top1"] > 0.6
    refused = cli("finetune", reviews, *options, "--mixup", 0.2, "-o", tmp_path / "other")
    assert refused.exit_code == 2 and "`mixup` means nothing for texts" in refused.stderr
