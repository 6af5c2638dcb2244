"""Runs the jobs of a GitHub workflow here, in the parts of the runner's behaviour that the examples rely on.

As in actions/runner: inputs with defaults; expressions put into text before a shell sees it; `bash --noprofile --norc
-eo pipefail` where a step names bash, `bash -e` where it names none; outputs and summary through files; commands
read from the log unless stopped; a composite action's outputs are set also when it failed. Any expression or action
that is not known is an error, not a guess.
"""

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

SECONDS = 300
SHELLS = {"bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"], None: ["bash", "-e"]}
ELSEWHERE = ("actions/checkout@", "actions/setup-python@", "actions/upload-artifact@")
"""Actions of others: the caller of `run_job` provides what they would."""

Values = dict[str, str]


@dataclass
class Job:
    """One job on one runner: its folders and variables, and what came of it so far."""

    workspace: Path
    temp: Path
    env: Values
    outcomes: list[tuple[str, str]] = field(default_factory=list)
    annotations: list[tuple[str, str, str]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    log: str = ""
    code: int = 0

    @property
    def summary(self) -> str:
        written = self.temp / "summary"
        return written.read_text() if written.exists() else ""


def run_job(job: Job, steps: list[Any], *, provided: tuple[str, ...] = ()) -> str:
    """Success or failure of a job's steps, all but those named in `provided`."""
    known: dict[str, Values] = {}
    failed = False
    for step in steps:
        name = step.get("name") or step.get("uses") or step.get("id")
        if name in provided or str(step.get("uses", "")).startswith(ELSEWHERE):
            continue
        assert step.get("if") in (None, "${{ !cancelled() }}"), step["if"]
        if failed and "if" not in step:
            job.outcomes.append((name, "skipped"))
            continue
        passed, outputs = run_step(job, step, {"steps": known})
        job.outcomes.append((name, "success" if passed else "failure"))
        known[step.get("id", "")] = outputs
        failed = failed or not (passed or step.get("continue-on-error", False))
    return "failure" if failed else "success"


def run_step(job: Job, step: dict[str, Any], context: dict[str, Any]) -> tuple[bool, Values]:
    """Whether the step passed, and its outputs."""
    if "uses" in step:
        given = {name: evaluated(value, context) for name, value in step.get("with", {}).items()}
        return run_action(job, job.workspace / step["uses"], given)
    env = {name: evaluated(value, context) for name, value in step.get("env", {}).items()}
    return run_script(job, evaluated(step["run"], context), step.get("shell"), {**context.get("variables", {}), **env})


def run_action(job: Job, folder: Path, given: Values) -> tuple[bool, Values]:
    """A composite action with the inputs `given`."""
    action = yaml.safe_load((folder / "action.yml").read_text())
    assert set(given) <= set(action["inputs"]), given
    inputs = {name: given.get(name, declared.get("default", "")) for name, declared in action["inputs"].items()}
    known: dict[str, Values] = {}
    context = {"inputs": inputs, "steps": known, "variables": {"GITHUB_ACTION_PATH": str(folder)}}
    passed = True
    for step in action["runs"]["steps"]:
        passed, known[step.get("id", "")] = run_step(job, step, context)
        if not passed:
            break
    return passed, {name: evaluated(made["value"], context) for name, made in action["outputs"].items()}


def run_script(job: Job, text: str, shell: str | None, env: Values) -> tuple[bool, Values]:
    script, output = job.temp / "step.sh", job.temp / "output"
    script.write_text(text)
    output.write_text("")
    files = {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(job.temp / "summary")}
    runner = {"GITHUB_WORKSPACE": str(job.workspace), "RUNNER_TEMP": str(job.temp), "GITHUB_ACTIONS": "true"}
    done = subprocess.run(
        [*SHELLS[shell], str(script)], cwd=job.workspace, env={**job.env, **runner, **files, **env},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS,
    )  # fmt: skip
    job.code = done.returncode
    job.log += done.stdout
    read_commands(job, done.stdout)
    return done.returncode == 0, read_output(output.read_text())


def evaluated(text: Any, context: dict[str, Any]) -> str:
    """`text` with its expressions replaced."""

    def value(found: re.Match[str]) -> str:
        match found.group(1).split("."):
            case ["inputs", name]:
                return str(context["inputs"][name])
            case ["steps", step, "outputs", name]:
                return str(context["steps"].get(step, {}).get(name, ""))
        raise AssertionError(f"unknown expression {found.group(0)}")

    return re.sub(r"\$\{\{ *(.*?) *\}\}", value, text if isinstance(text, str) else str(text).lower())


def read_output(text: str) -> Values:
    """NAME=VALUE lines, and NAME<<END with lines up to END."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        name, multiline, end = line.partition("<<")
        if multiline:
            found[name] = "\n".join(iter(lambda end=end: next(lines), end))  # type: ignore[misc]
        else:
            name, _, found[name] = line.partition("=")
    return found


def read_commands(job: Job, log: str) -> None:
    """Annotations as (level, title, text); any other command is kept as it stands."""
    stopped = ""
    for line in log.splitlines():
        if stopped:
            stopped = "" if line == f"::{stopped}::" else stopped
        elif found := re.fullmatch(r"::stop-commands::(.+)", line):
            stopped = found.group(1)
        elif found := re.fullmatch(r"::(error|warning|notice) title=(.*?)::(.*)", line):
            level, title, text = found.groups()
            job.annotations.append((level, unescaped(title), unescaped(text)))
        elif line.startswith(("::", "##[")):
            job.commands.append(line)


def unescaped(text: str) -> str:
    for code, character in (("%2C", ","), ("%3A", ":"), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        text = text.replace(code, character)
    return text


def clean_environment(*folders: Path) -> Values:
    """What a runner's shell starts with; `folders` come first on the path."""
    path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
    kept = {name: os.environ[name] for name in ("HOME", "EDGETL_CACHE", "LANG", "PYTHONPATH") if name in os.environ}
    return {**kept, "PATH": path}
