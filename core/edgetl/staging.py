"""An output folder that is whole or absent."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgetl.errors import ConfigError

OURS = ("manifest.json", "run.json", "config.pbtxt")
"""A folder with one of these is a bundle or a run, which `--overwrite` may replace."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def staged_directory(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder beside `target` that becomes `target` when the block ends well, else vanishes.

    An existing target is kept until the new one is whole; a link is followed. Raises ConfigError when the
    target exists and `overwrite` is false, or when it cannot be written.
    """
    check_target(target, overwrite=overwrite)
    target = target.resolve()
    staging = target.with_name(f".{target.name[:100]}.{os.getpid()}.partial")
    missing = [parent for parent in target.parents if not parent.exists()]
    try:
        _make(staging, target)
        yield staging
        _replace(staging, target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        for parent in missing:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def check_target(target: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Refuses, before any work is done, an output folder that exists (unless `overwrite`), that is no folder of
    ours to replace, that cannot be written, or that holds or lies in one of the `inputs`.
    """
    target = target.resolve()
    for other in (path.resolve() for path in inputs):
        if target.is_relative_to(other) or other.is_relative_to(target):
            raise ConfigError(f"the output `{target}` and the input `{other}` overlap", hint="choose another `-o`")
    try:
        _check_existing(target, overwrite=overwrite)
        parent = next(path for path in target.parents if path.exists())
        writable = parent.is_dir() and os.access(parent, os.W_OK)
    except OSError as error:
        raise ConfigError(f"`{target}` cannot be written: {error.strerror}", hint="choose another `-o`") from error
    if not writable:
        raise ConfigError(f"`{target}` cannot be written: `{parent}` is no writable folder", hint="choose another `-o`")


def _check_existing(target: Path, *, overwrite: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise ConfigError(f"`{target}` is a file", hint="choose another folder with `-o`")
    filled = any(target.iterdir())
    if filled and not overwrite:
        hint = "choose another folder with `-o`, or replace it with `--overwrite`"
        raise ConfigError(f"`{target}` exists", hint=hint)
    if filled and not any((target / name).is_file() for name in OURS):
        raise ConfigError(f"`{target}` is neither a run nor a bundle and is not replaced", hint="choose another folder")


def _make(staging: Path, target: Path) -> None:
    try:
        staging.mkdir(parents=True)
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise ConfigError(f"`{target}` cannot be written: {error.strerror}", hint="choose another `-o`") from error


def _replace(staging: Path, target: Path) -> None:
    old = target.with_name(f".{target.name[:100]}.{os.getpid()}.old")
    if target.exists():
        target.rename(old)
    try:
        staging.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
