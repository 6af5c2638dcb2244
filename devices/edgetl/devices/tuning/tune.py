"""The stage: what passes the gate is raced for latency and throughput, and the choices become the device's plan."""

import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Annotated

import msgspec

from edgetl.bundle import Bundle
from edgetl.devices.check import check
from edgetl.devices.profile import Profile
from edgetl.devices.tuning.candidates import (
    Candidate,
    latency_candidates,
    physical_cores,
    throughput_candidates,
)
from edgetl.devices.tuning.front import pareto_front
from edgetl.devices.tuning.measuring import Sessions, Turns, right_answers, room
from edgetl.devices.tuning.progress import Progress, progress_key
from edgetl.devices.tuning.search import Cost, Rules, Runner, figure, race, ranking
from edgetl.devices.tuning.settle import settle_latency
from edgetl.devices.verdict import Interval, Report, VariantReport
from edgetl.errors import ArtefactError, DependencyError, EngineError
from edgetl.files import write_json
from edgetl.machine import Machine, detect
from edgetl.manifest import VariantRecord
from edgetl.runtime.plan import SCHEMA, Aim, Choice, Figure, Plan, Tradeoff, plan_path
from edgetl.types import Option, Track, Verdict, silent

LATENCY_SHARE, LAUNCH_SHARE = 0.4, 0.3
"""Parts of the time left that the race for latency, and then settling it, may take; throughput has the rest."""


class TuneConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`minutes`: about when measuring ends; `strict`: a variant whose verdict is undecided is no candidate."""

    minutes: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    strict: bool = False
    rules: Rules = Rules()


class TunedVariant(msgspec.Struct, frozen=True, kw_only=True):
    """What `check` said of a variant here. A drop is in percentage points; `reason`: why it was skipped or failed."""

    id: str
    verdict: Verdict
    drop_points: Interval | None
    size_bytes: int
    reason: str = ""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that was measured, or that could not run.

    `turns`: how often; `dropped`: after which rung it was clearly slower than the best, None if it stayed.
    `chosen`: it is the plan's, and `choice` is what the plan says.
    """

    aim: Aim
    choice: Choice
    turns: int
    chosen: bool = False
    dropped: int | None = None
    refused: str | None = None


class TuneReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `tune --json` prints. `plan` is None when no variant passed."""

    bundle: str
    device: str
    seconds: float
    plan_path: str | None
    plan: Plan | None
    variants: tuple[TunedVariant, ...]
    candidates: tuple[Measured, ...] = ()
    machine: Machine | None = None


def tune(
    bundle: Bundle,
    profile: Profile,
    config: TuneConfig = TuneConfig(),  # noqa: B008  # frozen
    *,
    track: Track = silent,
    clock: Callable[[], float] = time.monotonic,
    costs: Callable[[Turns], dict[Aim, Cost]] | None = None,
) -> TuneReport:
    """Judges every variant, measures those that may ship, and writes `plans/NAME.json`; the signed content stays.

    Ends after about `config.minutes`, however many candidates there are, but not before it has a plan. An interrupted
    tune goes on where it was. `costs` replaces what a turn measures, for a simulation.
    Raises ArtefactError for a damaged or read-only bundle, DependencyError when nothing can run here, EngineError
    when nothing that may ship does run.
    """
    began = clock()
    make_room(bundle, profile)
    report = check(bundle, profile, variants=[v.id for v in bundle.manifest.variants], latency=None, track=track)
    variants = tuple(_tuned(each) for each in report.variants)
    if report.verdict == "skipped":
        raise DependencyError("nothing can be tuned here", hint="; ".join(sorted({each.reason for each in variants})))
    kept = [bundle.variant(each.id) for each in report.variants if _ships(each, config)]
    plan, measured = None, list[Measured]()
    if kept:
        tuning = _Tuning(bundle, profile, config, kept, report, began + 60 * config.minutes, clock, track)
        plan, measured = tuning.run(costs or _real_costs)
    return TuneReport(
        bundle=str(bundle.path), device=profile.name, seconds=clock() - began, plan=plan, variants=variants,
        plan_path=str(plan_path(bundle, profile.name)) if plan else None, candidates=tuple(measured),
        machine=detect(),
    )  # fmt: skip


def _real_costs(turns: Turns) -> dict[Aim, Cost]:
    return {"latency": turns.latency, "throughput": turns.throughput}


def make_room(bundle: Bundle, profile: Profile) -> None:
    """The folder of plans, before minutes are spent on what could not be written."""
    folder, hint = plan_path(bundle, profile.name).parent, "tune a copy of it that can be written"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ArtefactError(f"`{bundle.path}` cannot hold a plan: {error.strerror}", hint=hint) from error
    if not os.access(folder, os.W_OK):
        raise ArtefactError(f"`{folder}` is read-only, so it cannot hold a plan", hint=hint)


def _ships(report: VariantReport, config: TuneConfig) -> bool:
    return report.verdict == "pass" or (report.verdict == "undecided" and not config.strict)


def _tuned(report: VariantReport) -> TunedVariant:
    reason = "; ".join(each.text for each in report.reasons if each.verdict == report.verdict != "pass")
    return TunedVariant(
        id=report.id, verdict=report.verdict, drop_points=report.drop_points, size_bytes=report.size_bytes,
        reason=reason,
    )  # fmt: skip


class _Tuning:
    """One tune of the variants that may ship."""

    def __init__(
        self, bundle: Bundle, profile: Profile, config: TuneConfig, kept: Sequence[VariantRecord], report: Report,
        deadline: float, clock: Callable[[], float], track: Track,
    ) -> None:  # fmt: skip
        self._bundle, self._profile, self._config, self._report = bundle, profile, config, report
        self._deadline, self._clock, self._track = deadline, clock, track
        self._machine = detect()
        self._versions = {each.facts.engine: each.facts.version for each in report.variants if each.facts}
        self._spaces: dict[Aim, list[Candidate]] = {
            "latency": latency_candidates(kept, profile, self._machine, physical_cores(self._machine)),
            "throughput": throughput_candidates(kept, profile, self._machine),
        }
        key = progress_key(bundle, self._machine, [self._spaces, config.rules], self._versions)
        self._progress = Progress(bundle, profile.name, key)

    def run(self, costs: Callable[[Turns], dict[Aim, Cost]]) -> tuple[Plan, list[Measured]]:
        with Sessions(self._bundle, room(self._bundle, self._machine)) as sessions:
            measure = costs(Turns(sessions, self._bundle))
            quick = self._race("latency", measure, LATENCY_SHARE * self._seconds_left())
            sessions.close()  # what is open here would disturb the launches
            settled, launched = settle_latency(
                self._bundle, ranking(quick), LAUNCH_SHARE * self._seconds_left(), self._track
            )
            busy = self._race("throughput", measure, self._seconds_left())
            fastest = self._first_right(sessions, [(run.candidate, found) for run, found in settled])
            busiest = self._first_right(sessions, [(run.candidate, figure(run.costs)) for run in ranking(busy)])
        latency, throughput = _choice("latency", *fastest), _choice("throughput", *busiest)
        plan = self._plan(latency, throughput, [(run.candidate, found) for run, found in settled], launched)
        write_json(plan_path(self._bundle, self._profile.name), plan)
        self._progress.close()
        return plan, [*_measured("latency", quick, latency), *_measured("throughput", busy, throughput)]

    def _seconds_left(self) -> float:
        return self._deadline - self._clock()

    def _race(self, aim: Aim, measure: dict[Aim, Cost], seconds: float) -> list[Runner]:
        end = self._clock() + seconds
        cost = self._progress.remembering(aim, measure[aim])
        runners = race(
            self._spaces[aim], cost, self._config.rules,
            expired=lambda: self._clock() >= end, track=self._track, what=aim,
        )  # fmt: skip
        if not any(runner.measured for runner in runners):
            raise EngineError(aim, "; ".join(sorted({runner.refused or "" for runner in runners})))
        return runners

    def _first_right(self, sessions: Sessions, ranked: Sequence[tuple[Candidate, Figure]]) -> tuple[Candidate, Figure]:
        """The best whose answers are right with these options, these batches and this many callers."""
        for candidate, found in ranked:
            if right_answers(sessions.get(candidate), candidate, self._profile):
                return candidate, found
        hint = "check the variants; with the profile's own options they passed"
        raise EngineError("tune", "no candidate answers the golden set within tolerance", hint=hint)

    def _plan(
        self, latency: Choice, throughput: Choice, found: Sequence[tuple[Candidate, Figure]], launched: bool
    ) -> Plan:
        return Plan(
            schema=SCHEMA,
            variant=latency.variant,
            options=latency.options,
            latency=latency,
            throughput=throughput,
            front=self._front(latency, found),
            latency_from="launches" if launched else "process",
            machine=self._machine,
            manifest=self._bundle.digest,
            engines=self._versions,
            when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )

    def _front(self, latency: Choice, found: Sequence[tuple[Candidate, Figure]]) -> tuple[Tradeoff, ...]:
        """Each variant at its fastest; the one chosen with what was chosen."""
        times: dict[str, tuple[dict[str, Option], float]] = {}
        for candidate, p50 in sorted(found, key=lambda each: each[1].value):
            times.setdefault(candidate.variant, (candidate.options, p50.value))
        if latency.p50_ms:
            times[latency.variant] = latency.options, latency.p50_ms.value
        known = {each.id: each for each in self._report.variants}
        return pareto_front([
            Tradeoff(
                variant=name, options=options, p50_ms=p50, size_bytes=known[name].size_bytes,
                drop_points=drop.value if (drop := known[name].drop_points) else None,
            )
            for name, (options, p50) in times.items()
        ])  # fmt: skip


def _choice(aim: Aim, candidate: Candidate, found: Figure | None) -> Choice:
    """`candidate` with what it gave: `found` is ms a sample."""
    return Choice(
        variant=candidate.variant,
        options=candidate.options,
        batch=candidate.batch,
        concurrency=candidate.concurrency,
        p50_ms=found if aim == "latency" else None,
        per_second=_rate(found) if aim == "throughput" and found else None,
    )


def _rate(found: Figure) -> Figure:
    """ms a sample as samples a second."""
    low, high = (1000 / bound if bound else None for bound in (found.high, found.low))
    return Figure(value=1000 / found.value, low=low, high=high)


def _measured(aim: Aim, runners: Sequence[Runner], chosen: Choice) -> list[Measured]:
    """What is known of each candidate, the best first, those that cannot run last."""
    refused = [runner for runner in runners if runner.refused]
    return [_one(aim, runner, chosen) for runner in (*ranking(runners), *refused)]


def _one(aim: Aim, runner: Runner, chosen: Choice) -> Measured:
    choice = _choice(aim, runner.candidate, figure(runner.costs) if runner.measured else None)
    is_chosen = runner.candidate == Candidate(
        variant=chosen.variant, options=chosen.options, batch=chosen.batch, concurrency=chosen.concurrency
    )
    return Measured(
        aim=aim,
        choice=chosen if is_chosen else choice,
        turns=len(runner.costs),
        chosen=is_chosen,
        dropped=runner.dropped,
        refused=runner.refused,
    )
