"""The protocol's messages, declared as a table; field numbers and types are what makes two programs agree.

Reference: https://github.com/kserve/open-inference-protocol, specification/protocol/open_inference_grpc.proto, and
Triton's model repository extension for `RepositoryIndex`.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

_PARAMETERS = "{InferParameter}"

MESSAGES: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": (1, "bool")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool")},
    "ModelReadyRequest": {"name": (1, "string"), "version": (2, "string")},
    "ModelReadyResponse": {"ready": (1, "bool")},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {"name": (1, "string"), "version": (2, "string"), "extensions": (3, "string[]")},
    "ModelMetadataRequest": {"name": (1, "string"), "version": (2, "string")},
    "ModelMetadataResponse": {
        "name": (1, "string"),
        "versions": (2, "string[]"),
        "platform": (3, "string"),
        "inputs": (4, "ModelMetadataResponse.TensorMetadata[]"),
        "outputs": (5, "ModelMetadataResponse.TensorMetadata[]"),
    },
    "ModelMetadataResponse.TensorMetadata": {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "int64[]")},
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, _PARAMETERS),
        "inputs": (5, "ModelInferRequest.InferInputTensor[]"),
        "outputs": (6, "ModelInferRequest.InferRequestedOutputTensor[]"),
        "raw_input_contents": (7, "bytes[]"),
    },
    "ModelInferRequest.InferInputTensor": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "int64[]"),
        "parameters": (4, _PARAMETERS),
        "contents": (5, "InferTensorContents"),
    },
    "ModelInferRequest.InferRequestedOutputTensor": {"name": (1, "string"), "parameters": (2, _PARAMETERS)},
    "ModelInferResponse": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, _PARAMETERS),
        "outputs": (5, "ModelInferResponse.InferOutputTensor[]"),
        "raw_output_contents": (6, "bytes[]"),
    },
    "ModelInferResponse.InferOutputTensor": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "int64[]"),
        "parameters": (4, _PARAMETERS),
        "contents": (5, "InferTensorContents"),
    },
    "InferParameter": {
        "bool_param": (1, "bool"),
        "int64_param": (2, "int64"),
        "string_param": (3, "string"),
        "double_param": (4, "double"),
        "uint64_param": (5, "uint64"),
    },
    "InferTensorContents": {
        "bool_contents": (1, "bool[]"),
        "int_contents": (2, "int32[]"),
        "int64_contents": (3, "int64[]"),
        "uint_contents": (4, "uint32[]"),
        "uint64_contents": (5, "uint64[]"),
        "fp32_contents": (6, "float[]"),
        "fp64_contents": (7, "double[]"),
        "bytes_contents": (8, "bytes[]"),
    },
    "RepositoryIndexRequest": {"repository_name": (1, "string"), "ready": (2, "bool")},
    "RepositoryIndexResponse": {"models": (1, "RepositoryIndexResponse.ModelIndex[]")},
    "RepositoryIndexResponse.ModelIndex": {
        "name": (1, "string"),
        "version": (2, "string"),
        "state": (3, "string"),
        "reason": (4, "string"),
    },
}
"""Message → field → number and type: `T[]` repeats, `{T}` maps strings to T; a dot nests a message in another."""

ONEOFS = {"InferParameter": "parameter_choice"}
"""Messages of which one field at most is set, and what that choice is called."""


def message_classes() -> dict[str, Any]:
    """A class for every message of the table, in a pool of its own: a client in this process keeps its own."""
    pool = DescriptorPool()
    pool.AddSerializedFile(declaration().SerializeToString())
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGES}


def declaration() -> Any:
    """The table as protobuf's own description of a file."""
    file = FileDescriptorProto(name="edgetl/open_inference.proto", package=PACKAGE, syntax="proto3")
    made: dict[str, Any] = {}
    for name, fields in MESSAGES.items():
        outer, _, own = name.rpartition(".")
        made[name] = (made[outer].nested_type if outer else file.message_type).add(name=own)
        if name in ONEOFS:
            made[name].oneof_decl.add(name=ONEOFS[name])
        for field, (number, kind) in fields.items():
            added = _add_field(made[name], name, field, number, kind)
            if name in ONEOFS:
                added.oneof_index = 0
    return file


def _add_field(message: Any, path: str, name: str, number: int, kind: str) -> Any:
    repeated = kind.endswith("[]") or kind.startswith("{")
    if kind.startswith("{"):
        kind = f"{path}.{_add_map_entry(message, path, name, kind[1:-1])}"
    label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    kind = kind.removesuffix("[]")
    if kind[0].isupper():
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    else:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    return field


def _add_map_entry(message: Any, path: str, field: str, kind: str) -> str:
    """A map travels as a repeated message of key and value, named as protobuf wants it."""
    entry = DescriptorProto(name=f"{field.title()}Entry")
    entry.options.map_entry = True
    _add_field(entry, path, "key", 1, "string")
    _add_field(entry, path, "value", 2, kind)
    message.nested_type.append(entry)
    return str(entry.name)
