"""Which layers int8 hurts most: each is quantised alone, and the logits tell what it does to them.

Alone, because in a ruined network taking one layer back changes nothing while the others stay broken.
Reference: Wu et al., "Integer Quantization for Deep Learning Inference", 2020, section 6.2 (partial quantisation).
"""

import onnx

from edgetl.export.quantisation.layers import layers
from edgetl.export.quantisation.observing import answering
from edgetl.export.quantisation.qdq import quantise
from edgetl.export.selection import Selection
from edgetl.export.targets import Calibration
from edgetl.types import Track, silent

IMAGES = 16


def rank_layers(calibration: Calibration, selection: Selection, track: Track = silent) -> list[tuple[str, float]]:
    """Every compute layer with the SQNR (dB) of the logits when it alone is int8, the most harmful first."""
    names = layers(onnx.load(calibration.statistics.prepared))
    some, found = selection.first(IMAGES), []
    for name in track(names, "rank layers", len(names)):
        alone = answering(quantise(calibration, only=[name]))
        found.append((name, some.measure(alone).distance.sqnr_db))
    return sorted(found, key=lambda pair: pair[1])
