"""A sweep: (config) → the best of many runs, chosen on samples set aside, never on the headline split."""

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import optuna
import tomli_w
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.trial import TrialState

from edgetl.errors import ConfigError, DataError
from edgetl.files import read_toml, sha256_of, write_bytes, write_json
from edgetl.finetune.backbones.registry import get_backbone
from edgetl.finetune.config import FinetuneConfig
from edgetl.finetune.data.dataset import Dataset, read_dataset
from edgetl.finetune.evaluation.headline import metric_of
from edgetl.finetune.interrupted import unfinished_folder
from edgetl.finetune.stage import finetune
from edgetl.finetune.strategies import AUTO, get_strategy, without_effect
from edgetl.finetune.sweep.ledger import (
    JOURNAL,
    abandon,
    beating,
    claims,
    end,
    give_up_abandoned,
    open_storage,
    open_study,
)
from edgetl.finetune.sweep.outcome import SweepResult, result_of
from edgetl.finetune.sweep.report import write_sweep_report
from edgetl.finetune.sweep.sampler import NumberedSampler
from edgetl.finetune.sweep.space import PRETRAINED, Space, drawn, space_of
from edgetl.finetune.training.checkpoint import Epoch
from edgetl.finetune.training.config import BOUNDS, LoopConfig, loop_config
from edgetl.finetune.training.pools import MIN_HELD_OUT
from edgetl.finetune.training.team import launched
from edgetl.staging import check_target
from edgetl.types import Track, silent

COMPLETE_BEFORE_PRUNING = 4
"""So many trials end by themselves before one is compared with their median."""

SPARED = 0.2
"""Part of the epochs in which no trial is pruned: what starts slowly may end well."""


class SweepConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `sweep` is asked to do. What `base.loop` names is fixed, all else of the space is searched.

    `trials`: of all processes together. `strategies`: empty for that of `base`, or the usual ones. `timeout_minutes`:
    after which this process begins no new trial. `storage`: a database; None for a journal in the sweep's folder.
    """

    base: FinetuneConfig
    trials: int = 30
    strategies: tuple[str, ...] = ()
    timeout_minutes: float | None = None
    storage: str | None = None
    pruner: Literal["median", "hyperband", "none"] = "median"


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """What every trial of a sweep needs."""

    base: FinetuneConfig
    space: Space
    study: optuna.Study
    folder: Path


def sweep(config: SweepConfig, out: Path, *, track: Track = silent) -> SweepResult:
    """Takes trials until `config.trials` are done, then writes what was found into `out`; goes on with a sweep there.

    Raises ConfigError, DataError, ArtefactError, DependencyError.
    """
    strategies = _strategies(config)
    _check(config, out)
    dataset = read_dataset(config.base.data, seed=config.base.seed, track=track)
    space = space_of(strategies, config.base.loop, len(dataset.split("train")))
    _check_enough(dataset, strategies, config.base)
    base = _with_metric(config.base, dataset)
    asked = _asked(base, strategies, dataset)
    with _quiet():
        out.mkdir(parents=True, exist_ok=True)
        storage = open_storage(out, config.storage)
        try:
            sampler = NumberedSampler(space, base.seed)
            study = open_study(storage, out.resolve().name, asked, sampler, _pruner(config))
            plan = Sweep(base=base, space=space, study=study, folder=out)
            deadline = time.monotonic() + (60 * config.timeout_minutes if config.timeout_minutes else math.inf)
            _clear(plan)
            for trial in track(claims(study, config.trials, deadline), lambda: _line(study), config.trials):
                _try(plan, trial)
            _clear(plan)
            result = _told(plan)
        finally:
            storage.remove_session()
    if result.best is None and result.trials and not result.running:
        last = result.trials[-1]
        raise ConfigError(
            f"none of the {len(result.trials)} trials ended well; the last: {last.message or last.state}",
            hint=f"`{out / 'sweep.json'}` says what became of each",
        )
    return result


def _told(plan: Sweep) -> SweepResult:
    """The result, written down; once more when the last of the other processes ended while this one was writing.

    That one has written too, and what lies there in the end must be the end.
    """
    metric = str(plan.base.loop["metric"])
    result = result_of(plan.study, plan.folder, metric)
    while True:
        _write(plan.folder, result)
        newer = result_of(plan.study, plan.folder, metric)
        if newer.running or newer == result:
            return result
        result = newer


def _write(out: Path, result: SweepResult) -> None:
    if result.best:
        write_bytes(out / "best.toml", tomli_w.dumps(result.best.config).encode())
    write_sweep_report(out / "report.html", result)
    write_json(out / "sweep.json", result)


def _try(plan: Sweep, trial: optuna.Trial) -> None:
    """One trial, from its options to its outcome. A training that fails is an outcome; bad data end the sweep."""
    folder = plan.folder / "trials" / f"{trial.number:03}"
    try:
        with beating(trial):
            _carry_out(plan, trial, folder)
    except optuna.TrialPruned:
        end(plan.study, trial, TrialState.PRUNED, None, {})
    except ConfigError as error:
        end(plan.study, trial, TrialState.FAIL, None, {"message": error.message})
    except UpdateFinishedTrialError:
        return  # given up by the others, who thought this process dead
    except BaseException:
        abandon(plan.study, trial.number)
        raise
    finally:
        shutil.rmtree(unfinished_folder(folder), ignore_errors=True)


def _clear(plan: Sweep) -> None:
    """Removes what processes that were killed left of their trials."""
    give_up_abandoned(plan.study)
    running = {trial.number for trial in plan.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
    for path in (plan.folder / "trials").glob(".*"):
        number = path.name.split(".")[1]
        if number.isdecimal() and int(number) not in running:
            shutil.rmtree(path, ignore_errors=True)


def _carry_out(plan: Sweep, trial: optuna.Trial, folder: Path) -> None:
    strategy, options = drawn(trial, plan.space)
    if twin := _twin(plan.study, trial):
        facts = {**twin.user_attrs, "same_as": twin.user_attrs.get("same_as", twin.number)}
        shared = ("config", "epochs", "run", "same_as")
        end(plan.study, trial, TrialState.COMPLETE, twin.value, {key: facts[key] for key in shared})
        return
    result = finetune(_configured(plan.base, strategy, options), folder, overwrite=True, observe=_observer(trial))
    if result.selection is None:
        raise DataError("no image was left to choose by", hint="`--hold-out` sets more aside")
    ran = msgspec.to_builtins(read_toml(folder / "config.toml", FinetuneConfig))
    facts = {"config": _without_none(ran), "epochs": result.epochs, "run": str(folder)}
    if not end(plan.study, trial, TrialState.COMPLETE, result.selection, facts):
        shutil.rmtree(folder)


def _twin(study: optuna.Study, trial: optuna.Trial) -> optuna.trial.FrozenTrial | None:
    """A finished trial with the very same options, whose run need not be done again."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return next((each for each in done if each.params == trial.params), None)


def _observer(trial: optuna.Trial) -> Callable[[Epoch], None]:
    def observe(epoch: Epoch) -> None:
        if epoch.val_metric is None:
            return
        trial.report(epoch.val_metric, epoch.epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    return observe


def _configured(base: FinetuneConfig, strategy: str, options: dict[str, Any]) -> FinetuneConfig:
    """A trial's own configuration; what would only cost time is off."""
    loop = {**base.loop, **options}
    idle = without_effect(get_strategy(strategy), loop)
    return msgspec.structs.replace(
        base,
        strategy=strategy,
        weights="none" if strategy == "from-scratch" else base.weights,
        loop={key: value for key, value in loop.items() if key not in idle},
        compare_scratch=False,
    )


def _strategies(config: SweepConfig) -> tuple[str, ...]:
    if config.strategies:
        return config.strategies
    if config.base.strategy != AUTO:
        return (config.base.strategy,)
    return ("from-scratch",) if config.base.weights == "none" else PRETRAINED


def _check(config: SweepConfig, out: Path) -> None:
    """What would make every trial fail is found before the first."""
    if launched():
        hint = "start the same command several times instead: they share the trials"
        raise ConfigError("a sweep does not run under `torchrun`", hint=hint)
    if config.trials < 1:
        raise ConfigError(f"`--trials` is {config.trials}", hint="at least 1")
    get_backbone(config.base.backbone)
    loop_config({}, config.base.loop)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"`{out}` is a file", hint="choose another folder with `-o`")
    if out.is_dir() and any(out.iterdir()) and not any((out / name).exists() for name in (JOURNAL, "trials")):
        raise ConfigError(f"`{out}` exists and holds no sweep", hint="choose another folder with `-o`")
    inputs = tuple(path for path in (Path(config.base.data), Path(config.base.weights)) if path.is_dir())
    check_target(out / "trials" / "new", overwrite=False, inputs=inputs)


def _check_enough(dataset: Dataset, strategies: tuple[str, ...], base: FinetuneConfig) -> None:
    """A choice by fewer images than `MIN_HELD_OUT` is a choice by chance; a head alone is cross-validated.

    To cross-validate trainings instead would cost five of each, and none of them would be the run.
    """
    if not any(get_strategy(name).trains for name in strategies):
        return
    train = len(dataset.split("train"))
    fraction = loop_config({}, base.loop).hold_out
    held = len(dataset.split("val")) if dataset.headline == "test" else round(fraction * train)
    if held >= MIN_HELD_OUT:
        return
    wanted = math.ceil(100 * MIN_HELD_OUT / train) / 100 if train else 1.0
    hint = "`--strategies feature-extraction` is cross-validated and needs none; else add images"
    if dataset.headline == "val" and wanted <= BOUNDS["hold_out"][1]:
        hint = f"`--hold-out {wanted:g}` sets enough of train aside"
    raise DataError(
        f"{held} images would be set aside to choose by; a sweep that trains needs {MIN_HELD_OUT}", hint=hint
    )


def _with_metric(base: FinetuneConfig, dataset: Dataset) -> FinetuneConfig:
    """All trials are judged by one metric, whichever part of the data a strategy sees."""
    metric = metric_of(loop_config({}, base.loop), np.asarray(dataset.split("train").labels, np.int64))
    return msgspec.structs.replace(base, loop={**base.loop, "metric": metric})


def _asked(base: FinetuneConfig, strategies: tuple[str, ...], dataset: Dataset) -> dict[str, Any]:
    """What must stay the same for trials to be comparable, wherever the files lie."""
    weights = Path(base.weights)
    return {
        "data": dataset.record().fingerprint,
        "backbone": base.backbone,
        "weights": sha256_of(weights) if weights.is_file() else base.weights,
        "size": base.size,
        "seed": base.seed,
        "strategies": list(strategies),
        **{f"loop.{name}": base.loop.get(name) for name in LoopConfig.__struct_fields__},
    }


def _pruner(config: SweepConfig) -> BasePruner:
    """Median: Golovin et al., "Google Vizier", KDD 2017. Hyperband: Li et al., JMLR 18, 2018."""
    epochs = loop_config({}, config.base.loop).epochs
    if config.pruner == "median":
        spared = max(1, round(SPARED * epochs))
        return MedianPruner(n_startup_trials=COMPLETE_BEFORE_PRUNING, n_warmup_steps=spared)
    return HyperbandPruner(min_resource=1, max_resource=epochs) if config.pruner == "hyperband" else NopPruner()


def _line(study: optuna.Study) -> str:
    """What the progress bar says."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    best = max(done, key=lambda each: each.value or 0.0, default=None)
    return f"sweep · best {best.value:.1%} (trial {best.number})" if best else "sweep"


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Optuna's own messages are left out; the caller has a progress bar."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
