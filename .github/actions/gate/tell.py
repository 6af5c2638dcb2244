"""Tells GitHub what a gate said: the action's outputs, the job summary, and an annotation for each variant in question.

`python3 tell.py REPORTS ERRORS CODE`: the folder of report.json, what `edgetl gate` wrote to stderr, its exit code.
"""

import json
import os
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

UNDECIDED = 8
JUDGED = (0, 7, UNDECIDED)
MAX_ANNOTATIONS = 10
"""GitHub shows no more of one step."""

LEVELS = {"fail": "error", "undecided": "warning", "skipped": "notice"}


def main(reports: Path, errors: Path, code: int) -> None:
    found = reports / "report.json"
    report = json.loads(found.read_text(encoding="utf-8")) if found.is_file() else None
    problem = "" if code in JUDGED else complaint(errors.read_text(encoding="utf-8", errors="replace"))
    shown = [*failure(code, problem), *(annotations(report, strict=code == UNDECIDED) if report else ())]
    for line in shown[:MAX_ANNOTATIONS]:
        print(line)
    if len(shown) > MAX_ANNOTATIONS:
        print(f"{len(shown) - MAX_ANNOTATIONS} more are in the report")
    values = {"verdict": report["verdict"] if report else "error", "exit-code": str(code)}
    for name, file in (("report", found), ("junit", reports / "junit.xml")):
        values[name] = str(file) if file.is_file() else ""
    append("GITHUB_OUTPUT", "".join(output(name, value) for name, value in values.items()))
    append("GITHUB_STEP_SUMMARY", summary(reports / "summary.md", code, problem))


def complaint(errors: str) -> str:
    """The error and its hint; of anything else the last line."""
    lines = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", errors).splitlines() if line.strip()]
    starts = [i for i, line in enumerate(lines) if line.startswith("error: ")]
    return "\n".join(lines[starts[-1] :] if starts else lines[-1:])


def failure(code: int, problem: str) -> Iterator[str]:
    if code not in JUDGED:
        yield annotation("error", "edgetl gate", problem or f"ended with code {code}")


def annotations(report: dict[str, Any], *, strict: bool) -> Iterator[str]:
    """One for each variant that did not pass, failed ones first."""
    questioned = [variant for variant in report["variants"] if variant["verdict"] in LEVELS]
    for variant in sorted(questioned, key=lambda variant: list(LEVELS).index(variant["verdict"])):
        verdict = variant["verdict"]
        level = "error" if strict and verdict == "undecided" else LEVELS[verdict]
        yield annotation(level, f"edgetl gate: {variant['id']}: {verdict}", "\n".join(reasons(variant)))


def reasons(variant: dict[str, Any]) -> Iterator[str]:
    """Those that made the verdict."""
    for reason in variant["reasons"]:
        if reason["verdict"] == variant["verdict"]:
            cause = f" (cause: {reason['cause']})" if reason["cause"] else ""
            yield f"{reason['layer']}: {reason['text']}{cause}"


def annotation(level: str, title: str, text: str) -> str:
    """A workflow command; what would end it or begin another is escaped as the runner reads it."""
    data = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    name = title.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={name}::{data}"


def output(name: str, value: str) -> str:
    """A value may hold line ends; only the random word ends it."""
    end = secrets.token_hex(16)
    return f"{name}<<{end}\n{value}\n{end}\n"


def summary(written: Path, code: int, problem: str) -> str:
    if written.is_file():
        return written.read_text(encoding="utf-8") + "\n"
    quoted = "".join(f"    {line}\n" for line in problem.splitlines())
    return f"### edgetl gate: no verdict (exit code {code})\n\n{quoted}\n"


def append(variable: str, text: str) -> None:
    with Path(os.environ[variable]).open("a", encoding="utf-8") as stream:
        stream.write(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
