"""What comes back from a device: a report, or the error that its edgetl ended with."""

from typing import Any, TypeVar

import msgspec

from edgetl.devices.fleet.summary import verdict_of
from edgetl.devices.remote.refusals import printable
from edgetl.devices.remote.run import RemoteResult
from edgetl.devices.verdict import worst
from edgetl.errors import ArtefactError, EdgetlError, first_line

R = TypeVar("R")

REPORTED = (0, 3, 7, 8)
"""The exit codes of a command that printed its report: passed, nothing judged, failed, undecided."""

MAX_WORDS = 1000
"""A message is cut to so many characters."""


class RemoteError(EdgetlError):
    """An error on a device, with the exit code it had there."""

    def __init__(self, message: str, *, hint: str | None, exit_code: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code if 1 <= exit_code <= 8 else 1


def read_answer(result: RemoteResult, kind: type[R], host: str) -> R:
    """The report in `result`, its texts free of control characters.

    Raises RemoteError for the error it ended with instead, ArtefactError for what is no report, does not say on which
    computer it was made, or has a verdict that is not the worst of its variants'.
    """
    if result.exit_code not in REPORTED or not result.output.strip():
        raise _error(result, host)
    try:
        report = msgspec.convert(_clean(msgspec.json.decode(result.output)), kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _no_report(host, first_line(error)) from error
    if getattr(report, "machine", None) is None:
        raise _no_report(host, "it does not say on which computer it was made")
    verdict = verdict_of(report)
    if verdict is not None and verdict != worst(each.verdict for each in report.variants):  # type: ignore[attr-defined]
        raise _no_report(host, f"`{verdict}` is not the worst verdict in it")
    return report


def _no_report(host: str, why: str) -> ArtefactError:
    return ArtefactError(f"the answer of `{host}` is no report: {why}", hint="install the same edgetl there as here")


def _error(result: RemoteResult, host: str) -> RemoteError:
    """The last `error:` and `hint:` that were written there."""
    lines = [printable(line).strip() for line in result.messages.splitlines()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    hints = [line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")]
    last = next((line for line in reversed(lines) if line), "it said nothing")
    message = errors[-1] if errors else f"edgetl ended with code {result.exit_code}: {last}"
    hint = hints[-1][:MAX_WORDS] if errors and hints else None
    return RemoteError(f"`{host}`: {message[:MAX_WORDS]}", hint=hint, exit_code=result.exit_code)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_clean(each) for each in value]
    if isinstance(value, dict):
        return {printable(key): _clean(each) for key, each in value.items()}
    return value
