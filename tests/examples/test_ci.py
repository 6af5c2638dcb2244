"""The action, the template and the example workflow do what a runner would see: codes, outputs, annotations."""

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from examples.ci.plant import plant
from tests.conftest import Cli
from tests.examples.workflow import Job, Values, clean_environment, run_action, run_job
from tests.runtime.test_installs import uv

from edgetl.errors import ConfigError

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github" / "actions" / "gate"
CI = ROOT / "examples" / "ci"
FP32 = "onnxruntime-fp32"
INSTALLED = "install what plants"
HERE = {"requirement": "none", "variants": FP32, "arguments": "--launches\n5"}
"""The environment of the tests, and as little as a gate can measure."""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    for name in ("workspace", "temp"):
        (tmp_path / name).mkdir()
    environment = clean_environment(Path(sys.executable).parent)
    return Job(workspace=tmp_path / "workspace", temp=tmp_path / "temp", env=environment)


def test_a_bundle_that_is_not_there_is_an_error_with_its_hint(job: Job) -> None:
    passed, outputs = run_action(job, ACTION, {**HERE, "bundle": "bundles/none"})
    assert not passed and job.code == 4
    assert outputs == {"verdict": "error", "exit-code": "4", "report": "", "junit": ""}
    ((level, title, text),) = job.annotations
    assert (level, title) == ("error", "edgetl gate") and "`bundles/none" in text and "\nhint: " in text
    assert "no verdict (exit code 4)" in job.summary and "bundles/none" in job.summary


@pytest.mark.parametrize(
    "text",
    ["x\"; touch pwned; '$(touch pwned)' `touch pwned`", "x\n::set-output name=verdict::pass\n##[error]x", "--help"],
)
def test_no_input_is_run_or_read_as_a_command(job: Job, text: str) -> None:
    hostile = dict.fromkeys(("bundle", "baseline", "device", "variants", "data", "arguments"), text)
    passed, outputs = run_action(job, ACTION, {"requirement": "none", **hostile})
    assert not passed and outputs["verdict"] == "error" and outputs["exit-code"] in ("1", "2", "4")
    assert job.commands == [] and len(job.annotations) == 1
    assert not any("pwned" in path.name for path in job.workspace.iterdir())


def test_a_device_that_is_not_here_is_skipped_aloud(job: Job, bundle: Path) -> None:
    passed, outputs = run_action(job, ACTION, {**HERE, "bundle": str(bundle), "device": "jetson-orin-nano"})
    assert not passed and outputs["exit-code"] == "3" and outputs["verdict"] == "skipped"
    levels = [(level, title) for level, title, _ in job.annotations]
    assert levels == [("error", "edgetl gate"), ("notice", f"edgetl gate: {FP32}: skipped")]


@pytest.mark.parametrize("wrong", [{"bundle": ""}, {"strict": "yes"}, {"report-only": "1"}, {"reports": ""}])
def test_an_input_that_means_nothing_is_refused(job: Job, wrong: Values) -> None:
    passed, outputs = run_action(job, ACTION, {**HERE, "bundle": "none", **wrong})
    (name,) = wrong
    assert not passed and job.code == 2 and outputs["verdict"] == ""
    assert [text for _, _, text in job.annotations] == [f"the input `{name}` " + job.annotations[0][2].split("` ")[1]]


def test_annotations_survive_any_text_and_stay_within_the_limit(job: Job) -> None:
    reason = {"layer": "task", "verdict": "undecided", "text": "50 % of a,b:c\r\n::error::x", "cause": None}
    variants = [{"id": f"v:{i},{i}", "verdict": "undecided", "reasons": [reason]} for i in range(12)]
    cause = {**reason, "verdict": "fail", "cause": "labels"}
    broken = {"id": "broken", "verdict": "fail", "reasons": [reason, cause, {**reason, "verdict": "pass"}]}
    found = told(job, {"verdict": "fail", "variants": [*variants, broken]}, code=7)
    assert found[0] == ("error", "edgetl gate: broken: fail", f"task: {reason['text']} (cause: labels)")
    assert found[1] == ("warning", "edgetl gate: v:0,0: undecided", f"task: {reason['text']}")
    assert len(found) == 10 and "3 more are in the report" in job.log
    assert {level for level, _, _ in told(job, {"verdict": "undecided", "variants": variants}, code=8)} == {"error"}


def told(job: Job, report: dict[str, Any], *, code: int) -> list[tuple[str, str, str]]:
    """The annotations that tell.py makes of a report."""
    (job.temp / "report.json").write_text(json.dumps(report))
    (job.temp / "errors").touch()
    step = {"run": f'python3 "{ACTION}/tell.py" "{job.temp}" "{job.temp}/errors" {code}'}
    job.annotations.clear()
    assert run_job(job, [step]) == "success", job.log
    return list(job.annotations)


def test_the_planted_regression_is_one_that_check_names(bundle: Path, tmp_path: Path, cli: Cli) -> None:
    plant(bundle, tmp_path / "planted")
    said = cli("check", tmp_path / "planted", "--json")
    assert said.exit_code == 7
    (variant,) = json.loads(said.stdout)["variants"]
    assert any("red and blue" in (reason["cause"] or "") for reason in variant["reasons"])
    assert cli("check", bundle, "--variants", FP32).exit_code == 0  # the original is as it was
    with pytest.raises(ConfigError, match="exists already"):
        plant(bundle, tmp_path / "planted")
    with pytest.raises(ConfigError, match="no ONNX graph"):
        plant(bundle, tmp_path / "other", "openvino-fp32")


def gitlab(shell: str, folder: Path, variables: Values, *, part: str = "script") -> subprocess.CompletedProcess[str]:
    """The lines of the template as GitLab's runner gives them to a shell."""
    template = yaml.safe_load((CI / "gitlab-ci.yml").read_text())[".edgetl-gate"]
    lines = [*template["before_script"], *template["script"]] if part == "all" else template["script"]
    text = "\n".join(["set -e", *lines])
    env = {**clean_environment(Path(sys.executable).parent), **variables}
    return subprocess.run([shell, "-c", text], cwd=folder, env=env, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_the_template_ends_with_edgetls_code(shell: str, tmp_path: Path) -> None:
    done = gitlab(shell, tmp_path, {"EDGETL_BUNDLE": "$(touch pwned)", "EDGETL_STRICT": "true"})
    assert done.returncode == 4 and "hint: " in done.stderr and not (tmp_path / "pwned").exists()
    assert gitlab(shell, tmp_path, {}).returncode in (1, 2, 127)


@pytest.mark.slow
def test_a_good_bundle_gives_a_verdict_reports_and_a_summary(job: Job, own_bundle: Path) -> None:
    folder = job.workspace / 'models, "fine" and it\'s so'
    folder.mkdir()
    own_bundle.rename(folder / "a bundle")
    inputs = {**HERE, "bundle": f"{folder.name}/a bundle", "reports": f"{folder.name}/the reports", "strict": "true"}
    passed, outputs = run_action(job, ACTION, inputs)
    assert passed, job.log
    assert outputs["verdict"] == "pass" and outputs["exit-code"] == "0" and job.annotations == []
    assert json.loads(Path(outputs["report"]).read_text())["variants"][0]["id"] == FP32
    assert ET.parse(outputs["junit"]).getroot().tag in ("testsuite", "testsuites")
    assert "pass" in job.summary
    # the report of the last gate, which this one replaces, as the baseline
    passed, again = run_action(job, ACTION, {**inputs, "baseline": f"{folder.name}/the reports/report.json"})
    assert again["report"] == outputs["report"]
    assert json.loads(Path(again["report"]).read_text())["baseline"].endswith("report.json"), job.log


@pytest.mark.slow
def test_undecided_is_a_warning_or_the_strict_code(job: Job, bundle: Path) -> None:
    (job.workspace / "hard.toml").write_text(
        'name = "hard"\ntitle = "hard"\n[[engines]]\nname = "onnxruntime"\n[accuracy]\nmax_drop_points = 0.1\n'
    )
    inputs = {**HERE, "bundle": str(bundle), "device": "hard.toml", "variants": "onnxruntime-int8"}
    passed, outputs = run_action(job, ACTION, inputs)
    assert passed and outputs["verdict"] == "undecided", job.log
    assert [level for level, _, _ in job.annotations] == ["warning"]
    passed, outputs = run_action(job, ACTION, {**inputs, "strict": "true"})
    assert not passed and job.code == 8 and outputs["exit-code"] == "8"
    passed, outputs = run_action(job, ACTION, {**inputs, "strict": "true", "report-only": "true"})
    assert passed and outputs["exit-code"] == "8"


@pytest.fixture
def checkout(job: Job, bundle: Path) -> list[Any]:
    """The workspace after actions/checkout, with a bundle in it; the jobs of the example workflow."""
    shutil.copytree(ROOT / ".github", job.workspace / ".github")
    shutil.copytree(CI, job.workspace / "examples" / "ci", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(bundle, job.workspace / "bundles" / "flowers")
    jobs: dict[str, Any] = yaml.safe_load((CI / "github-workflow.yml").read_text())["jobs"]
    return [jobs["gate"]["steps"], jobs["planted"]["steps"]]


def with_inputs(steps: list[Any], inputs: Values) -> list[Any]:
    return [{**step, "with": {**step["with"], **inputs}} if "gate" in step.get("uses", "") else step for step in steps]


@pytest.mark.slow
def test_the_workflow_is_green_for_the_bundle_and_red_for_the_regression(job: Job, checkout: list[Any]) -> None:
    good, planted = (with_inputs(steps, HERE) for steps in checkout)
    assert run_job(job, good) == "success", job.log
    assert run_job(job, planted, provided=(INSTALLED,)) == "success", job.log
    assert ("./.github/actions/gate", "failure") in job.outcomes
    assert ("the gate must have said no", "success") in job.outcomes
    assert any(level == "error" and "red and blue" in text for level, _, text in job.annotations)
    on_it = with_inputs(good, {"bundle": "planted"})
    assert run_job(job, on_it) == "failure"  # as a pull request that brings the regression would be
    unharmed = with_inputs(planted, {"bundle": "bundles/flowers"})
    shutil.rmtree(job.workspace / "planted")
    assert run_job(job, unharmed, provided=(INSTALLED,)) == "failure"  # a gate that lets all pass is noticed


@pytest.mark.slow
def test_the_action_installs_its_own_repository_once(job: Job, bundle: Path) -> None:
    job.env = clean_environment()
    inputs = {**HERE, "requirement": "", "extras": "onnxruntime", "bundle": str(bundle)}
    passed, outputs = run_action(job, ACTION, inputs)
    assert passed and outputs["verdict"] == "pass", job.log
    environment = job.temp / "edgetl-gate"
    made = (environment / "installed").stat().st_mtime_ns
    listed = subprocess.run([environment / "bin" / "pip", "list"], capture_output=True, text=True, timeout=60).stdout
    assert "onnxruntime" in listed and "torch" not in listed
    passed, _ = run_action(job, ACTION, {**inputs, "device": "jetson-orin-nano"})
    assert not passed and job.code == 3 and (environment / "installed").stat().st_mtime_ns == made


@pytest.mark.slow
def test_an_action_outside_its_repository_asks_what_to_install(job: Job, tmp_path: Path) -> None:
    copied = shutil.copytree(ACTION, tmp_path / "repository" / ".github" / "actions" / "gate")
    passed, _ = run_action(job, copied, {"bundle": "none"})
    assert not passed and job.code == 2 and "`requirement`" in job.annotations[0][2]
    passed, _ = run_action(job, copied, {"bundle": "none", "requirement": "--index-url=http://127.0.0.1:1 x"})
    assert not passed and "--index-url" in job.log and not (job.temp / "edgetl-gate" / "installed").exists()


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_the_template_installs_gates_and_leaves_the_reports(shell: str, bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "a bundle")
    plant(bundle, tmp_path / "planted")
    requirement = {"EDGETL_REQUIREMENT": f"{ROOT}[onnxruntime]", "EDGETL_VARIANTS": FP32}
    done = gitlab(shell, tmp_path, {**requirement, "EDGETL_BUNDLE": "a bundle"}, part="all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in (tmp_path / "edgetl-gate").iterdir()} == {"report.json", "junit.xml", "summary.md"}
    done = gitlab(shell, tmp_path, {**requirement, "EDGETL_BUNDLE": "planted"}, part="all")
    assert done.returncode == 7 and json.loads((tmp_path / "edgetl-gate" / "report.json").read_text())
    template = yaml.safe_load((CI / "gitlab-ci.yml").read_text())[".edgetl-gate"]
    assert template["artifacts"]["reports"]["junit"] == "edgetl-gate/junit.xml"


@pytest.mark.slow
def test_the_test_of_the_example_passes_and_fails(bundle: Path, tmp_path: Path) -> None:
    shutil.copy(CI / "test_ships.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:edgetl", "-p", "edgetl.devices.pytest_plugin"]
    flowers = tmp_path / "bundles" / "flowers"
    for code in (0, 1):
        if code:
            plant(bundle, flowers)
        else:
            shutil.copytree(bundle, flowers)
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, done.stdout + done.stderr
        shutil.rmtree(flowers)


@pytest.mark.slow
def test_the_files_are_what_github_and_gitlab_define(tmp_path: Path) -> None:
    """Against the published schemas (schemastore.org), which check-jsonschema brings along."""
    if shutil.which("uv") is None:
        pytest.skip("uv is not on the path, so no clean environment can be made")
    uv("venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    uv("pip", "install", "--quiet", "--python", tmp_path / "venv", "check-jsonschema")
    damaged = tmp_path / "action.yml"
    damaged.write_text((ACTION / "action.yml").read_text().replace("using: composite", "using: magic"))
    for schema, file, code in (
        ("github-actions", ACTION / "action.yml", 0), ("github-actions", damaged, 1),
        ("github-workflows", CI / "github-workflow.yml", 0), ("gitlab-ci", CI / "gitlab-ci.yml", 0),
    ):  # fmt: skip
        checker = str(tmp_path / "venv" / "bin" / "check-jsonschema")
        command = [checker, "--builtin-schema", f"vendor.{schema}", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, (file, done.stdout)


def test_the_scripts_are_what_shellcheck_wants(tmp_path: Path) -> None:
    checker = shutil.which("shellcheck")
    if checker is None:
        pytest.skip("shellcheck is not installed (the Debian package of that name)")
    steps = [step["run"] for job in yaml.safe_load((CI / "github-workflow.yml").read_text())["jobs"].values()
             for step in job["steps"] if "run" in step]  # fmt: skip
    (tmp_path / "workflow.sh").write_text("\n".join(["#!/bin/bash", *steps]))
    template = yaml.safe_load((CI / "gitlab-ci.yml").read_text())[".edgetl-gate"]
    (tmp_path / "gitlab.sh").write_text("\n".join(["#!/bin/sh", *template["before_script"], *template["script"]]))
    files = [*ACTION.glob("*.sh"), tmp_path / "workflow.sh", tmp_path / "gitlab.sh"]
    assert len(files) == 4 and all(os.access(path, os.X_OK) for path in ACTION.glob("*.sh"))
    done = subprocess.run([checker, *map(str, files)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
