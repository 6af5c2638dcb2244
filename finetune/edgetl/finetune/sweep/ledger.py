"""The trials of a sweep in a storage that several processes and machines share: who does which, and who died."""

import contextlib
import os
import platform
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from edgetl.errors import ArtefactError, ConfigError, DependencyError, first_line
from edgetl.finetune.sweep.sampler import NumberedSampler

JOURNAL = "study.journal"

BEAT_SECONDS = 30.0
"""A process that works on a trial says so this often."""

SILENT_SECONDS = 900.0
"""A trial of another machine that was silent for so long is given up; clocks may differ by minutes."""

OUTCOME, OWNER, ALIVE, ASKED = "outcome", "owner", "alive", "asked"


def open_storage(out: Path, url: str | None) -> BaseStorage:
    """A journal of JSON lines in the folder `out`, or the database `url`, whose password no message repeats.

    Raises ConfigError, DependencyError, ArtefactError.
    """
    if url is None:
        try:
            return JournalStorage(JournalFileBackend(str(out / JOURNAL)))
        except (ValueError, KeyError, TypeError) as error:
            raise ArtefactError(
                f"`{out / JOURNAL}` cannot be read: {first_line(error)}",
                hint="the file is damaged; start the sweep again in a new folder",
            ) from error
    if not url.startswith(("sqlite:", "postgresql", "mysql")):
        hint = "such as `sqlite:///sweep.db` or `postgresql://USER@HOST/NAME`"
        raise ConfigError("`--storage` names no database a sweep can use", hint=hint)
    try:
        return RDBStorage(url)
    except ImportError as error:
        raise DependencyError(
            "the driver of the database in `--storage` is not installed", hint=first_line(error)
        ) from error
    except Exception as error:
        raise ConfigError(
            f"the database in `--storage` cannot be opened: {_reason(error)}", hint="check the URL"
        ) from error


def _reason(error: Exception) -> str:
    """The driver's own error rather than what wraps it, which may repeat the URL."""
    return first_line(getattr(error, "orig", None) or error.__cause__ or error)


def open_study(
    storage: BaseStorage, name: str, asked: dict[str, Any], sampler: NumberedSampler, pruner: BasePruner
) -> optuna.Study:
    """The study called `name`, new or as it is. Raises ConfigError when it was begun with other settings."""
    study = optuna.create_study(
        storage=storage, study_name=name, direction="maximize", load_if_exists=True, sampler=sampler, pruner=pruner
    )
    before = study.user_attrs.get(ASKED)
    if before is None:
        study.set_user_attr(ASKED, asked)
        return study
    if differing := [key for key in asked if before.get(key) != asked[key]]:
        key = differing[0]
        raise ConfigError(
            f"the sweep was begun with `{key}` = `{before.get(key)}`, now it is `{asked[key]}`",
            hint="go on with the same options, or choose another `-o`",
        )
    return study


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial is one of the sweep's: under way or ended by itself, not interrupted or given up."""
    return trial.state == TrialState.RUNNING or OUTCOME in trial.user_attrs


def claims(study: optuna.Study, total: int, deadline: float) -> Iterator[optuna.Trial]:
    """Trials for this process until all processes together have `total`, or `deadline` (of `time.monotonic`).

    The storage numbers trials in one order for everyone: who has `total` before it has one too many and leaves it.
    """
    while time.monotonic() < deadline:
        give_up_abandoned(study)
        if sum(map(counts, study.get_trials(deepcopy=False))) >= total:
            return
        trial = study.ask()
        trial.set_user_attr(OWNER, this_process())
        if sum(counts(each) for each in study.get_trials(deepcopy=False) if each.number < trial.number) >= total:
            abandon(study, trial.number)
            return
        yield trial


def abandon(study: optuna.Study, number: int) -> None:
    """Ends a trial without an outcome: it does not count, another takes its place."""
    study.tell(number, state=TrialState.FAIL, skip_if_finished=True)


def give_up_abandoned(study: optuna.Study) -> None:
    """Abandons the trials of processes that are gone."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_dead(trial):
            abandon(study, trial.number)


def end(
    study: optuna.Study, trial: optuna.Trial, state: TrialState, score: float | None, facts: dict[str, Any]
) -> bool:
    """Writes down how a trial ended; false when the others had given it up meanwhile."""
    try:
        for key, value in facts.items():
            trial.set_user_attr(key, value)
        trial.set_user_attr(OUTCOME, state.name.lower())
        study.tell(trial, score, state=state)
    except UpdateFinishedTrialError:
        return False
    return True


@contextlib.contextmanager
def beating(trial: optuna.Trial) -> Iterator[None]:
    """Tells the others now and then that this process still works on the trial."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            try:
                trial.set_user_attr(ALIVE, time.time())
            except UpdateFinishedTrialError:
                return
            except (OSError, StorageInternalError):
                continue  # a storage that is away for a moment costs one beat

    thread = threading.Thread(target=beat, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def this_process() -> dict[str, Any]:
    return {"place": _place(), "process": os.getpid(), "started": started(os.getpid()), "machine": platform.node()}


def _place() -> str:
    """Where process numbers mean the same: this machine, this container."""
    try:
        return f"{platform.node()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def started(process: int) -> str | None:
    """When a process began, in clock ticks since boot, so that a reused number is noticed; None when it is gone."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    # fields 3 and 22 of proc(5); a zombie has ended
    return None if stat[0] in "ZX" else stat[19]


def _is_dead(trial: FrozenTrial) -> bool:
    owner = trial.user_attrs.get(OWNER)
    if owner and owner["place"] == _place() and owner["started"] is not None:
        return bool(started(owner["process"]) != owner["started"])
    began = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    return time.time() - max(began, float(trial.user_attrs.get(ALIVE, 0.0))) > SILENT_SECONDS
