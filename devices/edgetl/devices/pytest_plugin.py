"""The pytest plugin: a test that calls the fixture `edgetl_gate` fails when a bundle does not pass its gate.

Every pytest run where edgetl is installed loads this module, so it imports pytest and the standard library only, and
names pytest's types in quotes, as older releases do not have them all.
"""

import re
import warnings
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from edgetl.devices.acceptance import Question
    from edgetl.devices.baseline import GateReport
    from edgetl.devices.verdict import Report

    R = TypeVar("R", Report, GateReport)

GATE = "edgetl_gate"
"""The JUnit property that says in a line what a gate came to; the summary is made of these."""

_COLOURS = {"pass": {"green": True}, "fail": {"red": True}, "error": {"red": True}}


class EdgetlUndecided(UserWarning):
    """The data can support neither pass nor fail."""


class Gate:
    """What `edgetl_gate` gives a test: call it for a gate, or `check` for one that measures no latency.

    Relative paths start at the project's root folder. Nothing is written beside the bundle.
    """

    def __init__(self, request: "pytest.FixtureRequest") -> None:
        self._config = request.config
        self._test = request.node.nodeid
        # not the fixture `record_property`, which warns under the default `junit_family`
        self._properties: list[tuple[str, object]] = request.node.user_properties
        self._asked = 0

    def __call__(
        self,
        bundle: str | Path,
        *,
        device: str | None = None,
        baseline: str | Path | None = None,
        variants: Sequence[str] | str | None = None,
        data: str | Path | None = None,
        margin_percent: float = 5.0,
        launches: int = 8,
        strict: bool = False,
    ) -> "GateReport":
        """`edgetl gate` with the options of that name. The report is returned when the test may go on.

        Fails the test when a variant fails or the bundle cannot be judged, and under `strict` when the verdict is
        undecided, which is a warning (EdgetlUndecided) otherwise. Skips the test when nothing can be judged here.
        """
        __tracebackhide__ = True
        question = self._question(bundle, device, variants, data)
        before = self._path(baseline) if baseline is not None else None
        return self._settled(question, lambda: question.gate(before, margin_percent, launches), strict)

    def check(
        self,
        bundle: str | Path,
        *,
        device: str | None = None,
        variants: Sequence[str] | str | None = None,
        data: str | Path | None = None,
        strict: bool = False,
    ) -> "Report":
        """`edgetl check` without the latency: seconds instead of a minute. All else as above."""
        __tracebackhide__ = True
        question = self._question(bundle, device, variants, data)
        return self._settled(question, question.check, strict)

    def _question(
        self, bundle: str | Path, device: str | None, variants: Sequence[str] | str | None, data: str | Path | None
    ) -> "Question":
        from edgetl.devices.acceptance import Question

        return Question(
            place=f"{bundle} on {device or 'this machine'}",
            bundle=self._path(bundle),
            device=str(self._path(device)) if device is not None and device.endswith(".toml") else device,
            variants=tuple(variants.split(",") if isinstance(variants, str) else variants) if variants else None,
            data=self._path(data) if data is not None else None,
        )

    def _path(self, path: str | Path) -> Path:
        return self._config.rootpath / path

    def _settled(self, question: "Question", judge: "Callable[[], R]", strict: bool) -> "R":
        """Judges, keeps and records the report, and ends the test unless it may go on."""
        from edgetl.errors import EdgetlError
        from edgetl.files import write_json

        __tracebackhide__ = True
        problem = None
        try:
            report = judge()
            if folder := _report_folder(self._config):
                folder.mkdir(parents=True, exist_ok=True)
                write_json(folder / self._file_name(), report)
        except (EdgetlError, OSError) as error:
            problem = str(error)
        if problem is not None:  # outside the handler, or pytest shows the error twice
            self._properties.append((GATE, f"error: {question.place}"))
            pytest.fail(f"edgetl cannot judge {question.place}: {problem}", pytrace=False)
        self._properties.append((GATE, f"{report.verdict}: {question.place}"))
        self._properties.extend(question.figures(report))
        self._end(report.verdict, question.words(report), strict)
        return report

    def _file_name(self) -> str:
        """One for each call, the same in every session, so that a later gate can name it as its baseline."""
        self._asked += 1
        readable = re.sub(r"[^\w.-]+", "-", self._test)[-100:].strip("-.")
        return f"{readable}-{sha256(self._test.encode()).hexdigest()[:8]}-{self._asked}.json"

    def _end(self, verdict: str, text: str, strict: bool) -> None:
        __tracebackhide__ = True
        strict = strict or self._config.getoption("edgetl_strict")
        if verdict == "fail" or (verdict == "undecided" and strict):
            pytest.fail(text, pytrace=False)
        if verdict == "skipped":
            if strict or self._config.getini("edgetl_require"):
                pytest.fail(text, pytrace=False)
            pytest.skip("; ".join(line.strip() for line in text.splitlines()))
        if verdict == "undecided":
            warnings.warn(EdgetlUndecided(text), stacklevel=4)


@pytest.fixture
def edgetl_gate(request: "pytest.FixtureRequest") -> Gate:
    """Judge a bundle of edgetl: `edgetl_gate("bundles/x", device=…, baseline=…)`, or `edgetl_gate.check(…)`."""
    return Gate(request)


def pytest_addoption(parser: "pytest.Parser") -> None:
    group = parser.getgroup("edgetl", "gates of edgetl bundles")
    group.addoption("--edgetl-json", metavar="DIR", help="keep the report of every gate in DIR, as JSON")
    group.addoption(
        "--edgetl-strict", action="store_true", help="an undecided gate, and one that judged nothing, fails"
    )
    parser.addini("edgetl_require", "a gate that judged nothing fails", type="bool", default=False)


def pytest_configure(config: "pytest.Config") -> None:
    folder = _report_folder(config)
    if folder and folder.exists() and not folder.is_dir():
        raise pytest.UsageError(f"--edgetl-json: `{folder}` is no folder")


def _report_folder(config: "pytest.Config") -> Path | None:
    named = config.getoption("edgetl_json")
    return config.invocation_params.dir / named if named else None


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Lists the gates of the session. Their lines come with the tests' reports, so also from xdist's workers."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    ended = [report for report in reports if getattr(report, "when", None) == "teardown"]
    gates = [(str(text), report.nodeid) for report in ended for name, text in report.user_properties if name == GATE]
    if gates:
        terminalreporter.write_sep("=", "edgetl gates")
    for text, test in gates:
        terminalreporter.write_line(f"{text} ({test})", **_COLOURS.get(text.partition(":")[0], {"yellow": True}))
