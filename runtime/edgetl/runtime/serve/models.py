"""What a server serves: bundles by name, their variants by id, each opened once and with its own queue."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgetl import plugins
from edgetl.bundle import Bundle, open_bundle
from edgetl.errors import ConfigError, EdgetlError, suggest
from edgetl.manifest import VariantRecord
from edgetl.runtime.plan import own_plan, read_plan
from edgetl.runtime.serve.batching import Answer, Batcher
from edgetl.runtime.serve.config import ServeConfig
from edgetl.runtime.serve.inference import tensor_metadata
from edgetl.runtime.serve.metrics import Metrics
from edgetl.runtime.serve.opening import limits, opening
from edgetl.runtime.serve.refusals import Busy, NotFound
from edgetl.runtime.session import Session, first_usable, load, sample_feeds
from edgetl.types import Feeds, Options


class Served:
    """One opened variant: its session and the queue in front of it."""

    def __init__(self, model: str, session: Session, batcher: Batcher, metrics: Metrics) -> None:
        self.model, self.session, self._batcher = model, session, batcher
        self._metrics = metrics.variant(model, session.variant.id)

    @property
    def name(self) -> str:
        """The variant's id, which the protocol calls the model's version."""
        return self.session.variant.id

    def refuse_when_full(self) -> None:
        """Raises Busy before anything is spent on a request that would be refused."""
        if self._batcher.full:
            raise Busy(f"the queue of `{self.model}` is full: {self._batcher.held} samples wait")

    async def infer(self, feeds: Feeds, spent_s: float = 0.0) -> Answer:
        """Answers one request through the queue; the batch is the first axis of every feed. Raises as `submit`."""
        answer = await self._batcher.submit(feeds, len(next(iter(feeds.values()))), spent_s)
        self._metrics.queue.observe(answer.queued_s)
        return answer

    async def close(self) -> None:
        await asyncio.to_thread(self._batcher.close)
        self.session.close()


class Model:
    """A bundle behind a name. The first variant is open from the start, others from their first request on."""

    def __init__(self, name: str, bundle: Bundle, variants: Sequence[VariantRecord]) -> None:
        self.name, self.bundle = name, bundle
        self.variants = {variant.id: variant for variant in variants}
        self.default = variants[0].id
        self.opened: dict[str, Served] = {}
        self.problems: dict[str, str] = {}
        self.turn = asyncio.Lock()

    def metadata(self) -> dict[str, Any]:
        """As the Open Inference Protocol says it; a version is a variant."""
        manifest = self.bundle.manifest
        return {
            "name": self.name,
            "versions": list(self.variants),
            "platform": f"edgetl_{manifest.task.__struct_config__.tag}",
            "inputs": tensor_metadata(manifest.inputs),
            "outputs": tensor_metadata(manifest.outputs),
        }


class Models:
    """All models of a server. Belongs to one event loop."""

    def __init__(self, models: Sequence[Model], config: ServeConfig, metrics: Metrics, device: str | None) -> None:
        self.by_name = {model.name: model for model in models}
        self._config, self._metrics, self._device = config, metrics, device

    def model(self, name: str) -> Model:
        """Raises NotFound."""
        if name not in self.by_name:
            raise NotFound(f"no model `{name}`; {suggest(name, self.by_name, what='served')}")
        return self.by_name[name]

    def checked(self, name: str, variant: str) -> tuple[Model, str]:
        """The model and the id of `variant`, empty for the default one. Raises NotFound."""
        model = self.model(name)
        if variant and variant not in model.variants:
            raise NotFound(f"`{name}` has no variant `{variant}`; {suggest(variant, model.variants, what='served')}")
        return model, variant or model.default

    async def served(self, name: str, variant: str = "") -> Served:
        """The opened variant, the model's default for an empty name. Raises NotFound, or Busy when it cannot open."""
        model, variant = self.checked(name, variant)
        return model.opened.get(variant) or await self._open(model, variant)

    def index(self) -> list[dict[str, str]]:
        """Every variant of every model, as Triton's model repository extension lists versions."""
        return [
            {
                "name": model.name,
                "version": variant,
                "state": "UNAVAILABLE" if variant in model.problems else "READY",
                "reason": model.problems.get(variant, ""),
            }
            for model in self.by_name.values()
            for variant in model.variants
        ]

    async def open_defaults(self) -> None:
        """Opens what every model answers with. Raises what `load` raises."""
        for model in self.by_name.values():
            model.opened[model.default] = await self._opened(model, model.default)

    async def close(self) -> None:
        """Answers what is queued, then frees the engines."""
        for model in self.by_name.values():
            for served in model.opened.values():
                await served.close()
            model.opened.clear()

    async def _open(self, model: Model, variant: str) -> Served:
        """Opens it once, however many ask; what cannot be opened is not tried again."""
        async with model.turn:
            if variant in model.problems:
                raise Busy(model.problems[variant])
            if variant not in model.opened:
                try:
                    model.opened[variant] = await self._opened(model, variant)
                except EdgetlError as error:
                    model.problems[variant] = f"`{variant}` cannot be opened: {error.message}"
                    raise Busy(model.problems[variant]) from error
            return model.opened[variant]

    async def _opened(self, model: Model, variant: str) -> Served:
        found = opening(model.bundle, model.variants[variant], self._device)
        session = await asyncio.to_thread(_warm, model.bundle, variant, found.options)
        observed = self._metrics.variant(model.name, variant)
        observed.describe(session.facts)
        batcher = Batcher(session.infer, session.task.join, limits(found, self._config), observed.batch)
        return Served(model.name, session, batcher, self._metrics)


def find_models(
    bundles: Sequence[Path], *, device: str | None, variant: str | None, require_signature: Path | None = None
) -> list[tuple[str, Bundle, list[VariantRecord]]]:
    """Each bundle's name, and the variants that may answer, the default one first.

    `variant` names the only one; else the plan's choice for throughput comes first, or the first that is usable, and
    all others that did not fail and whose engine is installed follow. `require_signature`: as in `load`, for every
    bundle. Raises ConfigError for two bundles of one name, and what `load` raises.
    """
    found: dict[str, tuple[str, Bundle, list[VariantRecord]]] = {}
    for path in bundles:
        bundle = open_bundle(path, allowed_signers=require_signature)
        name = path.resolve().name
        if name in found:
            raise ConfigError(
                f"two bundles are called `{name}`", hint="a model is named after its folder; rename one, or link to it"
            )
        found[name] = name, bundle, _variants(bundle, device, variant)
    return list(found.values())


def _variants(bundle: Bundle, device: str | None, variant: str | None) -> list[VariantRecord]:
    if variant is not None:
        return [bundle.variant(variant)]
    plan = read_plan(bundle, device) if device else own_plan(bundle)
    first = bundle.variant(plan.choice("throughput").variant) if plan else first_usable(bundle, None)
    others = [each for each in bundle.manifest.variants if each.status != "failed" and each.id != first.id]
    return [first, *(each for each in others if plugins.engine_installed(each.engine))]


def _warm(bundle: Bundle, variant: str, options: Options) -> Session:
    """Opens a variant and asks it once, so that the first client does not pay for what engines do at first."""
    session = load(bundle, variant=variant, options=options)
    session.infer(sample_feeds(bundle, 1))
    _ = bundle.preparation  # a tokeniser is read from its file
    return session


class VariantView(msgspec.Struct, frozen=True, kw_only=True):
    """One variant as `GET /models` shows it; `facts` once it is open."""

    id: str
    engine: str
    precision: str
    status: str
    default: bool
    opened: bool
    facts: dict[str, object] | None
    problem: str | None


def view(model: Model) -> list[VariantView]:
    """The variants of a model, the default first."""
    return [
        VariantView(
            id=variant.id,
            engine=variant.engine,
            precision=variant.precision,
            status=variant.status,
            default=variant.id == model.default,
            opened=variant.id in model.opened,
            facts=msgspec.to_builtins(model.opened[variant.id].session.facts) if variant.id in model.opened else None,
            problem=model.problems.get(variant.id),
        )
        for variant in model.variants.values()
    ]
