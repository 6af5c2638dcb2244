"""The compute layers of an ONNX graph: those that quantisation is about."""

import onnx

COMPUTE = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def layers(model: onnx.ModelProto) -> list[str]:
    """The names of the compute layers, from the input on."""
    return [node.name for node in model.graph.node if node.op_type in COMPUTE]


def channel_axis(node: onnx.NodeProto, rank: int) -> int:
    """The axis of the layer's weight that counts output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
    return 1 if node.op_type == "ConvTranspose" else rank - 1


def behind(model: onnx.ModelProto) -> list[str]:
    """The names of what comes after the last compute layer, whatever it computes: softmax, or boxes from distances.

    Joined in int8, boxes and scores would share one scale.
    """
    needed: set[str] = set()
    for node in reversed(model.graph.node):
        if node.op_type in COMPUTE or any(output in needed for output in node.output):
            needed.update(node.input)
    return [
        node.name
        for node in model.graph.node
        if node.op_type not in COMPUTE and not any(output in needed for output in node.output)
    ]
