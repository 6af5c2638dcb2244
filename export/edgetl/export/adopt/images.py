"""From uint8 RGB pixels to the input an imported vision model reads, once in numpy and once as a graph."""

from collections.abc import Callable
from functools import partial

import msgspec
import numpy as np
from onnx import GraphProto, TensorProto, helper

from edgetl.devices.hypotheses import graph_hypotheses
from edgetl.errors import ArtefactError, ConfigError
from edgetl.export.adopt.nodes import FLOAT, Nodes
from edgetl.export.adopt.original import Original
from edgetl.export.adopt.preprocess import ImagePreprocess
from edgetl.tasks import Task, TextClassification
from edgetl.tasks.normalisation import Normalisation, normalisation
from edgetl.types import Array, Feeds, TensorSpec

BLUE_FIRST = [2, 1, 0]


class ImageWiring(msgspec.Struct, frozen=True, kw_only=True):
    """`name`: the model's input, in `layout`; `normalised`: whether it wants floats, not the pixels themselves."""

    name: str
    layout: str
    normalised: bool
    preprocess: ImagePreprocess

    def feed(self, feeds: Feeds) -> dict[str, Array]:
        """`image`, uint8 (samples, height, width, 3), as the model wants it."""
        said, pixels = self.preprocess, feeds["image"]
        ordered = pixels[..., ::-1] if said.color == "bgr" else pixels
        if not self.normalised:
            return self._moved(ordered)
        return self._moved((ordered / said.scale - np.array(said.mean)) / np.array(said.std))

    def under(self, task: Task) -> dict[str, Callable[[Feeds], dict[str, Array]]]:
        """What the model would be fed under another normalisation; one that wants pixels has none of ours."""
        assert not isinstance(task, TextClassification)
        hypotheses = graph_hypotheses(task)
        if not self.normalised:
            hypotheses = {name: wrong for name, wrong in hypotheses.items() if wrong.swap}
        return {name: partial(self._feed_wrong, wrong) for name, wrong in hypotheses.items()}

    def _feed_wrong(self, wrong: Normalisation, feeds: Feeds) -> dict[str, Array]:
        pixels = feeds["image"][..., ::-1] if wrong.swap else feeds["image"]
        values = pixels * np.array(wrong.scale) + np.array(wrong.shift) if self.normalised else pixels
        return self._moved(values[..., ::-1] if self.preprocess.color == "bgr" else values)

    def _moved(self, values: Array) -> dict[str, Array]:
        moved = values.transpose(0, 3, 1, 2) if self.layout == "nchw" else values
        return {self.name: np.ascontiguousarray(moved, np.float32 if self.normalised else np.uint8)}

    def shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """The shape of each of the model's inputs for a batch of that size."""
        size = self.preprocess.input
        chw = (batch, 3, size.height, size.width)
        return {self.name: chw if self.layout == "nchw" else (chw[0], chw[2], chw[3], chw[1])}

    def attach(self, graph: GraphProto, prefix: str) -> None:
        """Puts it in front of a graph whose tensors begin with `prefix`, in place of the graph's input."""
        size, nodes = self.preprocess.input, Nodes(graph)
        last = nodes.add("Transpose", ["image"], "planes", perm=[0, 3, 1, 2])
        if self.normalised:
            right = normalisation(*self.preprocess.rgb())
            last = nodes.add("Cast", [last], "pixels", to=FLOAT)
            for operator, name, values in (("Mul", "scale", right.scale), ("Add", "shift", right.shift)):
                constant = nodes.constant(name, np.reshape(values, (1, 3, 1, 1)))
                last = nodes.add(operator, [last, constant], f"{name}d" if name == "scale" else "normalised")
        if self.preprocess.color == "bgr":
            last = nodes.add("Gather", [last, nodes.constant("blue_first", BLUE_FIRST, np.int64)], "bgr", axis=1)
        if self.layout == "nhwc":
            last = nodes.add("Transpose", [last], "channels_last", perm=[0, 2, 3, 1])
        nodes.add("Identity", [last], prefix + self.name)
        nodes.put_first()
        del graph.input[:]
        shape = ("batch", size.height, size.width, 3)
        graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, shape))


def image_wiring(original: Original, preprocess: ImagePreprocess) -> ImageWiring:
    """How pixels reach the only input of `original`. Raises ArtefactError or ConfigError where they cannot."""
    if len(original.inputs) != 1:
        raise ArtefactError(
            f"`{original.path}` has {len(original.inputs)} inputs: {original.shown(original.inputs)}",
            hint="a vision model that can be adopted reads one image and nothing else; export it without the others",
        )
    spec = original.inputs[0]
    if spec.dtype not in ("float32", "uint8") or len(spec.shape) != 4:
        raise ArtefactError(
            f"the input of `{original.path}` is {spec.dtype} {original.shown([spec])}, which is no image",
            hint="expected is float32 or uint8 with batch, channels, height and width",
        )
    layout = preprocess.layout or _layout(original, spec)
    channels, height, width = spec.shape[1:] if layout == "nchw" else (spec.shape[3], *spec.shape[1:3])
    if channels not in (3, "3") and isinstance(channels, int):
        raise ArtefactError(
            f"the input of `{original.path}`, {original.shown([spec])}, has {channels} channels in the layout {layout}",
            hint="expected are three, red, green and blue; `layout` says where they are",
        )
    size = preprocess.input
    for side, there, said in (("height", height, size.height), ("width", width, size.width)):
        if isinstance(there, int) and there != said:
            raise ConfigError(f"the model reads a {side} of {there}, the preprocessing makes `{said}`",
                              hint=f"`size = [{height}, {width}]`")  # fmt: skip
    if spec.dtype == "uint8" and preprocess.rgb() != ((0.0,) * 3, (1.0,) * 3):
        raise ConfigError(
            f"`{original.path}` reads uint8 pixels, but the preprocessing normalises them",
            hint="leave `scale`, `mean` and `std` out: the model does that itself",
        )
    return ImageWiring(name=spec.name, layout=layout, normalised=spec.dtype == "float32", preprocess=preprocess)


def _layout(original: Original, spec: TensorSpec) -> str:
    """Where the three channels are."""
    found = [layout for layout, axis in (("nchw", 1), ("nhwc", 3)) if spec.shape[axis] == 3]
    if len(found) == 1:
        return found[0]
    raise ConfigError(
        f"the input {original.shown([spec])} of `{original.path}` does not show which axis has the channels",
        hint='say `layout = "nchw"` or `layout = "nhwc"` in the preprocessing',
    )
