"""A sweep finds a winner on what was set aside, goes on where it was, shares its trials, and leaves nothing behind."""

import datetime
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import optuna
import pytest
import tomllib
import typer
from tests.conftest import write_dataset
from typer.testing import CliRunner

from edgetl.cli_sweep import sweep as cli_sweep
from edgetl.errors import ConfigError, DataError, DependencyError
from edgetl.finetune.config import FinetuneConfig
from edgetl.finetune.stage import finetune
from edgetl.finetune.sweep.ledger import SILENT_SECONDS, give_up_abandoned, open_storage, started, this_process
from edgetl.finetune.sweep.outcome import SweepResult
from edgetl.finetune.sweep.study import SweepConfig, sweep
from edgetl.finetune.training.checkpoint import Epoch

# 60 validation images are enough to choose by; 15 test images are the headline
COUNTS = {"train": 12, "val": 20, "test": 5}
LOOP: dict[str, Any] = {"epochs": 1, "augment": "none", "precision": "fp32", "batch_size": 16}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("sweep") / "stripes", COUNTS)


def wanted(images: Path, trials: int, **changed: Any) -> SweepConfig:
    """A sweep of `residual_cnn`; `loop` adds to what is fixed."""
    loop = {**LOOP, **changed.pop("loop", {})}
    base = FinetuneConfig(data=str(images), backbone="residual_cnn", weights="none", loop=loop)
    return SweepConfig(base=base, trials=trials, **changed)


def left_over(folder: Path) -> list[str]:
    return [path.name for path in (folder / "trials").iterdir() if path.name.startswith(".")]


@pytest.fixture(scope="module")
def swept(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sweeps") / "first"
    sweep(wanted(images, 3, loop={"epochs": 2}), out)
    return out


def test_the_winner_trained_again_has_the_same_score_and_headline(swept: Path, tmp_path: Path) -> None:
    found = json.loads((swept / "sweep.json").read_text())
    best = found["best"]
    assert best["score"] == max(trial["score"] for trial in found["trials"])
    config = FinetuneConfig(**tomllib.loads((swept / "best.toml").read_text()))
    again = finetune(config, tmp_path / "again")
    assert again.selection == best["score"]
    assert again.metrics == best["metrics"] and best["headline"] == "test" and best["samples"] == 15


def test_the_score_is_of_the_best_epoch_on_what_was_set_aside(swept: Path) -> None:
    found = json.loads((swept / "sweep.json").read_text())
    for trial in found["trials"]:
        lines = (Path(trial["run"]) / "metrics.jsonl").read_text().splitlines()
        assert trial["score"] == max(json.loads(line)["val_metric"] for line in lines)
        assert "metrics" not in trial, "the headline is for the winner only"


def test_the_journal_is_json_lines_and_the_report_stands_alone(swept: Path) -> None:
    lines = (swept / "study.journal").read_text().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
    page = (swept / "report.html").read_text()
    assert page.count("<svg") == 2 and "best.toml" in page and "<script" not in page


def test_the_same_command_adds_only_the_missing_trials(images: Path, tmp_path: Path) -> None:
    first = sweep(wanted(images, 1), tmp_path / "sweep")
    before = (tmp_path / "sweep/trials/000/run.json").stat().st_mtime_ns
    second = sweep(wanted(images, 3), tmp_path / "sweep")
    assert [trial.number for trial in second.trials] == [0, 1, 2] and first.trials[0] == second.trials[0]
    assert (tmp_path / "sweep/trials/000/run.json").stat().st_mtime_ns == before
    rates = [trial.options["learning_rate"] for trial in second.trials]
    assert len(set(rates)) == 3, "a sweep that goes on must not repeat its draws"
    whole = sweep(wanted(images, 3), tmp_path / "whole")
    assert [trial.options for trial in whole.trials] == [trial.options for trial in second.trials]


def test_other_options_are_another_sweep(images: Path, tmp_path: Path) -> None:
    sweep(wanted(images, 1), tmp_path / "sweep")
    with pytest.raises(ConfigError, match=r"begun with `loop.batch_size` = `16`, now it is `8`"):
        sweep(wanted(images, 2, loop={"batch_size": 8}), tmp_path / "sweep")


def test_fixed_options_are_not_searched(images: Path, tmp_path: Path) -> None:
    fixed = {"learning_rate": 2e-3, "weight_decay": 0.01, "mixup": 0.0, "dropout": 0.1}
    found = sweep(wanted(images, 2, loop=fixed), tmp_path / "sweep")
    assert [set(trial.options) for trial in found.trials] == [{"label_smoothing"}] * 2
    assert found.best and found.best.config["loop"]["learning_rate"] == 2e-3
    with pytest.raises(ConfigError, match="nothing is left"):
        sweep(wanted(images, 2, loop={**fixed, "label_smoothing": 0.0}), tmp_path / "all")


def test_a_pruned_trial_leaves_no_folder(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgetl.finetune.sweep.study.COMPLETE_BEFORE_PRUNING", 1)
    # the first trial has the default rate; any later one that the median beats in epoch 1 is pruned there
    found = sweep(wanted(images, 4, loop={"epochs": 3}), tmp_path / "sweep")
    pruned = [trial for trial in found.trials if trial.state == "pruned"]
    assert pruned, "no trial was pruned, so this shows nothing"
    folders = {path.name for path in (tmp_path / "sweep/trials").iterdir()}
    assert folders == {f"{trial.number:03}" for trial in found.trials if trial.state == "complete"}
    assert all(trial.epochs < 3 and trial.run is None for trial in pruned)


def test_a_training_that_diverges_is_a_failed_trial(images: Path, tmp_path: Path) -> None:
    wild = {"learning_rate": 10.0, "clip_norm": 0.0, "epochs": 30, "warmup": 0.0, "weight_decay": 10.0}
    with pytest.raises(ConfigError, match=r"none of the 1 trials ended well; the last: the (loss|gradient) is"):
        sweep(wanted(images, 1, loop=wild), tmp_path / "sweep")
    trial = json.loads((tmp_path / "sweep/sweep.json").read_text())["trials"][0]
    assert trial["state"] == "failed" and left_over(tmp_path / "sweep") == []


def test_bad_images_end_the_sweep_and_do_not_count(tmp_path: Path) -> None:
    images = write_dataset(tmp_path / "data", COUNTS)
    good = (images / "train/moss/03.png").read_bytes()
    (images / "train/moss/03.png").write_bytes(good[:40])
    with pytest.raises(DataError, match=r"03\.png"):
        sweep(wanted(images, 2), tmp_path / "sweep")
    base = msgspec.structs.replace(wanted(images, 1).base, skip_bad_images=True)
    found = sweep(SweepConfig(base=base, trials=1), tmp_path / "sweep")
    assert found.interrupted == 1 and [trial.number for trial in found.trials] == [1]


def test_too_few_images_to_choose_by(tmp_path: Path) -> None:
    images = write_dataset(tmp_path / "data", {"train": 40, "val": 2})
    with pytest.raises(DataError, match="18 images would be set aside") as caught:
        sweep(wanted(images, 2), tmp_path / "sweep")
    assert caught.value.hint == "`--hold-out 0.42` sets enough of train aside"
    found = sweep(wanted(images, 1, loop={"hold_out": 0.42}), tmp_path / "sweep")
    assert found.best and found.best.headline == "val"


def test_a_head_alone_is_scored_by_cross_validation_and_fitted_once(images: Path, swept: Path, tmp_path: Path) -> None:
    base = FinetuneConfig(data=str(images), backbone="residual_cnn", weights=str(swept / "trials/000"), loop=LOOP)
    strategies = ("feature-extraction", "from-scratch")
    found = sweep(SweepConfig(base=base, trials=5, strategies=strategies), tmp_path / "sweep")
    heads = [trial for trial in found.trials if trial.options["strategy"] == "feature-extraction"]
    tried = [json.loads(line) for line in (Path(str(heads[0].run)) / "metrics.jsonl").read_text().splitlines()]
    chosen = min(tried, key=lambda candidate: float(candidate["log_loss"]))
    assert heads[0].number == 0 and heads[0].score == pytest.approx(chosen["top1"])
    assert {(trial.same_as, trial.score) for trial in heads[1:]} <= {(0, heads[0].score)}


def command(images: Path, out: Path, trials: int, *more: str) -> subprocess.Popen[bytes]:
    """`sweep` in a process of its own."""
    code = (
        "import sys; from pathlib import Path; from edgetl.finetune.config import FinetuneConfig\n"
        "from edgetl.finetune.sweep.study import SweepConfig, sweep\n"
        f"base = FinetuneConfig(data={str(images)!r}, backbone='residual_cnn', weights='none', loop={LOOP!r})\n"
        f"sweep(SweepConfig(base=base, trials={trials}), Path({str(out)!r}))"
    )
    return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_two_processes_share_the_trials(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    other = command(images, out, 10)
    until = time.monotonic() + 60
    while not (out / "study.journal").exists() and time.monotonic() < until:
        time.sleep(0.01)
    sweep(wanted(images, 10), out)
    assert other.wait(timeout=60) == 0
    found = msgspec.json.decode((out / "sweep.json").read_bytes(), type=SweepResult)
    assert [trial.number for trial in found.trials] == list(range(10)) and found.running == 0
    assert len(list((out / "trials").glob("[0-9]*"))) == sum(trial.run is not None for trial in found.trials)
    assert len({trial.options["learning_rate"] for trial in found.trials}) == 10
    lines = [json.loads(line) for line in (out / "study.journal").read_text().splitlines()]
    owners = [line["user_attr"]["owner"]["process"] for line in lines if "owner" in line.get("user_attr", {})]
    assert set(owners) == {other.pid, os.getpid()}


def test_the_trial_of_a_killed_process_is_given_up_and_replaced(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    sweep(wanted(images, 1), out)
    study = optuna.load_study(study_name="sweep", storage=open_storage(out, None))
    lost = study.ask()
    with subprocess.Popen(["sleep", "20"]) as process:
        lost.set_user_attr("owner", {**this_process(), "process": process.pid, "started": started(process.pid)})
        (out / "trials/.001.unfinished").mkdir()
        meanwhile = sweep(wanted(images, 2), out)
        assert meanwhile.running == 1 and len(meanwhile.trials) == 2 and left_over(out) == [".001.unfinished"]
        process.kill()
    found = sweep(wanted(images, 2), out)
    assert found.running == 0 and found.interrupted == 1 and left_over(out) == []
    assert [(trial.number, trial.state) for trial in found.trials] == [(0, "complete"), (2, "complete")]


def test_the_trial_of_another_machine_is_given_up_when_it_is_long_silent(tmp_path: Path) -> None:
    study = optuna.create_study(study_name="far", storage=open_storage(tmp_path, None))
    trial = study.ask()
    trial.set_user_attr("owner", {"place": "elsewhere", "process": 1, "started": "1"})
    give_up_abandoned(study)
    assert study.trials[0].state == optuna.trial.TrialState.RUNNING
    long_ago = datetime.datetime.now() - datetime.timedelta(seconds=2 * SILENT_SECONDS)
    silent = optuna.trial.FrozenTrial(
        number=1, trial_id=1, state=optuna.trial.TrialState.RUNNING, value=None, datetime_start=long_ago,
        datetime_complete=None, params={}, distributions={}, user_attrs=dict(trial.user_attrs), system_attrs={},
        intermediate_values={},
    )  # fmt: skip
    study.add_trial(silent)
    give_up_abandoned(study)
    assert [each.state.name for each in study.trials] == ["RUNNING", "FAIL"]


def test_a_database_may_hold_the_trials(images: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    sweep(wanted(images, 1, storage=url), tmp_path / "sweep")
    found = sweep(wanted(images, 2, storage=url), tmp_path / "sweep")
    assert [trial.number for trial in found.trials] == [0, 1] and not (tmp_path / "sweep/study.journal").exists()


@pytest.mark.parametrize("url", ["redis://localhost", "sqlite:////no/such/folder/x.db", "mysql+none://a:secret@b/c"])
def test_a_storage_that_cannot_be_used(images: Path, tmp_path: Path, url: str) -> None:
    with pytest.raises((ConfigError, DependencyError), match="--storage") as caught:
        sweep(wanted(images, 1, storage=url), tmp_path / "sweep")
    assert "secret" not in str(caught.value)


def test_what_an_observer_raises_ends_the_training(images: Path, tmp_path: Path) -> None:
    seen: list[Epoch] = []

    def stop(epoch: Epoch) -> None:
        seen.append(epoch)
        raise KeyError("enough")

    base = wanted(images, 1, loop={"epochs": 3}).base
    with pytest.raises(KeyError):
        finetune(base, tmp_path / "run", observe=stop)
    assert [epoch.epoch for epoch in seen] == [1] and seen[0].val_metric is not None
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_no_sweep_is_left_alone(images: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(ConfigError, match="holds no sweep"):
        sweep(wanted(images, 1), tmp_path)
    with pytest.raises(ConfigError, match="overlap"):
        sweep(wanted(images, 1), images / "sweep")


def test_the_command_prints_the_winner(images: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(cli_sweep)
    arguments = [
        str(images), "-o", str(tmp_path / "sweep"), "--backbone", "residual_cnn", "--weights", "none", "--trials", "1",
        "--epochs", "1", "--augment", "none",
    ]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    assert "best: trial 0" in done.stdout and "--config" in done.stdout
    shown = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert shown["best"]["number"] == 0 and len(shown["trials"]) == 1
