"""A bundle's variant, opened and ready to answer; refuses to run as something else than it was declared."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, overload

import numpy as np

from edgetl import plugins
from edgetl.bundle import Bundle, open_bundle
from edgetl.errors import ArtefactError, ConfigError, DependencyError, EngineError
from edgetl.manifest import VariantRecord
from edgetl.runtime.engines import Engine, open_engine
from edgetl.runtime.lease import Lease
from edgetl.runtime.plan import Aim, Choice, own_plan, planned_variants, read_plan
from edgetl.runtime.precision import precision_problem, provider_problem
from edgetl.tasks import Classification
from edgetl.tasks.images import Sample
from edgetl.types import EngineFacts, Feeds, Option, Options, Outputs

BATCH = 16
"""`predict` sends a long list to the engine in pieces of this size, so that memory stays bounded."""


class Session:
    """One opened variant, as `load` gives it. Close it, or use it in a `with` block.

    Any number of threads may ask it at once, and one may close it meanwhile: calls that run then finish, later ones
    raise EngineError. `choice` is what a plan chose, None when it was opened without one.
    """

    choice: Choice | None = None

    def __init__(self, bundle: Bundle, variant: VariantRecord, options: Options) -> None:
        self.bundle = bundle
        self.variant = variant
        self.task = bundle.manifest.task
        engine = _compile(bundle, variant, options)
        _check_tensors(bundle, engine, variant)
        self._lease = Lease(engine, variant.engine)

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is also a sequence of str; it counts as one path
        self, samples: Sample, *, top: int = 5, color: Literal["rgb", "bgr"] = "rgb"
    ) -> Classification: ...

    @overload
    def predict(
        self, samples: Sequence[Sample], *, top: int = 5, color: Literal["rgb", "bgr"] = "rgb"
    ) -> list[Classification]: ...

    def predict(
        self, samples: Sample | Sequence[Sample], *, top: int = 5, color: Literal["rgb", "bgr"] = "rgb"
    ) -> Classification | list[Classification]:
        """Answers for a path, encoded bytes, a PIL image or an HWC uint8 array; a list for a list, in its order.

        `color` is the channel order of array samples. Raises DataError for an image that cannot be decoded.
        """
        if not isinstance(samples, list | tuple):
            return self._answer([samples], top, color)[0]  # type: ignore[list-item]
        answers: list[Classification] = []
        for start in range(0, len(samples), BATCH):
            answers += self._answer(samples[start : start + BATCH], top, color)
        return answers

    def _answer(self, samples: Sequence[Sample], top: int, color: Literal["rgb", "bgr"]) -> list[Classification]:
        return self.task.postprocess(self.infer(self.task.preprocess(samples, color=color)), top=top)

    def infer(self, feeds: Feeds) -> Outputs:
        """Arrays in, arrays out: `image` uint8 (batch, height, width, 3) → `logits`, `probabilities`."""
        return self._lease.run(feeds)

    @property
    def facts(self) -> EngineFacts:
        """What the engine says it really runs."""
        return self._lease.facts

    def close(self) -> None:
        """Frees the engine, once the calls that run have their answers; closing twice is allowed."""
        self._lease.close()

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(
    bundle: str | Path | Bundle,
    *,
    device: str | None = None,
    variant: str | None = None,
    engine: str | None = None,
    options: Options | None = None,
    aim: Aim = "latency",
    require_signature: str | Path | None = None,
) -> Session:
    """Opens one variant of a bundle.

    `device` takes the variant and options of the bundle's plan for that device; `variant` or `engine` choose
    by name; with none of these the plan measured on this hardware counts (`edgetl.runtime.plan.own_plan`), and
    without such a plan the first variant whose engine is installed and that did not fail its check at export.
    `aim` says which of a plan's choices is meant. `options` go before a plan's.
    `require_signature`: a file of allowed signers (docs/trust.md), one of whom must have signed the manifest; a plan is
    not covered by it.
    What the engine really runs must be the precision the variant declares.
    Raises ArtefactError, ConfigError, DependencyError or EngineError.
    """
    opened = bundle if isinstance(bundle, Bundle) and require_signature is None else _open(bundle, require_signature)
    choice = _planned(opened, device, variant, engine, aim)
    if choice is not None:
        chosen, options = opened.variant(variant or choice.variant), {**choice.options, **(options or {})}
    else:
        chosen = opened.variant(variant) if variant is not None else first_usable(opened, engine)
    session = Session(opened, chosen, options or {})
    session.choice = choice
    facts = session.facts
    if problem := precision_problem(chosen.precision, facts) or provider_problem(facts):
        session.close()
        raise EngineError(chosen.engine, problem, hint="an engine's option or the file differs from the export")
    return session


def _open(bundle: str | Path | Bundle, require_signature: str | Path | None) -> Bundle:
    path = bundle.path if isinstance(bundle, Bundle) else bundle
    return open_bundle(path, allowed_signers=None if require_signature is None else Path(require_signature))


def _compile(bundle: Bundle, variant: VariantRecord, options: Options) -> Engine:
    """Compiles the variant; an option that is wrong in the manifest itself is the bundle's fault."""
    path = bundle.open_variant(variant)
    try:
        return open_engine(variant.engine, path, _merge(variant, options))
    except ConfigError as error:
        if options or variant.engine not in plugins.ENGINES:
            raise
        raise ArtefactError(f"variant `{variant.id}` of `{bundle.path}`: {error.message}", hint=error.hint) from error


def _merge(variant: VariantRecord, options: Options) -> dict[str, Option]:
    """The variant's own options and the caller's; what the variant declares cannot be changed from outside."""
    for key, value in variant.options.items():
        if options.get(key, value) != value:
            raise ConfigError(
                f"variant `{variant.id}` declares `{key} = {value}`, not `{options[key]}`",
                hint="choose a variant of the precision you want",
            )
    return {**options, **variant.options}


def planned_variant(bundle: Bundle, device: str) -> str | None:
    """The variant of the bundle's plan for `device`, or None when there is no such plan."""
    return next(iter(planned_variants(bundle, device)), None)


def _planned(bundle: Bundle, device: str | None, variant: str | None, engine: str | None, aim: Aim) -> Choice | None:
    """What a plan says, if one is asked for or nothing else is."""
    if device is not None:
        return read_plan(bundle, device).choice(aim)
    plan = own_plan(bundle) if variant is None and engine is None else None
    return plan.choice(aim) if plan else None


def first_usable(bundle: Bundle, engine: str | None) -> VariantRecord:
    """The first variant whose engine is installed and that did not fail at export. Raises as `load`."""
    if engine is not None:
        plugins.known(plugins.ENGINES, engine, "engine")
    candidates = [v for v in bundle.manifest.variants if v.status != "failed" and engine in (None, v.engine)]
    if not candidates:
        raise ArtefactError(
            f"`{bundle.path}` has no variant that passed its check" + (f" for `{engine}`" if engine else ""),
            hint="name one with `--variant`",
        )
    for variant in candidates:
        if plugins.engine_installed(variant.engine):
            return variant
    extras = sorted({plugins.ENGINES[v.engine].extra for v in candidates if v.engine in plugins.ENGINES})
    raise DependencyError(
        f"no engine of `{bundle.path}` is installed",
        hint="install `" + "` or `".join(extras) + "`" if extras else None,
    )


def _check_tensors(bundle: Bundle, engine: Engine, variant: VariantRecord) -> None:
    """The opened model must have the inputs and outputs the manifest promises."""
    for promised, found in (
        (bundle.manifest.inputs, engine.inputs),
        (bundle.manifest.outputs, engine.outputs),
    ):
        wanted = {(spec.name, spec.dtype, spec.shape[1:]) for spec in promised}
        have = {(spec.name, spec.dtype, spec.shape[1:]) for spec in found}
        if not wanted <= have:
            engine.close()
            name = sorted(str(spec) for spec in wanted - have)[0]
            raise ArtefactError(f"variant `{variant.id}` lacks the tensor {name}", hint="export the bundle again")


def sample_feeds(bundle: Bundle, count: int) -> Feeds:
    """`count` input samples: the golden set, repeated as needed, or seeded noise when none travels."""
    spec = bundle.manifest.inputs[0]
    shape = tuple(int(axis) for axis in spec.shape[1:])
    if bundle.manifest.golden.kind == "none":
        return {spec.name: np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)}
    samples = bundle.golden()[spec.name]
    return {spec.name: samples[np.arange(count) % len(samples)]}
