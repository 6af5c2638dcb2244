"""The graph that ships: it agrees with torch, says what it is made of and nothing of the machine, and is one file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from tests.export.families import MEMBERS, Member, as_if_trained, compare, task_of
from tests.export.models import photo_source
from torch import Tensor, nn

from edgetl.errors import ArtefactError, ConfigError
from edgetl.export.golden import synthetic_golden
from edgetl.export.graph import finish
from edgetl.finetune.backbones.registry import get_backbone
from edgetl.finetune.graph import deploy, export_onnx, torch_predictor
from edgetl.runtime.engines import open_engine
from edgetl.types import Pixels

SMALL = next(member for member in MEMBERS if member.name == "residual_cnn")
INPUTS = task_of(SMALL).inputs

WRITE = """
import sys, torch
from pathlib import Path
from tests.export.families import MEMBERS, task_of
from edgetl.export.graph import finish
from edgetl.finetune.backbones.registry import get_backbone
from edgetl.finetune.graph import deploy, export_onnx
torch.manual_seed(0)
member = next(member for member in MEMBERS if member.name == "residual_cnn")
path = Path(sys.argv[1])
export_onnx(deploy(get_backbone("residual_cnn").build(3), task_of(member)), task_of(member).inputs, path)
finish(path, task_of(member).inputs)
"""


def pixels(count: int, side: int = 32) -> Pixels:
    return np.random.default_rng(1).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return get_backbone("residual_cnn").build(3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    export_onnx(deploy(small_model(), task_of(SMALL)), task_of(SMALL).inputs, path)
    finish(path, INPUTS)
    return path


def test_names_are_those_of_the_modules(finished: Path) -> None:
    graph = onnx.load(finished).graph
    nodes = [node.name for node in graph.node]
    assert len(set(nodes)) == len(nodes)
    modules = dict(deploy(small_model(), task_of(SMALL)).named_modules())
    for node in graph.node:
        module, _, operator = node.name.rpartition("/")
        assert module in modules and operator.split("_")[0] == node.op_type
        assert node.output[0] in (node.name, "logits", "probabilities")
    assert {"model.stem.0/Conv", "model.stages.0.body.2/Relu", "model.stages.0/Add", "model.head/Gemm"} <= set(nodes)
    assert {"model.stem.0.weight", "model.head.weight"} <= {tensor.name for tensor in graph.initializer}


def test_every_tensor_has_a_shape_and_only_the_batch_is_dynamic(finished: Path) -> None:
    model = onnx.load(finished)
    onnx.checker.check_model(model, full_check=True)
    shapes = {value.name: value.type.tensor_type.shape.dim for value in (*model.graph.value_info, *model.graph.output)}
    for node in model.graph.node:
        axes = [axis.dim_param or axis.dim_value for axis in shapes[node.output[0]]]
        assert axes[0] == "batch" and all(isinstance(axis, int) for axis in axes[1:])


def test_nothing_of_the_machine_is_in_the_file(finished: Path) -> None:
    content = finished.read_bytes()
    for word in (b"/edgetl/", b"site-packages", b"torch", b"forward", b"File ", b".py"):
        assert word not in content
    model = onnx.load(finished)
    assert (model.producer_name, model.producer_version, model.doc_string) == ("edgetl", "", "")


def test_a_second_export_writes_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    export_onnx(deploy(small_model(), task_of(SMALL)), task_of(SMALL).inputs, tmp_path / "again.onnx")
    finish(tmp_path / "again.onnx", INPUTS)
    assert (tmp_path / "again.onnx").read_bytes() == finished.read_bytes()


@pytest.mark.slow
def test_another_process_elsewhere_writes_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.onnx"
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", WRITE, str(again)], check=True, env=environment, cwd=tmp_path)
    assert again.read_bytes() == finished.read_bytes()


def test_finishing_again_changes_nothing(finished: Path) -> None:
    before = finished.read_bytes()
    finish(finished, INPUTS)
    assert finished.read_bytes() == before


class Windowed(nn.Module):
    """A mask drawn into zeros and a table looked up: all of it constant, none of it a parameter as it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 8, 4, 4)
        self.table = nn.Parameter(torch.randn(30, 64))
        self.head = nn.Linear(64, 3)

    def forward(self, image: Tensor) -> Tensor:
        rows = self.mix(image).flatten(2)
        mask = rows.new_zeros((8, 64))
        mask[:4, 10:20] = -1
        answers: Tensor = self.head((rows + mask + self.table[torch.arange(8) * 3]).mean(1))
        return answers


def test_what_is_constant_is_computed_at_export(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, path = Windowed(), tmp_path / "model.onnx"
    export_onnx(deploy(model, task_of(SMALL)), task_of(SMALL).inputs, path)
    before = onnx.load(path)
    finish(path, INPUTS)
    graph = onnx.load(path).graph
    constant = {tensor.name for tensor in graph.initializer}
    assert len(graph.node) < len(before.graph.node)
    assert not [node.name for node in graph.node if all(value in constant for value in node.input)]
    answers = open_engine("onnxruntime", path, {}).run({"image": pixels(3)})["logits"]
    assert np.allclose(answers, torch_predictor(model, task_of(SMALL))(pixels(3)), atol=1e-5)


@pytest.mark.parametrize("opset", [18, 23])
def test_the_oldest_and_the_newest_opset(tmp_path: Path, opset: int) -> None:
    path = tmp_path / "model.onnx"
    export_onnx(deploy(small_model(), task_of(SMALL)), task_of(SMALL).inputs, path, opset=opset)
    finish(path, INPUTS)
    assert [entry.version for entry in onnx.load(path).opset_import] == [opset]
    answers = open_engine("onnxruntime", path, {}).run({"image": pixels(3)})["logits"]
    assert np.allclose(answers, torch_predictor(small_model(), task_of(SMALL))(pixels(3)), atol=1e-5)


@pytest.mark.parametrize("opset", [17, 24])
def test_an_opset_torch_does_not_write_is_refused(tmp_path: Path, opset: int) -> None:
    with pytest.raises(ConfigError, match=f"does not write opset `{opset}`\nhint: choose one from 18 to 23"):
        export_onnx(deploy(small_model(), task_of(SMALL)), task_of(SMALL).inputs, tmp_path / "m.onnx", opset=opset)


def test_the_embedding_is_a_third_output_and_the_model_stays_as_it_was(tmp_path: Path) -> None:
    model, task, path = small_model().eval(), task_of(SMALL), tmp_path / "model.onnx"
    names = [name for name, _ in model.named_modules()]
    deployed = deploy(model, task, embedding=True)
    assert [name for name, _ in model.named_modules()] == names and isinstance(model.get_submodule("head"), nn.Linear)
    assert {id(p) for p in deployed.parameters()} == {id(p) for p in model.parameters()}
    export_onnx(deployed, task_of(SMALL).inputs, path)
    finish(path, INPUTS)
    engine = open_engine("onnxruntime", path, {})
    shapes = [(spec.name, spec.dtype, spec.shape) for spec in engine.outputs]
    assert shapes == [
        ("logits", "float32", ("batch", 3)),
        ("probabilities", "float32", ("batch", 3)),
        ("embedding", "float32", ("batch", 80)),
    ]
    answers = engine.run({"image": pixels(5)})
    logits = torch_predictor(model, task)(pixels(5))
    assert np.allclose(answers["logits"], logits, atol=1e-5)
    head = model.get_submodule("head")
    with torch.inference_mode():
        assert np.allclose(head(torch.from_numpy(answers["embedding"])).numpy(), logits, atol=1e-5)


def test_pixels_that_may_not_be_written_to_are_no_cause_for_a_warning(tmp_path: Path) -> None:
    np.save(tmp_path / "pixels.npy", pixels(2))
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    predict = torch_predictor(small_model(), task_of(SMALL))
    assert np.array_equal(predict(mapped), predict(pixels(2)))


def test_a_model_of_more_than_two_gib_is_refused_at_once(tmp_path: Path) -> None:
    with torch.device("meta"):
        model = get_backbone("vit_h_14").build(3)
    with pytest.raises(ArtefactError, match=r"has 2\.4 GiB of weights, and one ONNX file holds 2 GiB"):
        export_onnx(deploy(model, task_of(SMALL)), task_of(SMALL).inputs, tmp_path / "m.onnx")


def pooled(path: Path, shape: list[str | int]) -> None:
    """A graph that takes the mean over everything but the batch and the channels."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["image", "axes"], ["logits"], keepdims=0)],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape[0], 3])],
        [helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


@pytest.mark.parametrize("shape", [["batch", "height", 32, 3], [2, 32, 32, 3]])
def test_another_dynamic_axis_or_a_fixed_batch_is_refused(tmp_path: Path, shape: list[str | int]) -> None:
    pooled(tmp_path / "m.onnx", shape)
    with pytest.raises(ArtefactError, match=f"is {shape[0]} × {shape[1]} × 32 × 3, but the batch and nothing else"):
        finish(tmp_path / "m.onnx", INPUTS)


def test_a_damaged_or_wrong_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ArtefactError, match="is no ONNX file"):
        finish(path, INPUTS)
    assert path.read_bytes() == b"no model"
    pooled(path, ["batch", 32, 32, 3])
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4
    onnx.save(model, path)
    with pytest.raises(ArtefactError, match="is no sound ONNX model"):
        finish(path, INPUTS)


LIGHT = (
    "convnext_tiny", "efficientnet_b0", "googlenet", "mobilenet_v3_small", "regnet_y_400mf", "resnet18",
    "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "vit_b_32",
)  # fmt: skip
"""One of each kind of graph; `benchmarks.graph_families` measures all families on more images."""


@pytest.mark.slow
@pytest.mark.parametrize("member", [pytest.param(m, id=m.name) for m in MEMBERS if m.name in LIGHT])
def test_families_agree_with_torch(member: Member, tmp_path: Path) -> None:
    """Expected are torch's own answers; where its FP32 strays further from FP64, twice that is allowed."""
    shown = {
        "random": pixels(8, member.side),
        "natural": synthetic_golden(photo_source(task_of(member)), seed=0).inputs.feeds["image"][:8],
    }
    model = as_if_trained(member, np.concatenate([*shown.values()]))
    found = compare(member, model, shown, tmp_path / "model.onnx")
    assert max(found.probabilities.values()) <= max(1e-4, 2 * max(found.rounding.values()))
    assert found.logits <= 1e-3 and found.embedding <= 1e-3
    graph = onnx.load(tmp_path / "model.onnx").graph
    constant = {tensor.name for tensor in graph.initializer}
    assert not [node.name for node in graph.node if all(value in constant or not value for value in node.input)]
