"""How many calibration images are enough: more are taken until they bring nothing."""

from collections.abc import Iterator

import msgspec

from edgetl.devices.numerics import Distance
from edgetl.export.quantisation.observing import answering
from edgetl.export.quantisation.qdq import quantise
from edgetl.export.selection import Selection
from edgetl.export.targets import Calibration
from edgetl.manifest import CalibrationPoint

FEWEST = 32
ENOUGH_DB = 0.5
"""A count is as good as the best when its SQNR is at most this much lower."""

IDLE = 2
"""After so many doublings that did not raise the best SQNR by `ENOUGH_DB`, more images are not tried."""


def calibration_curve(calibration: Calibration, selection: Selection) -> tuple[CalibrationPoint, ...]:
    """32, 64, … images with the SQNR and agreement that the min-max int8 graph then has on other images."""
    points: list[CalibrationPoint] = []
    best, idle = -float("inf"), 0
    for count in _counts(len(calibration.statistics.inputs)):
        distance = _distance(calibration, count, selection)
        points.append(CalibrationPoint(samples=count, sqnr_db=distance.sqnr_db, agreement=distance.agreement))
        idle = 0 if distance.sqnr_db > best + ENOUGH_DB else idle + 1
        best = max(best, distance.sqnr_db)
        if idle == IDLE:
            break
    return tuple(points)


def fewest_enough(points: tuple[CalibrationPoint, ...]) -> int:
    """The fewest images that come within half a decibel of the best."""
    best = max(point.sqnr_db for point in points)
    return next(point.samples for point in points if point.sqnr_db >= best - ENOUGH_DB)


def _counts(available: int) -> Iterator[int]:
    """32, 64, … below what there is, and all of it."""
    count = FEWEST
    while count < available:
        yield count
        count *= 2
    yield available


def _distance(calibration: Calibration, count: int, selection: Selection) -> Distance:
    recipe = msgspec.structs.replace(calibration.quantisation, samples=count)
    model = quantise(msgspec.structs.replace(calibration, quantisation=recipe))
    return selection.measure(answering(model)).distance
