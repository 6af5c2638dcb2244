"""Fresh processes that measure: a request goes in, an answer comes out, and none is left behind."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from edgetl.errors import EdgetlError, EngineError


def ask(command: Sequence[str], request: bytes, *, name: str, seconds: float, hint: str | None = None) -> bytes:
    """What `command` writes to its output when `request` is its input.

    Raises EngineError(`name`) when it fails or takes longer than `seconds`, which `hint` says how to change.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as child:
        try:
            output, errors = child.communicate(request, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise EngineError(name, f"not done after {seconds:g} s", hint=hint) from error
        finally:
            # whatever interrupts the wait, the child does not outlive it; on one that has ended this does nothing
            child.kill()
            child.wait()
    if child.returncode != 0:
        raise EngineError(name, _last_line(errors) or f"ended with code {child.returncode}")
    return output


def _last_line(errors: bytes) -> str:
    lines = [line.strip() for line in errors.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def answer(work: Callable[[bytes], bytes]) -> None:
    """The other side: writes what `work` makes of standard input.

    An engine may print to standard output, so that is turned to standard error before one is loaded.
    """
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as output:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        try:
            content = work(sys.stdin.buffer.read())
        except EdgetlError as error:
            sys.exit(error.message)
        output.write(content)
