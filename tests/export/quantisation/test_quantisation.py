"""Ranges, QDQ graphs, bias correction, ranking and the calibration curve, on a small trained network."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.export.models import model_of, task_of
from tests.export.ruin import FACTOR, ruin

from edgetl.export.golden import answers_to
from edgetl.export.graph import finish
from edgetl.export.quantisation.bias import correct_biases
from edgetl.export.quantisation.curve import calibration_curve, fewest_enough
from edgetl.export.quantisation.equalisation import equalise
from edgetl.export.quantisation.layers import layers
from edgetl.export.quantisation.observing import answering
from edgetl.export.quantisation.qdq import quantise
from edgetl.export.quantisation.sensitivity import rank_layers
from edgetl.export.quantisation.statistics import Statistics
from edgetl.export.quantisation.training import train_quantised
from edgetl.export.quantisation.weights_only import compress_weights
from edgetl.export.selection import Selection, training_images
from edgetl.export.source import Source, known, open_source
from edgetl.export.targets import Calibration
from edgetl.finetune.graph import deploy, export_onnx
from edgetl.manifest import CalibrationPoint, Quantisation
from edgetl.types import silent

PLAIN = Quantisation(samples=32)


@pytest.fixture(scope="module")
def source(run: Path) -> Source:
    return open_source(run, None)


@pytest.fixture(scope="module")
def selection(source: Source) -> Selection:
    found = known(source, training_images(source.split("train"), 0, None).selection, silent, "")
    outputs = answers_to(source.network.answer, found.inputs, source.task)
    return Selection(task=source.task, inputs=found.inputs, truths=found.truths, outputs=outputs)


@pytest.fixture(scope="module")
def statistics(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Statistics]:
    path = tmp_path_factory.mktemp("quantisation") / "source.onnx"
    export_onnx(deploy(model_of(source), task_of(source)), task_of(source).inputs, path)
    finish(path, source.task.inputs)
    samples = training_images(source.split("train"), 0, None).calibration
    with closing(Statistics(path, known(source, samples, silent, "").inputs)) as opened:
        yield opened


def calibration(statistics: Statistics, recipe: Quantisation = PLAIN) -> Calibration:
    return Calibration(statistics=statistics, quantisation=recipe)


def sqnr_db(model: onnx.ModelProto, selection: Selection) -> float:
    return selection.measure(answering(model)).distance.sqnr_db


def test_ranges_grow_with_the_images_and_clipped_ones_lie_inside(statistics: Statistics) -> None:
    few, many = statistics.ranges("min-max", 4), statistics.ranges("min-max", 40)
    assert all(many[name][0] <= low and high <= many[name][1] for name, (low, high) in few.items())
    for method in ("percentile", "mse"):
        clipped = statistics.ranges(method, 40)
        for name, (low, high) in clipped.items():
            least, most = min(many[name][0], 0.0), max(many[name][1], 0.0)
            edge = 1e-3 * (most - least)
            assert least - edge <= low <= high <= most + edge, name
        assert any(high < 0.95 * many[name][1] for name, (_, high) in clipped.items())


def test_clipping_for_the_least_error_errs_less_than_the_full_range() -> None:
    """Expected: clipping one outlier of a million at 40 to 10 costs 30² / 1e6 = 9e-4, one scale up to it
    (45 / 255)² / 12 = 2.6e-3, up to 10 (15 / 255)² / 12 = 3e-4.
    """
    from edgetl.export.quantisation.statistics import _least_error_range

    values = np.append(np.random.default_rng(0).normal(size=1_000_000), 40.0)
    counts, edges = np.histogram(values, 2048)
    low, high = _least_error_range(counts, edges)

    def error(low: float, high: float) -> float:
        step = (high - low) / 255
        return float(np.mean((np.clip(np.round((values - low) / step), 0, 255) * step + low - values) ** 2))

    assert high < 20 and error(low, high) < error(float(values.min()), float(values.max()))


def test_a_layer_kept_in_floating_point_keeps_its_weights_in_onnx_runtime(
    statistics: Statistics, selection: Selection
) -> None:
    """ONNX Runtime quantises the weights of a float layer between int8 neighbours by itself, one scale a tensor."""
    names = layers(onnx.load(statistics.prepared))
    plain = sqnr_db(quantise(calibration(statistics)), selection)
    for name in names:
        kept = quantise(calibration(statistics, Quantisation(samples=32, kept=(name,))))
        assert sqnr_db(kept, selection) > plain - 3, name
    everything = quantise(calibration(statistics, Quantisation(samples=32, kept=tuple(names))))
    assert sqnr_db(everything, selection) > 35


def test_int8_is_symmetric_for_tensorrt_and_carries_no_integer_bias(statistics: Statistics) -> None:
    model = quantise(calibration(statistics), "symmetric")
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    zeros = [constants[n.input[2]] for n in model.graph.node if n.op_type == "QuantizeLinear" and len(n.input) > 2]
    assert zeros and all(zero.dtype == np.int8 and not zero.any() for zero in zeros)
    assert not any(value.dtype == np.int32 for name, value in constants.items() if "bias" in name)


def test_bias_correction_takes_the_mean_error_away(statistics: Statistics, selection: Selection) -> None:
    """Weights rounded to one scale a tensor shift the means; the biases bring them back."""
    coarse = Calibration(statistics=statistics, quantisation=PLAIN, per_tensor=True)
    model = quantise(coarse)
    original = answering(onnx.load(statistics.prepared))(statistics.inputs.part(0, 32))["logits"]
    before = np.abs((answering(model)(statistics.inputs.part(0, 32))["logits"] - original).mean(axis=0)).max()
    assert correct_biases(model, coarse) > 5
    after = np.abs((answering(model)(statistics.inputs.part(0, 32))["logits"] - original).mean(axis=0)).max()
    assert after < before / 2
    onnx.checker.check_model(model, full_check=True)


def test_the_ranking_finds_the_layer_that_was_spoiled(source: Source, selection: Selection, tmp_path: Path) -> None:
    """One channel of the stem's weights is made so large that its scale leaves the other inputs nothing."""
    path = tmp_path / "spoiled.onnx"
    export_onnx(deploy(model_of(source), task_of(source)), task_of(source).inputs, path)
    finish(path, source.task.inputs)
    model = onnx.load(path)
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == gemm.input[1])
    values = onnx.numpy_helper.to_array(weight).copy()
    values[:, 0] *= FACTOR
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)
    with closing(Statistics(path, selection.inputs)) as statistics:
        ranked = rank_layers(Calibration(statistics=statistics, quantisation=Quantisation(samples=20)), selection)
    assert len(ranked) == len(layers(model)) and ranked == sorted(ranked, key=lambda pair: pair[1])


def test_equalising_keeps_the_function_and_heals_a_drowned_channel(
    own_run: Path, selection: Selection, tmp_path: Path
) -> None:
    ruin(own_run)
    spoiled = open_source(own_run, None)
    export_onnx(deploy(model_of(spoiled), task_of(spoiled)), task_of(spoiled).inputs, tmp_path / "spoiled.onnx")
    finish(tmp_path / "spoiled.onnx", spoiled.task.inputs)
    assert equalise(tmp_path / "spoiled.onnx", tmp_path / "equal.onnx", selection.inputs) == 3
    onnx.checker.check_model(onnx.load(tmp_path / "equal.onnx"), full_check=True)
    assert sqnr_db(onnx.load(tmp_path / "equal.onnx"), selection) > 90
    found = []
    for name in ("spoiled", "equal"):
        with closing(Statistics(tmp_path / f"{name}.onnx", selection.inputs)) as statistics:
            found.append(sqnr_db(quantise(calibration(statistics, Quantisation(samples=20))), selection))
    assert found[0] < 12 and found[1] > 25, found


def test_the_curve_stops_when_more_images_bring_nothing(statistics: Statistics, selection: Selection) -> None:
    points = calibration_curve(calibration(statistics), selection)
    counts = [point.samples for point in points]
    assert counts == sorted(set(counts)) and counts[0] == 32 and counts[-1] <= len(statistics.inputs)
    assert fewest_enough(points) in counts


def test_as_few_images_as_are_as_good_are_taken() -> None:
    levels = {32: 20.0, 64: 24.6, 128: 25.0, 256: 24.9}
    points = tuple(CalibrationPoint(samples=n, sqnr_db=db, agreement=1.0) for n, db in levels.items())
    assert fewest_enough(points) == 64


def test_weights_alone_shrink_the_file_and_hardly_change_the_answers(
    statistics: Statistics, selection: Selection, tmp_path: Path
) -> None:
    small = compress_weights(onnx.load(statistics.source))
    onnx.checker.check_model(small, full_check=True)
    onnx.save(small, tmp_path / "small.onnx")
    assert (tmp_path / "small.onnx").stat().st_size < 0.4 * statistics.source.stat().st_size
    assert sqnr_db(small, selection) > 30


def test_images_to_choose_by_never_calibrate(source: Source) -> None:
    images = training_images(source.split("train"), 0, None)
    assert images.selection and not {s.path for s in images.selection} & {s.path for s in images.calibration}
    assert len(images.calibration) + len(images.selection) <= len(source.split("train"))
    assert len(training_images(source.split("train"), 0, 7).calibration) == 7


def test_training_under_quantisation_leaves_a_plain_network_and_repeats(source: Source, statistics: Statistics) -> None:
    deployed = deploy(model_of(source), task_of(source))
    first, second = (train_quantised(deployed, statistics.inputs.first(24), 0, images=32) for _ in range(2))
    states = first.state_dict(), second.state_dict(), deployed.state_dict()
    assert states[0].keys() == states[2].keys()
    assert all(bool((states[0][name] == states[1][name]).all()) for name in states[0])
    assert any(not bool((states[0][name] == states[2][name]).all()) for name in states[0])
