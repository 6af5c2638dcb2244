"""The stage on the small real bundle: a plan that opens, a gate that holds, an interruption that costs nothing."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgetl.bundle import open_bundle
from edgetl.devices.catalogue import host_profile, load_profile
from edgetl.devices.launches import LaunchPlan
from edgetl.devices.profile import EngineChoice, Profile, Tolerance
from edgetl.devices.tuning.candidates import Candidate
from edgetl.devices.tuning.measuring import Sessions, Turns, right_answers
from edgetl.devices.tuning.search import Cost, Rules, Runner
from edgetl.devices.tuning.settle import settle_latency
from edgetl.devices.tuning.tune import TuneConfig, TuneReport, tune
from edgetl.errors import ArtefactError, DependencyError
from edgetl.export.planted.planting import rehash
from edgetl.manifest import Manifest
from edgetl.runtime import load
from edgetl.runtime.plan import Aim

SMALL = TuneConfig(minutes=0.05, rules=Rules(rungs=2, turns=2, seconds=0.005))
"""Too short for launches, so that the tests are quick."""


MILLISECONDS = {"onnxruntime-fp32": 4.0, "onnxruntime-int8": 3.0, "openvino-fp32": 2.0, "openvino-int8": 1.0}


class Counted:
    """Turns that cost what the variant's name says, and how many were asked for; may be interrupted."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.asked = 0
        self._stop_at = stop_at

    def cost(self, candidate: Candidate, number: int, seconds: float) -> float:
        if self.asked == self._stop_at:
            raise KeyboardInterrupt
        self.asked += 1
        noise = 1 + 0.001 * (number % 2)
        return MILLISECONDS[candidate.variant] * noise

    def __call__(self, turns: Turns) -> dict[Aim, Cost]:
        return {"latency": self.cost, "throughput": self.cost}


def simulated(folder: Path, costs: Counted, profile: Profile | None = None) -> TuneReport:
    return tune(open_bundle(folder), profile or host_profile(), SMALL, costs=costs)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_tune_writes_a_plan_that_opens_and_leaves_the_signed_content_alone(own_bundle: Path) -> None:
    before = content(own_bundle)
    report = tune(open_bundle(own_bundle), host_profile(), SMALL)
    after = content(own_bundle)
    assert {path for path in after if path not in before} == {str(own_bundle / "plans" / "host.json")}
    assert all(after[path] == before[path] for path in before)
    plan = report.plan
    assert plan is not None and plan.latency is not None and plan.throughput is not None
    assert plan.latency.p50_ms is not None and plan.latency.p50_ms.value > 0 and plan.latency_from == "process"
    assert plan.throughput.per_second is not None and plan.throughput.per_second.value > 0
    assert plan.variant in {each.variant for each in plan.front}
    for aim in ("latency", "throughput"):
        with load(own_bundle, aim=aim) as model:
            assert model.choice == plan.choice(aim) and model.variant.id == plan.choice(aim).variant
            assert len(model.predict([own_bundle / "golden" / "samples" / "0000.png"] * 20)) == 20
    assert sum(each.chosen for each in report.candidates) == 2


def test_what_fails_its_check_is_never_chosen(own_bundle: Path) -> None:
    """The fastest variant runs fp32 where int8 was declared."""
    _swap(own_bundle, "openvino-int8", "openvino-fp32")
    report = simulated(own_bundle, Counted())
    assert {each.id: each.verdict for each in report.variants}["openvino-int8"] == "fail"
    assert "openvino-int8" not in {each.choice.variant for each in report.candidates}
    assert report.plan is not None and report.plan.variant == "openvino-fp32"


def _swap(folder: Path, name: str, other: str) -> None:
    """The variant declared as `name` opens the other's files, another precision than declared."""

    def change(manifest: Manifest) -> Manifest:
        files = next(variant.files for variant in manifest.variants if variant.id == other)
        variants = tuple(
            msgspec.structs.replace(variant, files=files) if variant.id == name else variant
            for variant in manifest.variants
        )
        return msgspec.structs.replace(manifest, variants=variants)

    rehash(folder, change)


def test_without_a_variant_that_passes_there_is_no_plan(own_bundle: Path) -> None:
    _swap(own_bundle, "openvino-int8", "openvino-fp32")
    profile = host_profile()
    numerics = msgspec.structs.replace(
        profile.numerics, fp32=msgspec.structs.replace(profile.numerics.fp32, max_abs_dlogit=1e-12),
        int8=msgspec.structs.replace(profile.numerics.int8, min_sqnr_db=99.0),
    )  # fmt: skip
    report = simulated(own_bundle, Counted(), msgspec.structs.replace(profile, numerics=numerics))
    assert report.plan is None and report.candidates == ()
    assert {each.verdict for each in report.variants} == {"fail"}
    assert not (own_bundle / "plans" / "host.json").exists()


def test_nothing_that_runs_here_is_a_missing_dependency(own_bundle: Path) -> None:
    with pytest.raises(DependencyError, match="nothing can be tuned"):
        tune(open_bundle(own_bundle), load_profile("jetson-orin-nano"), SMALL)


def test_an_interrupted_tune_goes_on_where_it_was(own_bundle: Path) -> None:
    whole = Counted()
    uninterrupted = simulated(own_bundle, whole)
    with pytest.raises(KeyboardInterrupt):
        simulated(own_bundle, Counted(stop_at=30))
    unfinished = own_bundle / "plans" / "host.tuning.json"
    assert unfinished.is_file()
    rest = Counted()
    resumed = simulated(own_bundle, rest)
    assert rest.asked == whole.asked - 30
    assert resumed.candidates == uninterrupted.candidates and not unfinished.exists()


@pytest.mark.parametrize("change", ["content", "candidates", "damage"])
def test_progress_of_anything_else_starts_anew(own_bundle: Path, change: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        simulated(own_bundle, Counted(stop_at=30))
    profile = host_profile()
    if change == "content":
        rehash(own_bundle, lambda manifest: msgspec.structs.replace(manifest, versions={"edgetl": "another"}))
    elif change == "candidates":
        engines = (EngineChoice(name="onnxruntime", options={"threads": 1}), EngineChoice(name="openvino"))
        profile = msgspec.structs.replace(profile, engines=engines)
    else:
        (own_bundle / "plans" / "host.tuning.json").write_text('{"schema": "1.0", "ke')
    resumed = Counted()
    report = simulated(own_bundle, resumed, profile)
    assert resumed.asked == sum(each.turns for each in report.candidates)


def test_an_unfinished_tune_is_no_plan(own_bundle: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        simulated(own_bundle, Counted(stop_at=5))
    with load(own_bundle) as model:
        assert model.choice is None


def test_a_plan_that_could_not_be_written_is_said_before_anything_is_measured(own_bundle: Path) -> None:
    (own_bundle / "plans").write_text("a file where the folder should be")
    costs = Counted()
    with pytest.raises(ArtefactError, match="cannot hold a plan"):
        simulated(own_bundle, costs)
    assert costs.asked == 0


def test_strict_leaves_undecided_variants_out(own_bundle: Path) -> None:
    profile = host_profile()
    report = tune(open_bundle(own_bundle), profile, msgspec.structs.replace(SMALL, strict=True), costs=Counted())
    undecided = {each.id for each in report.variants if each.verdict == "undecided"}
    assert not undecided & {each.choice.variant for each in report.candidates}
    assert report.plan is not None


def test_the_plan_is_json_that_names_hardware_and_content(own_bundle: Path) -> None:
    simulated(own_bundle, Counted(), msgspec.structs.replace(host_profile(), name="camera"))
    written = json.loads((own_bundle / "plans" / "camera.json").read_text())
    assert written["schema"] == "1.1" and written["variant"] == "openvino-int8"
    assert written["latency"]["p50_ms"]["value"] == pytest.approx(1.0, rel=0.01)
    assert written["throughput"]["per_second"]["value"] == pytest.approx(1000, rel=0.01)
    assert written["machine"]["cores"] >= 1 and len(written["manifest"]) == 64 and "openvino" in written["engines"]


def test_options_under_which_the_answers_are_wrong_are_not_chosen(bundle: Path) -> None:
    """The golden set is asked in the candidate's own batches, by as many callers."""
    opened, profile = open_bundle(bundle), host_profile()
    impossible = msgspec.structs.replace(
        profile.numerics, fp32=msgspec.structs.replace(profile.numerics.fp32, max_abs_dlogit=1e-12)
    )
    candidate = Candidate(variant="openvino-fp32", options={"batch": 7}, batch=7, concurrency=3)
    with Sessions(opened, 2) as sessions:
        session = sessions.get(candidate)
        assert right_answers(session, candidate, profile)
        assert not right_answers(session, candidate, msgspec.structs.replace(profile, numerics=impossible))


def test_launches_settle_what_the_race_left_close(bundle: Path) -> None:
    """The race saw them swapped; fresh processes say which is faster, and scale what they did not measure."""
    opened = open_bundle(bundle)
    ranked = [
        Runner(candidate=Candidate(variant="onnxruntime-int8", options={"threads": 1}), costs=[1.0] * 3),
        Runner(candidate=Candidate(variant="openvino-int8", options={"threads": 1}), costs=[1.01] * 3),
        Runner(candidate=Candidate(variant="openvino-fp32", options={"threads": 1}), costs=[2.0] * 3, dropped=0),
    ]
    settled, launched = settle_latency(opened, ranked, 1000.0, plan=LaunchPlan(launches=2, blocks=3, queries=4))
    assert launched and len(settled) == 3
    assert settled[0][1].value <= settled[1][1].value and settled[0][1].low is not None
    first, last = settled[0], settled[2]
    assert last[0] is ranked[2]
    assert last[1].value / first[1].value == pytest.approx(2.0 / first[0].costs[0])
    kept, launched = settle_latency(opened, ranked, 1.0)
    assert not launched and [runner for runner, _ in kept] == ranked


def test_sessions_close_when_room_is_needed(bundle: Path) -> None:
    opened = open_bundle(bundle)
    with Sessions(opened, 1) as sessions:
        first = sessions.get(Candidate(variant="onnxruntime-fp32", batch=1))
        assert sessions.get(Candidate(variant="onnxruntime-fp32", batch=8, concurrency=2)) is first
        sessions.get(Candidate(variant="onnxruntime-int8"))
        assert sessions.get(Candidate(variant="onnxruntime-fp32")) is not first


def test_answers_are_held_against_the_profiles_confidence(own_bundle: Path) -> None:
    """81 of 90 answers agree. At 80 % that is surely less than 95 %, at 99.9 % it is not."""
    path = own_bundle / "golden" / "samples.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["logits"][:9] = np.roll(arrays["logits"][:9], 1, axis=1)
    np.savez(path, **arrays)
    rehash(own_bundle)
    profile = host_profile()
    numerics = msgspec.structs.replace(profile.numerics, fp32=Tolerance(min_agreement=0.95))
    candidate = Candidate(variant="onnxruntime-fp32", options={})
    with Sessions(open_bundle(own_bundle), 1) as sessions:
        session = sessions.get(candidate)
        for confidence, right in ((0.8, False), (0.999, True)):
            accuracy = msgspec.structs.replace(profile.accuracy, confidence=confidence)
            asked = msgspec.structs.replace(profile, numerics=numerics, accuracy=accuracy)
            assert right_answers(session, candidate, asked) is right
