"""What TensorRT's ONNX parser takes: the table of operators, its opsets, and the restrictions a graph can break.

Source: docs/operators.md of onnx-tensorrt as released with TensorRT 10.15 (every row marked `Y`, control flow,
recurrent layers and signal processing left out), compared with the opset guide of TensorRT 11: minimum opset 9, maximum
20 in 10.0, 24 in 10.15 and 25 in 11. QuantizeLinear takes float16 since opset 19.
"""

OPSETS = range(13, 21)
"""From the first with Q/DQ per channel to the last that every TensorRT 10 and 11 takes."""

QUANTISED_OPSETS = range(19, 21)

OPERATORS = frozenset(
    (
        *("Abs", "Add", "And", "ArgMax", "ArgMin", "AveragePool", "BatchNormalization", "Cast", "CastLike", "Ceil"),
        *("Celu", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "Cos", "CumSum"),
        *("DepthToSpace", "DequantizeLinear", "Div", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "EyeLike"),
        *("Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm", "GlobalAveragePool"),
        *("GlobalLpPool", "GlobalMaxPool", "Greater", "GreaterOrEqual", "GridSample", "GroupNormalization"),
        *("HardSigmoid", "HardSwish", "Hardmax", "Identity", "InstanceNormalization", "IsInf", "IsNaN"),
        *("LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "LpNormalization", "LpPool"),
        *("LRN", "MatMul", "Max", "MaxPool", "Mean", "MeanVarianceNormalization", "Min", "Mish", "Mod", "Mul"),
        *("Neg", "Not", "OneHot", "Or", "PRelu", "Pad", "Pow", "QuantizeLinear", "Range", "Reciprocal", "ReduceL1"),
        *("ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"),
        *("ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize", "Round", "ScatterElements", "ScatterND"),
        *("Selu", "Shape", "Shrink", "Sigmoid", "Sign", "Sin", "Size", "Slice", "Softmax", "Softplus", "Softsign"),
        *("SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tan", "Tanh", "ThresholdedRelu", "Tile"),
        *("TopK", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor"),
    )
)

ONE_TYPE = frozenset(
    (
        *("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Mean", "Sum", "Mod", "PRelu", "Clip", "Concat"),
        *("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "Equal", "Greater", "GreaterOrEqual", "Less"),
        *("LessOrEqual", "LayerNormalization", "GroupNormalization", "InstanceNormalization", "QuantizeLinear"),
    )
)
"""A strongly typed network does not convert: the floating-point inputs of these have one type."""

CONSTANT_INPUTS = {
    **dict.fromkeys(sorted(name for name in OPERATORS if name.startswith("Reduce")), (1,)),
    **{"QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2), "CumSum": (1,), "OneHot": (1,)},
}
"""Inputs, by position, that have to be known when the engine is built."""

RANKS = {
    **dict.fromkeys(("Conv", "ConvTranspose"), (4, 5)),
    **dict.fromkeys(("MaxPool", "AveragePool"), (4, 5)),
}
"""Convolutions and pooling are 2D or 3D: the rank of their input."""
