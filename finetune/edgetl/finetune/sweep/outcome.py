"""What a sweep found: every trial and its score, the winner and the headline metrics of it alone."""

import shlex
from pathlib import Path
from typing import Any

import msgspec
import optuna
from optuna.trial import FrozenTrial, TrialState

from edgetl.finetune.sweep.ledger import OUTCOME, OWNER, counts
from edgetl.run import open_run

SCHEMA = "1.0"


class TrialRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One trial. `state`: complete, pruned, failed or running. `score`: on what was set aside for choices, 0–1.

    A pruned trial's `score` is its best until then. `run`: the folder, None without one; `machine` has it.
    `same_as`: the earlier trial with the same options, whose run and score these are.
    """

    number: int
    state: str
    options: dict[str, Any]
    score: float | None
    epochs: int
    seconds: float
    run: str | None = None
    machine: str = ""
    message: str = ""
    same_as: int | None = None


class Winner(msgspec.Struct, frozen=True, kw_only=True):
    """The trial with the best score. `metrics` of its run, on `samples` of the `headline` split, where that is here.

    `command` does the same again.
    """

    number: int
    score: float
    options: dict[str, Any]
    config: dict[str, Any]
    run: str
    command: str
    metrics: dict[str, float] | None = None
    headline: str | None = None
    samples: int | None = None


class SweepResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `sweep --json` prints, and `sweep.json`. `metric` is what every `score` is.

    `running`: trials of other processes; `interrupted`: trials that ended without an outcome and do not count.
    """

    schema: str = SCHEMA
    sweep: str
    metric: str
    best: Winner | None
    trials: tuple[TrialRecord, ...]
    running: int = 0
    interrupted: int = 0

    def ranked(self) -> list[TrialRecord]:
        """The complete trials, best first; of equals the earlier."""
        done = [trial for trial in self.trials if trial.state == "complete"]
        return sorted(done, key=lambda trial: (-(trial.score or 0.0), trial.number))


def result_of(study: optuna.Study, out: Path, metric: str) -> SweepResult:
    """The state of the study now."""
    trials = study.get_trials(deepcopy=False)
    records = tuple(_record(trial) for trial in trials if counts(trial))
    result = SweepResult(
        sweep=str(out),
        metric=metric,
        best=None,
        trials=records,
        running=sum(trial.state == TrialState.RUNNING for trial in trials),
        interrupted=sum(not counts(trial) for trial in trials),
    )
    if not (ranked := result.ranked()):
        return result
    return msgspec.structs.replace(result, best=_winner(ranked[0], trials[ranked[0].number], out))


def _record(trial: FrozenTrial) -> TrialRecord:
    facts = trial.user_attrs
    state = {"fail": "failed"}.get(outcome := facts.get(OUTCOME, "running"), outcome)
    reported = trial.intermediate_values
    took = (
        (trial.datetime_complete - trial.datetime_start) if trial.datetime_complete and trial.datetime_start else None
    )
    return TrialRecord(
        number=trial.number,
        state=state,
        options=dict(trial.params),
        score=trial.value if trial.state == TrialState.COMPLETE else max(reported.values(), default=None),
        epochs=facts.get("epochs", max(reported, default=0)),
        seconds=round(took.total_seconds(), 3) if took else 0.0,
        run=facts.get("run"),
        machine=facts.get(OWNER, {}).get("machine", ""),
        message=facts.get("message", ""),
        same_as=facts.get("same_as"),
    )


def _winner(record: TrialRecord, trial: FrozenTrial, out: Path) -> Winner:
    """The headline metrics are read of this one run only, and only now."""
    assert record.score is not None and record.run is not None
    winner = Winner(
        number=record.number,
        score=record.score,
        options=record.options,
        config=trial.user_attrs["config"],
        run=record.run,
        command=f"edgetl finetune --config {shlex.quote(str(out / 'best.toml'))} -o RUN",
    )
    folder = Path(record.run)
    if not (folder / "run.json").is_file():
        return winner  # on another machine
    run = open_run(folder)[0]
    return msgspec.structs.replace(
        winner, metrics=run.metrics, headline=run.headline, samples=run.data.counts.get(run.headline)
    )
