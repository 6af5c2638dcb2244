"""What is done, step by step, when an int8 variant loses more accuracy than allowed.

Every step is chosen on training images that neither calibrate nor judge; only what may hold by these is judged on the
validation split, and each such look is counted, so that the verdict's error budget can be shared among them.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import structs

from edgetl.devices.verdict import VariantReport
from edgetl.export.quantisation.sensitivity import rank_layers
from edgetl.export.workshop import Workshop
from edgetl.manifest import Attempt, Manifest, Quantisation, VariantRecord

GAIN_DB = 0.5
"""A step that does not raise the SQNR by this much is not carried on."""


LADDER: tuple[tuple[str, tuple[dict[str, Any], ...]], ...] = (
    ("accurate bias correction", ({"bias_correction": True},)),
    ("channels equalised", ({"equalised": True},)),
    ("other ranges", ({"ranges": "percentile"}, {"ranges": "mse"})),
)
"""What costs no speed on the device, each with the ways to do it."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A variant as judged, with the draft manifest that holds its recorded answers."""

    draft: Manifest
    record: VariantRecord
    report: VariantReport

    @property
    def drop_points(self) -> float | None:
        """As `lost_points`."""
        return lost_points(self.record, self.report)

    def holds(self, max_drop: float) -> bool:
        """Whether nothing speaks against it: no verdict of fail, and a drop that is seen within the bound."""
        return self.report.verdict != "fail" and (self.drop_points is None or self.drop_points <= max_drop)


def lost_points(record: VariantRecord, report: VariantReport) -> float | None:
    """The drop of the metric on the validation split, in points; of top-1 where no answers travel; else None."""
    if report.drop_points is not None:
        return round(report.drop_points.value, 4)
    result = record.task_result
    return round(100 * (result.reference - result.value), 4) if result else None


def escalate(workshop: Workshop, first: Made, max_drop: float) -> Made:
    """The first step that holds, or else the best of them; its record tells all that was tried."""
    name, plain = first.record.id, first.record.quantisation
    assert plain is not None and workshop.selection is not None
    attempts, tried = (
        [_attempt("plain", plain, first, workshop.size_bytes(name))],
        [(first, workshop.set_aside(name, 0))],
    )
    for step, quantisation, plausible in _ladder(workshop, name, plain, max_drop):
        if not plausible:
            attempts.append(_not_tried(workshop, name, step, quantisation))
            continue
        made = _make(workshop, first.draft, name, quantisation)
        attempts.append(_attempt(step, quantisation, made, workshop.size_bytes(name)))
        tried.append((made, workshop.set_aside(name, len(tried))))
        if made.holds(max_drop):
            break
    best, folder = min(tried, key=lambda pair: (not pair[0].holds(max_drop), pair[0].drop_points or 0.0))
    workshop.take_back(name, folder)
    return structs.replace(best, record=structs.replace(best.record, attempts=tuple(attempts)))


Step = tuple[str, Quantisation, bool]
"""What is done, how the variant is then quantised, and whether the selection says that it may hold."""


def _ladder(workshop: Workshop, name: str, plain: Quantisation, max_drop: float) -> Iterator[Step]:
    """From the cheapest to the dearest; each step keeps what helped before it."""
    best = plain
    for step, ways in LADDER:
        candidates = [structs.replace(best, **way) for way in ways]
        candidate = max(candidates, key=lambda each: _sqnr_db(workshop, name, each))
        gains = _gains(workshop, name, candidate, best)
        yield step, candidate, gains and _plausible(workshop, name, candidate, max_drop)
        best = candidate if gains else best
    yield from _kept_in_float(workshop, name, best, max_drop)
    if not workshop.retrains:
        return
    trained = structs.replace(best, trained=True)
    gains = _gains(workshop, name, trained, best)
    yield "training under quantisation", trained, gains and _plausible(workshop, name, trained, max_drop)
    if gains:
        yield from _kept_in_float(workshop, name, trained, max_drop)


def _kept_in_float(workshop: Workshop, name: str, best: Quantisation, max_drop: float) -> Iterator[Step]:
    """The fewest of the most harmful layers that heal the selection, then twice as many, up to half of all."""
    assert workshop.selection is not None
    ranked = [layer for layer, _ in rank_layers(workshop.calibration(best), workshop.selection, workshop.track)]
    most = len(ranked) // 2
    count = _fewest(workshop, name, best, ranked[:most], max_drop)
    while count <= most:
        kept = structs.replace(best, kept=tuple(ranked[:count]))
        yield f"{count} layers kept in floating point", kept, _plausible(workshop, name, kept, max_drop)
        count *= 2


def _fewest(workshop: Workshop, name: str, best: Quantisation, ranked: Sequence[str], max_drop: float) -> int:
    """By doubling, then bisection; all of `ranked` when even they do not heal the selection."""

    def heals(count: int) -> bool:
        return _plausible(workshop, name, structs.replace(best, kept=tuple(ranked[:count])), max_drop)

    high = 1
    while high < len(ranked) and not heals(high):
        high = min(2 * high, len(ranked))
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if heals(middle) else (middle, high)
    return high


def _gains(workshop: Workshop, name: str, candidate: Quantisation, best: Quantisation) -> bool:
    return _sqnr_db(workshop, name, candidate) > _sqnr_db(workshop, name, best) + GAIN_DB


def _plausible(workshop: Workshop, name: str, quantisation: Quantisation, max_drop: float) -> bool:
    least = workshop.profile.numerics.int8.min_sqnr_db or 0.0
    return workshop.measure(name, quantisation).plausible(max_drop, least)


def _sqnr_db(workshop: Workshop, name: str, quantisation: Quantisation) -> float:
    return workshop.measure(name, quantisation).distance.sqnr_db


def _make(workshop: Workshop, draft: Manifest, name: str, quantisation: Quantisation) -> Made:
    record = workshop.convert(name, quantisation)
    judged, report = workshop.judge(structs.replace(draft, variants=(record,)))
    return Made(draft=judged, record=judged.variants[0], report=report.variants[0])


def _attempt(step: str, quantisation: Quantisation, made: Made, size_bytes: int) -> Attempt:
    return Attempt(
        step=step,
        quantisation=quantisation,
        drop_points=made.drop_points,
        sqnr_db=made.report.sqnr_db,
        verdict=made.report.verdict,
        size_bytes=size_bytes,
    )


def _not_tried(workshop: Workshop, name: str, step: str, quantisation: Quantisation) -> Attempt:
    return Attempt(
        step=step,
        quantisation=quantisation,
        drop_points=None,
        sqnr_db=_sqnr_db(workshop, name, quantisation),
        verdict="not on the selection",
        size_bytes=workshop.size_bytes(name),
    )
