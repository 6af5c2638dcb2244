"""A bundle's variant, opened and ready to answer; refuses to run as something else than it was declared."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, cast, overload

import numpy as np

from edgetl import plugins
from edgetl.bundle import Bundle, open_bundle
from edgetl.errors import ArtefactError, ConfigError, DependencyError, EngineError
from edgetl.manifest import VariantRecord
from edgetl.runtime.engines import Engine, open_engine
from edgetl.runtime.lease import Lease
from edgetl.runtime.plan import Aim, Choice, own_plan, planned_variants, read_plan
from edgetl.runtime.precision import precision_problem, provider_problem
from edgetl.runtime.stand_ins import stand_ins
from edgetl.tasks import Classification, Detections, Prediction
from edgetl.tasks.images import Sample
from edgetl.tasks.preparation import Color, Wishes
from edgetl.types import EngineFacts, Feeds, Option, Options, Outputs, TensorSpec

BATCH = 16
"""A long list goes to the engine in pieces of this size, so that memory stays bounded."""

DEFAULT = Wishes()


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
    def predict(  # type: ignore[overload-overlap]  # a str is also a sequence of str; it counts as one sample
        self, samples: Sample, *, top: int = 5, color: Color = "rgb"
    ) -> Classification: ...

    @overload
    def predict(self, samples: Sequence[Sample], *, top: int = 5, color: Color = "rgb") -> list[Classification]: ...

    def predict(
        self, samples: Sample | Sequence[Sample], *, top: int = 5, color: Color = "rgb"
    ) -> Classification | list[Classification]:
        """The labels of an image (a path, encoded bytes, a PIL image or an HWC uint8 array) or of a text.

        A list for a list, in its order. `color` is the channel order of array samples. Raises DataError for a sample
        that cannot be read, ConfigError where the model answers with boxes.
        """
        self._refuse_other(Classification, "predict", "detect")
        return cast(Classification | list[Classification], self._each(samples, Wishes(top=top), color))

    @overload
    def detect(  # type: ignore[overload-overlap]  # as above
        self, samples: Sample, *, threshold: float | None = None, color: Color = "rgb"
    ) -> Detections: ...

    @overload
    def detect(
        self, samples: Sequence[Sample], *, threshold: float | None = None, color: Color = "rgb"
    ) -> list[Detections]: ...

    def detect(
        self, samples: Sample | Sequence[Sample], *, threshold: float | None = None, color: Color = "rgb"
    ) -> Detections | list[Detections]:
        """The objects of an image that score `threshold` (0–1, else the task's own) or more; samples as `predict`.

        Boxes are in pixels of the upright image. Raises DataError for an image that cannot be decoded, ConfigError
        where the model answers with labels.
        """
        self._refuse_other(Detections, "detect", "predict")
        return cast(Detections | list[Detections], self._each(samples, Wishes(threshold=threshold), color))

    def answers(
        self, samples: Sequence[Sample], wishes: Wishes = DEFAULT, *, color: Color = "rgb"
    ) -> list[Classification] | list[Detections]:
        """Whatever the task answers, for each sample, in their order. Raises DataError, ConfigError."""
        order = self.task.order(samples)
        found: dict[int, Prediction] = {}
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            prepared = self.bundle.preparation([samples[row] for row in rows], color=color)
            answered = self.task.answers(self.infer(prepared.feeds), prepared.sizes, wishes)
            found.update(zip(rows, answered, strict=True))
        return cast(list[Classification] | list[Detections], [found[row] for row in range(len(samples))])

    def _each(self, samples: Sample | Sequence[Sample], wishes: Wishes, color: Color) -> Any:
        """A list for a list, one answer for one sample."""
        if isinstance(samples, list | tuple):
            return self.answers(samples, wishes, color=color)
        return self.answers([samples], wishes, color=color)[0]  # type: ignore[list-item]

    def _refuse_other(self, answer: type[Prediction], asked: str, right: str) -> None:
        if self.task.answer is not answer:
            raise ConfigError(
                f"`{self.bundle.path}` answers with {self.task.answer.__name__.lower()}, which `{asked}` does not give",
                hint=f"call `{right}`",
            )

    def infer(self, feeds: Feeds) -> Outputs:
        """Arrays in, arrays out, as `inputs` and `outputs` in the manifest say; the batch is the first axis."""
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
        have = {spec.name: spec for spec in found}
        for spec in promised:
            if spec.name not in have or not _keeps(spec, have[spec.name]):
                engine.close()
                raise ArtefactError(f"variant `{variant.id}` lacks the tensor {spec}", hint="export the bundle again")


def _keeps(promised: TensorSpec, found: TensorSpec) -> bool:
    """Whether an engine's tensor is as promised; engines call a dynamic axis what they like."""
    axes = list(zip(promised.shape[1:], found.shape[1:], strict=False))
    return (
        promised.dtype == found.dtype
        and len(promised.shape) == len(found.shape)
        and all(isinstance(have, str) if isinstance(wanted, str) else wanted == have for wanted, have in axes)
    )


def sample_feeds(bundle: Bundle, count: int) -> Feeds:
    """`count` input samples: the golden set, repeated as needed, or seeded stand-ins when none travels.

    Texts are as long as the longest; a part that the task's `take` gives is as long as its own longest.
    """
    if bundle.manifest.golden.kind == "none":
        return stand_ins(bundle, count)
    golden = bundle.golden_inputs()
    return bundle.manifest.task.take(golden.feeds, np.arange(count) % len(golden))
