"""The terminal: data on stdout, everything else on stderr, one line and a hint for an error, progress bars."""

import errno
import functools
import io
import sys
from collections.abc import Callable, Generator, Iterable
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from typer.core import TyperGroup

from edgetl.errors import ConfigError, EdgetlError
from edgetl.files import to_json

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

INTERRUPTED = 130
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]

PIPE_WIDTH = 160
"""Columns of a table that is not written to a terminal."""


def stdout() -> Console:
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def stderr() -> Console:
    return Console(stderr=True, width=None if sys.stderr.isatty() else PIPE_WIDTH, highlight=False)


def say(text: str) -> None:
    """A line for the person watching, on stderr."""
    stderr().print(escape(text), soft_wrap=True)


def print_json(value: object) -> None:
    """A result for a program, on stdout."""
    sys.stdout.write(to_json(value).decode() + "\n")


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table whose numbers (columns that do not start with a letter of text) stay on one line."""
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


class Commands(TyperGroup):
    """A command group whose usage errors look like every other error: one line and a hint."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Exits with the command's code; with `standalone_mode` false, returns as the parser does."""
        standalone = extra.get("standalone_mode", True)
        extra["standalone_mode"] = False
        if not standalone:
            return super().main(*args, **extra)
        try:
            code = super().main(*args, **extra)
        except (KeyboardInterrupt, typer.Abort):
            _fail("interrupted", "nothing half-written was left behind")
            code = INTERRUPTED
        except Exception as error:
            # the parser's exceptions; their module differs between releases of typer
            if not hasattr(error, "format_message"):
                raise
            if message := error.format_message():  # none when no command was given: the help has been shown
                _fail(message.replace("'", "`"), "`edgetl --help` and `edgetl COMMAND --help` list what there is")
            code = ConfigError.exit_code
        sys.exit(code if isinstance(code, int) else 0)


def prepare_streams() -> None:
    """A terminal without Unicode shows `?` for what it cannot, and a closed stdout swallows; neither is an error."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, io.TextIOWrapper(io.BytesIO()))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def track(
    items: Iterable[T], description: str | Callable[[], str], total: int | None = None
) -> Generator[T, None, None]:
    """A progress bar with the time left, on stderr; gone when it is done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = stderr()
    if not console.is_terminal:
        yield from items
        return
    describe = description if callable(description) else lambda: description
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(describe(), total=total)
        for item in items:
            yield item
            progress.update(task, advance=1, description=describe())


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turns what a command raises into one clear line and the exit code that belongs to it."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except EdgetlError as error:
            _fail(error.message, error.hint)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            _fail("interrupted", "nothing half-written was left behind")
            raise typer.Exit(INTERRUPTED) from error
        except Exception as error:
            if not disk_is_full(error):
                raise
            place = f" (writing `{error.filename}`)" if isinstance(error, OSError) and error.filename else ""
            hint = "free some space, or choose another place with `-o` or EDGETL_CACHE; nothing was left behind"
            _fail(f"the disk is full{place}", hint)
            raise typer.Exit(1) from error

    return wrapped


def disk_is_full(error: BaseException) -> bool:
    """Libraries that write files themselves report a full disk in their own words."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return "No space left on device" in str(error)


def _fail(message: str, hint: str | None) -> None:
    console = stderr()
    console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    if hint:
        console.print(f"[bold]hint:[/] {escape(hint)}", soft_wrap=True)
