"""Makes the variants of one bundle in its folder, measures how one was quantised, and judges it."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from edgetl.bundle import Bundle
from edgetl.devices.check import check, skip_reason
from edgetl.devices.profile import Profile
from edgetl.devices.verdict import Report, VariantReport, worst
from edgetl.export.installed import library_version
from edgetl.export.judge import record_answers, runs_here
from edgetl.export.quantisation.statistics import Statistics
from edgetl.export.selection import Measured, Selection
from edgetl.export.source import Source
from edgetl.export.targets import Calibration, load_target, parse_variant
from edgetl.export.ways import quickest, relative_times
from edgetl.manifest import Manifest, Quantisation, VariantRecord, Way
from edgetl.runtime.engines import open_engine
from edgetl.tasks.inputs import Inputs
from edgetl.types import Array, Track


class Workshop:
    """`folder` is the bundle's; `work` is for what does not stay, and holds the fp32 graph as source.onnx.

    `retrain` writes the graph of a network trained under quantisation. `selection`: training images to choose by.
    """

    def __init__(
        self,
        folder: Path,
        work: Path,
        source: Source,
        profile: Profile,
        *,
        calibration: Inputs,
        selection: Selection | None,
        per_tensor: bool,
        retrain: Callable[[Path], None] | None,
        track: Track,
    ) -> None:
        self.folder, self.source, self.profile, self.selection = folder, source, profile, selection
        self.per_tensor, self.track = per_tensor, track
        self.calibration_inputs = calibration
        self._work, self._retrain = work, retrain
        self._statistics = {(False, False): Statistics(work / "source.onnx", calibration, track)}
        self._measured: dict[tuple[str, Quantisation], Measured] = {}
        self._converted: dict[str, VariantRecord] = {}
        self.reference: Array | None = None

    @property
    def retrains(self) -> bool:
        """Whether a network trained under quantisation can be had."""
        return self._retrain is not None

    def close(self) -> None:
        """Removes what was only needed on the way."""
        for statistics in self._statistics.values():
            statistics.close()

    def calibration(self, quantisation: Quantisation) -> Calibration:
        """The statistics of the graph the recipe starts from, which is trained or equalised first where it says so."""
        return Calibration(
            statistics=self._started_from(quantisation.trained, quantisation.equalised),
            quantisation=quantisation,
            per_tensor=self.per_tensor,
        )

    def _started_from(self, trained: bool, equalised: bool) -> Statistics:
        if (trained, equalised) not in self._statistics:
            name = ("trained" if trained else "") + ("equalised" if equalised else "")
            graph = self._work / f"{name}.onnx"
            if equalised:
                from edgetl.export.quantisation.equalisation import equalise  # needs ONNX Runtime

                equalise(self._started_from(trained, False).source, graph, self.calibration_inputs)
            else:
                assert self._retrain is not None
                self._retrain(graph)
            self._statistics[trained, equalised] = Statistics(graph, self.calibration_inputs, self.track)
        return self._statistics[trained, equalised]

    def chosen_way(self, name: str, plain: Quantisation) -> tuple[Quantisation, tuple[Way, ...]]:
        """How int8 variant `name` is quantised: as `plain` says or, where its engine has several ways for the graph,
        the fastest of those that may hold; with what each gave.
        """
        engine, precision = parse_variant(name)
        usual = load_target(engine).WAYS if precision == "int8" and self._of_products else ({},)
        ways = [msgspec.structs.replace(plain, **way) for way in usual]
        if len(ways) == 1 or self.selection is None or skip_reason(self.convert(name, plain), self.profile):
            return plain, ()
        measured = [self.measure(name, way) for way in ways]
        times = self._times(name, ways)
        found = tuple(
            Way(quantisation=way, sqnr_db=each.distance.sqnr_db, agreement=each.distance.agreement, time=time)
            for way, each, time in zip(ways, measured, times, strict=True)
        )
        least = self.profile.numerics.int8.min_sqnr_db or 0.0
        holding = [
            way
            for way, each in zip(found, measured, strict=True)
            if each.plausible(self.profile.accuracy.max_drop_points, least)
        ]
        return quickest(holding or found).quantisation, found

    @property
    def _of_products(self) -> bool:
        """Whether the graph's samples differ in length: a text's do, and its layers are matrix products."""
        return any(isinstance(axis, str) for spec in self.source.task.inputs for axis in spec.shape[1:])

    def _times(self, name: str, ways: Sequence[Quantisation]) -> list[float]:
        """The median latency of a sample over that of the first way."""
        assert self.selection is not None
        with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
            engines = []
            for number, way in enumerate(ways):
                record = self.convert(name, way)
                kept = Path(folder) / str(number)
                shutil.copytree(self.folder / name, kept)
                options = {**(self.profile.options(record.engine) or {}), **record.options}
                engine = open_engine(record.engine, kept / Path(record.files[0]).name, options)
                stack.callback(engine.close)
                engines.append(engine)
            return relative_times(engines, self.selection.inputs)

    def convert(self, name: str, quantisation: Quantisation) -> VariantRecord:
        """Writes the variant's files into the bundle's folder, in place of earlier ones."""
        if name in self._converted and self._converted[name].quantisation == quantisation:
            return self._converted[name]
        shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / name).mkdir()
        engine, precision = parse_variant(name)
        target = load_target(engine)
        calibration = self.calibration(quantisation)
        files = target.convert(calibration.statistics.source, self.folder / name, precision, calibration)
        self._converted[name] = VariantRecord(
            id=name,
            engine=engine,
            precision=precision,
            files=tuple(f"{name}/{file}" for file in files),
            options=target.options(precision),
            engine_version=library_version(engine),
            status="unverified",
            verdict="undecided",
            quantisation=quantisation if precision == "int8" else None,
        )
        return self._converted[name]

    def measure(self, name: str, quantisation: Quantisation) -> Measured:
        """What the engine answers to the selection when `name` is made that way; remembered."""
        if (name, quantisation) not in self._measured:
            record = runs_here(self.convert(name, quantisation), self.profile)
            options = {**(self.profile.options(record.engine) or {}), **record.options}
            engine = open_engine(record.engine, self.folder / record.files[0], options)
            assert self.selection is not None
            try:
                measured = self.selection.measure(engine.run)
            finally:
                engine.close()
            self._measured[name, quantisation] = measured
        return self._measured[name, quantisation]

    def judge(self, draft: Manifest) -> tuple[Manifest, Report]:
        """`draft` with its variants' answers recorded, and what `check` says of them."""
        draft, self.reference = record_answers(
            self.folder, draft, self.source, self.profile, self.track, self.reference
        )
        return draft, self.check(draft)

    def check(self, draft: Manifest) -> Report:
        """Judges the variants as recorded.

        Where an ONNX file stands in for an engine that is not here, which layers ran in what tells nothing of it.
        """
        standing = tuple(runs_here(variant, self.profile) for variant in draft.variants)
        bundle = Bundle(self.folder, msgspec.structs.replace(draft, variants=standing))
        report = check(bundle, self.profile, latency=None, track=self.track)
        pairs = zip(report.variants, draft.variants, strict=True)
        reports = tuple(each if variant in standing else _numbers_only(each) for each, variant in pairs)
        return msgspec.structs.replace(report, variants=reports, verdict=worst(each.verdict for each in reports))

    def size_bytes(self, name: str) -> int:
        """What the variant's files take, without the answers recorded beside them."""
        return sum(f.stat().st_size for f in (self.folder / name).iterdir() if f.suffix != ".npz")

    def set_aside(self, name: str, number: int) -> Path:
        """Copies the variant's folder to where later tries do not overwrite it."""
        return Path(shutil.copytree(self.folder / name, self._work / f"{number}-{name}"))

    def take_back(self, name: str, kept: Path) -> None:
        """Puts a folder that was set aside into its place again."""
        self._converted.pop(name, None)
        shutil.rmtree(self.folder / name)
        shutil.copytree(kept, self.folder / name)


def _numbers_only(report: VariantReport) -> VariantReport:
    reasons = tuple(reason for reason in report.reasons if reason.layer != "precision")
    return msgspec.structs.replace(report, reasons=reasons, verdict=worst(reason.verdict for reason in reasons))
