"""Several processes that train together get what one gets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from edgetl.errors import ConfigError
from edgetl.finetune.training.team import Alone, check_batch_size


def trained(processes: int, out: Path, dataset: Path, run: Path) -> dict[str, torch.Tensor]:
    """Norms keep their statistics, because each process would see other batches; the rest is the same mathematics."""
    launch = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    )
    command = [
        sys.executable, *launch, "-m", "edgetl", "finetune", dataset, "--backbone", "residual_cnn", "--weights", run,
        "--strategy", "fine-tune", "--epochs", 2, "--batch-size", 30, "--precision", "fp32", "--batch-norm", "frozen",
        "-o", out,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count(f"{out}:") == 1
    return load_file(out / "weights.safetensors")


@pytest.mark.slow
def test_two_processes_on_a_cpu_get_the_result_of_one(dataset: Path, run: Path, tmp_path: Path) -> None:
    one = trained(1, tmp_path / "one", dataset, run)
    two = trained(2, tmp_path / "two", dataset, run)
    start = load_file(run / "weights.safetensors")
    moved = [key for key in one if not torch.equal(one[key], start[key]) and one[key].is_floating_point()]
    assert len(moved) > 10
    for key in moved:
        assert torch.allclose(one[key], two[key], rtol=1e-3, atol=1e-4), key
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("one", "two")]
    assert len(lines[0]) == len(lines[1]) == 2
    assert json.loads(lines[0][1])["frozen_stages"] == 0


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    team = Alone()
    team.size = 3
    check_batch_size(33, team)
    with pytest.raises(ConfigError, match="a batch of 32 cannot be shared by 3 processes") as caught:
        check_batch_size(32, team)
    assert caught.value.hint == "`--batch-size` must be a multiple of 3"
