"""The declared messages against those of an independent implementation of the protocol."""

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto
from tritonclient.grpc import service_pb2

from edgetl.runtime.serve.rpc.messages import MESSAGES, message_classes

NAMES = [name for name in MESSAGES if "." not in name]


def fields(message: DescriptorProto) -> set[tuple[object, ...]]:
    """Everything that decides what a message is on the wire, nested messages and map entries included."""
    own: set[tuple[object, ...]] = {
        (
            message.name,
            field.number,
            field.name,
            field.type,
            field.label,
            field.type_name,
            field.HasField("oneof_index"),
        )
        for field in message.field
    }
    own |= {(message.name, "map", message.options.map_entry), (message.name, *(o.name for o in message.oneof_decl))}
    return own.union(*map(fields, message.nested_type))


@pytest.mark.parametrize("name", NAMES)
def test_every_message_is_the_public_one(name: str) -> None:
    ours, public = DescriptorProto(), DescriptorProto()
    message_classes()[name].DESCRIPTOR.CopyToProto(ours)
    service_pb2.DESCRIPTOR.message_types_by_name[name].CopyToProto(public)
    assert fields(ours) == fields(public)


def test_each_method_takes_and_gives_the_messages_named_after_it() -> None:
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    for name in {name.removesuffix("Request") for name in NAMES if name.endswith("Request")}:
        method = service.methods_by_name[name]
        assert (method.input_type.name, method.output_type.name) == (f"{name}Request", f"{name}Response")


def test_numbers_are_packed_as_the_public_implementation_packs_them() -> None:
    written = service_pb2.ModelInferRequest(model_name="m", raw_input_contents=[b"ab", b""])
    tensor = written.inputs.add(name="image", datatype="UINT8", shape=[-1, 300])
    tensor.contents.uint_contents.extend([0, 255, 300])
    tensor.contents.fp32_contents.extend([0.5, -1.0])
    tensor.parameters["size"].int64_param = -7
    read = message_classes()["ModelInferRequest"].FromString(written.SerializeToString())
    assert read.SerializeToString(deterministic=True) == written.SerializeToString(deterministic=True)
    assert list(read.inputs[0].contents.uint_contents) == [0, 255, 300]
    assert read.inputs[0].parameters["size"].int64_param == -7
