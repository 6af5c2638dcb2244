"""What a detector starts from is a registry backbone, or a folder of transformers with safetensors only."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from edgetl.errors import ArtefactError, ConfigError
from edgetl.finetune.detection.models.architectures import build_detector
from edgetl.finetune.detection.models.graph import write_record
from edgetl.finetune.detection.models.options import DetectorOptions
from edgetl.finetune.detection.models.source import detector_source

SMALL = {
    "encoder_hidden_dim": 32, "encoder_ffn_dim": 64, "d_model": 32, "decoder_in_channels": [32, 32, 32],
    "decoder_ffn_dim": 64, "decoder_layers": 2, "num_queries": 20, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_in_channels": [8, 8, 8], "num_labels": 5,
}  # fmt: skip


def folder_of(kind: str, place: Path) -> Path:
    """A tiny model of five labels as transformers itself saves it."""
    import transformers

    resnet = {"model_type": "rt_detr_resnet", "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1],
              "embedding_size": 8, "layer_type": "basic", "out_indices": [2, 3, 4]}  # fmt: skip
    name = {"rt_detr": "RTDetr", "rt_detr_v2": "RTDetrV2", "d_fine": "DFine"}[kind]
    config = getattr(transformers, f"{name}Config").from_dict({**SMALL, "backbone_config": resnet})
    torch.manual_seed(3)
    getattr(transformers, f"{name}ForObjectDetection")(config).save_pretrained(place)
    return place


def test_a_name_is_a_backbone_of_the_registry() -> None:
    source = detector_source("ssdlite", "residual_cnn", "none", DetectorOptions())
    assert source.backbone is not None and source.backbone.name == "residual_cnn"
    assert source.weights.state is None and source.recipe.std == (0.5, 0.5, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rt_detr", "rt_detr_v2", "d_fine"])
def test_a_folder_of_transformers_becomes_a_detector_of_other_labels(kind: str, tmp_path: Path) -> None:
    """All but the layers that name labels is the folder's; it learns, and the graph's pass is transformers' own."""
    folder = folder_of(kind, tmp_path / "model")
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"size": {"height": 96, "width": 128}, "do_normalize": False})
    )
    source = detector_source("rt-detr", str(folder), "default", DetectorOptions())
    assert source.backbone is None and source.weights.record.origin == "model.safetensors"
    assert (source.recipe.input.height, source.recipe.input.mode, source.recipe.std) == (96, "squash", (1.0, 1.0, 1.0))
    model = build_detector("rt-detr", None, source.weights.state, 3, (96, 128), options=source.options)
    state, kept = {key.removeprefix("net."): value for key, value in model.state_dict().items()}, 0
    for key, value in load_file(folder / "model.safetensors").items():
        if key in state and state[key].shape == value.shape:
            assert torch.equal(state[key], value), key
            kept += 1
    assert kept > 0.9 * len(state)
    pixels = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    losses = model.loss(pixels, [{"boxes": torch.tensor([[5.0, 5, 40, 30]]), "labels": torch.tensor([2])}] * 2)
    assert torch.isfinite(torch.stack(list(losses.values())).sum())
    with torch.inference_mode():
        right = model.eval().net(pixel_values=pixels)  # type: ignore[operator]
        boxes, scores = model.decode(pixels)
    torch.testing.assert_close(scores, right.logits.sigmoid())
    width = (right.pred_boxes[..., 2] * 128).clamp(max=128)
    assert bool((boxes[..., 2] - boxes[..., 0] <= width + 1e-3).all())
    write_record(tmp_path, "rt-detr", None, model)


@pytest.mark.slow
def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = folder_of("rt_detr_v2", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text()) | {"decoder_layers": 3}
    (folder / "config.json").write_text(json.dumps(config))
    source = detector_source("rt-detr", str(folder), "default", DetectorOptions())
    with pytest.raises(ArtefactError, match="the weights do not fit the `rt_detr_v2`"):
        build_detector("rt-detr", None, source.weights.state, 3, (96, 128), options=source.options)


def test_a_folder_that_edgetl_cannot_use_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "yolos"}))
    with pytest.raises(ArtefactError, match="is of a `yolos`"):
        detector_source("rt-detr", str(tmp_path), "default", DetectorOptions())
    with pytest.raises(ConfigError, match="`ssdlite` takes no whole model"):
        detector_source("ssdlite", str(tmp_path), "default", DetectorOptions())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "d_fine"}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02")
    with pytest.raises(ArtefactError, match="is no safetensors file"):
        detector_source("rt-detr", str(tmp_path), str(tmp_path / "pytorch_model.bin"), DetectorOptions())
    with pytest.raises(ArtefactError, match=r"`.*model.safetensors` do not exist"):
        detector_source("rt-detr", str(tmp_path), "default", DetectorOptions())


def test_options_that_make_no_sense_are_refused() -> None:
    for wrong in ({"finest": 4}, {"width": 100}, {"scales": (0.5, 0.1)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            DetectorOptions(**wrong)
