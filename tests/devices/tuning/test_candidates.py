"""What is tried: it follows from the engine, the machine and what the profile fixes."""

from pathlib import Path

import msgspec

from edgetl.bundle import open_bundle
from edgetl.devices.catalogue import host_profile
from edgetl.devices.profile import EngineChoice, Profile
from edgetl.devices.tuning.candidates import Candidate, latency_candidates, physical_cores, throughput_candidates
from edgetl.machine import detect

MACHINE = msgspec.structs.replace(detect(), cores=8)


def both(bundle: Path, profile: Profile) -> list[Candidate]:
    variants = open_bundle(bundle).manifest.variants
    return latency_candidates(variants, profile, MACHINE, 4) + throughput_candidates(variants, profile, MACHINE)


def test_threads_streams_and_batches_are_tried_for_every_variant(bundle: Path) -> None:
    variants = open_bundle(bundle).manifest.variants
    latency = latency_candidates(variants, host_profile(), MACHINE, 4)
    for variant in variants:
        tried = [candidate for candidate in latency if candidate.variant == variant.id]
        assert {candidate.options["threads"] for candidate in tried} == {1, 4, 8}
        assert {(candidate.batch, candidate.concurrency) for candidate in tried} == {(1, 1)}
    throughput = throughput_candidates(variants, host_profile(), MACHINE)
    assert {each.batch for each in throughput if each.variant == "onnxruntime-fp32"} == {1, 4, 8, 16}
    assert {each.options.get("streams", 0) for each in throughput if each.variant == "openvino-fp32"} == {0, 8}
    assert len({candidate.key for candidate in throughput}) == len(throughput)


def test_the_first_candidates_are_of_different_variants(bundle: Path) -> None:
    variants = open_bundle(bundle).manifest.variants
    found = latency_candidates(variants, host_profile(), MACHINE, 4)
    assert {each.variant for each in found[: len(variants)]} == {variant.id for variant in variants}


def test_what_a_profile_fixes_stays_fixed(bundle: Path) -> None:
    engines = (
        EngineChoice(name="onnxruntime", options={"threads": 3}),
        EngineChoice(name="openvino", options={"streams": 1, "threads": 2}),
    )
    found = both(bundle, Profile(name="fixed", title="fixed", engines=engines))
    for candidate in found:
        fixed = {"threads": 3} if candidate.variant.startswith("onnx") else {"streams": 1, "threads": 2}
        assert candidate.options.items() >= fixed.items()
    assert len({candidate.key for candidate in found}) == len(found)


def test_threads_are_not_asked_of_a_gpu(bundle: Path) -> None:
    engines = (
        EngineChoice(name="onnxruntime", options={"provider": "cuda"}),
        EngineChoice(name="openvino", options={"device": "GPU"}),
    )
    found = both(bundle, Profile(name="gpu", title="gpu", engines=engines))
    assert found and all("threads" not in candidate.options for candidate in found)


def test_physical_cores_are_among_the_usable_ones() -> None:
    assert 1 <= physical_cores(detect()) <= detect().cores
