"""How a server opens a variant: by the bundle's plan for throughput, else by what suits the engine."""

import msgspec

from edgetl.bundle import Bundle
from edgetl.machine import detect
from edgetl.manifest import VariantRecord
from edgetl.runtime.plan import own_plan, read_plan
from edgetl.runtime.serve.batching import Limits
from edgetl.runtime.serve.config import ServeConfig
from edgetl.types import Option

GPU_BATCH = 8
"""A graphics processor is faster with batches; docs/serving.md says why a CPU is not."""


AHEAD = {"openvino": 2}
"""So many calls at a time for each that the engine can compute: OpenVINO queues them for its streams, which then do not
wait for an answer to be handed over. On two cores 0.78 of the rate in process, and 0.70 without."""


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """Engine options, engine calls at a time and the most samples of one."""

    options: dict[str, Option]
    workers: int
    max_batch: int


def opening(bundle: Bundle, variant: VariantRecord, device: str | None) -> Opening:
    """From the plan for `device`, or for this very hardware, where it chose `variant` for throughput."""
    plan = read_plan(bundle, device) if device else own_plan(bundle)
    choice = plan.choice("throughput") if plan else None
    if choice is None or choice.variant != variant.id:
        return _usual(variant)
    # batches of a server have any size, so a model compiled for one size would be compiled twice
    options = {key: value for key, value in choice.options.items() if key != "batch" or choice.batch == 1}
    return Opening(options=options, workers=choice.concurrency * AHEAD.get(variant.engine, 1), max_batch=choice.batch)


def limits(found: Opening, config: ServeConfig) -> Limits:
    """The opening's limits, as far as the configuration does not say otherwise."""
    return Limits(
        workers=config.workers or found.workers,
        max_batch=config.max_batch or found.max_batch,
        max_delay_s=config.max_delay_ms / 1000,
        queue=config.queue,
        timeout_s=config.timeout_s,
    )


def _usual(variant: VariantRecord) -> Opening:
    """One sample a core on a processor, batches for two callers on a graphics processor."""
    if variant.engine == "tensorrt" or variant.options.get("provider") == "cuda":
        return Opening(options={}, workers=2, max_batch=GPU_BATCH)
    options: dict[str, dict[str, Option]] = {"openvino": {"hint": "throughput"}, "onnxruntime": {"threads": 1}}
    workers = detect().cores * AHEAD.get(variant.engine, 1)
    return Opening(options=options.get(variant.engine, {}), workers=workers, max_batch=1)
