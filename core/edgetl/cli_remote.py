"""Running a command elsewhere: `--on` one computer, `--fleet` many. What comes back is shown here."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import typer
from rich.console import RenderableType

from edgetl import console, show_fleet
from edgetl.console import say, track
from edgetl.errors import ConfigError
from edgetl.keeping import keep_measurement
from edgetl.options import GATE_FAILED, UNDECIDED, names

View = Callable[[Mapping[str, Any]], RenderableType]
"""How a report's plain values are shown."""

OPEN_QUESTION = "warning: undecided; the reasons above say what would decide"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a command runs: on one computer or on those that a file lists."""

    on: str | None
    fleet: Path | None
    edgetl: str | None
    ssh_config: Path | None
    at_once: int = 1


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A command for another computer: its options beside device and variants, and the report that it prints."""

    command: str
    kind: type[Any]
    bundle: Any
    device: str | None = None
    variants: str | None = None
    words: Sequence[str | Path] = ()


def elsewhere(
    on: str | None, remote_edgetl: str | None, ssh_config: Path | None, fleet: Path | None = None, at_once: int = 1
) -> Place | None:
    """Where the options say it runs; None for here. Raises ConfigError for options that do not go together."""
    if on is None and fleet is None:
        for name, value in (("remote-edgetl", remote_edgetl), ("ssh-config", ssh_config)):
            if value is not None:
                raise ConfigError(f"`--{name}` says how to reach a computer", hint="name it with `--on` or `--fleet`")
        return None
    if on is not None and fleet is not None:
        raise ConfigError("`--on` is one computer, `--fleet` many", hint="leave one of them out")
    if ssh_config is not None and not ssh_config.is_file():
        raise ConfigError(f"`{ssh_config}` is no file", hint="`--ssh-config` takes what `ssh -F` would")
    return Place(on=on, fleet=fleet, edgetl=remote_edgetl, ssh_config=ssh_config, at_once=at_once)


def ask_elsewhere(
    place: Place,
    asked: Asked,
    fleet_view: View,
    *,
    publish: Callable[[Any], None] = lambda report: None,
    strict: bool = False,
    as_json: bool,
) -> Any:
    """The report of the one computer; None after a fleet, whose reports have been shown, kept and published."""
    if place.fleet:
        ask_fleet(place, asked, fleet_view, publish=publish, strict=strict, as_json=as_json)
        return None
    return ask_device(place, asked)[0]


def ask_device(place: Place, asked: Asked) -> tuple[Any, tuple[str, ...]]:
    """The report of the one computer, and the files that came with it, relative to the bundle."""
    from edgetl.devices.fleet.answer import read_answer
    from edgetl.devices.remote.run import run_remote
    from edgetl.devices.remote.target import parse_target

    config = str(place.ssh_config) if place.ssh_config else None
    target = parse_target(place.on or "", edgetl=place.edgetl or "edgetl", config=config)
    with TemporaryDirectory(prefix="edgetl-") as folder:
        words = _words(asked, asked.device, names(asked.variants), Path(folder))
        result = run_remote(
            target, words, bundle=asked.bundle.path, say=_say_once, track=track, digest=asked.bundle.digest
        )
    report = read_answer(result, asked.kind, target.address)
    return msgspec.structs.replace(report, bundle=str(asked.bundle.path)), result.brought


def _say_once(text: str) -> None:
    """What the computer says, but for what is said again here when its report is shown."""
    if not text.endswith(OPEN_QUESTION):
        say(text)


def ask_fleet(
    place: Place,
    asked: Asked,
    view: View,
    *,
    publish: Callable[[Any], None] = lambda report: None,
    strict: bool = False,
    as_json: bool,
    runner: Any = None,
) -> None:
    """Asks every computer of the file, shows, keeps and publishes what came back, and exits with one code.

    `runner` stands in for `run_remote`.
    """
    from edgetl.devices.fleet.config import read_fleet
    from edgetl.devices.fleet.run import Question, ask_all
    from edgetl.devices.fleet.summary import summary
    from edgetl.devices.remote.run import run_remote

    assert place.fleet is not None
    config = str(place.ssh_config) if place.ssh_config else None
    devices = read_fleet(place.fleet, {"device": asked.device, "edgetl": place.edgetl, "ssh_config": config})
    variants = names(asked.variants)
    with TemporaryDirectory(prefix="edgetl-") as folder, show_fleet.lines([each.name for each in devices]) as hear:
        questions = [
            Question(
                device=each, words=tuple(_words(asked, each.device, variants or each.variants, _own(folder, each.name)))
            )
            for each in devices
        ]
        found = ask_all(
            questions, asked.kind, bundle=asked.bundle.path, at_once=place.at_once,
            runner=runner or partial(run_remote, digest=asked.bundle.digest),
            say=lambda name, text: None if text.endswith(OPEN_QUESTION) else hear(name, text),
        )  # fmt: skip
    report = summary(str(asked.bundle.path), found)
    if as_json:
        console.print_json(report)
    else:
        console.stdout().print(view(msgspec.to_builtins(report)))
    for each in found:
        if each.status == "judged":
            keep_measurement(asked.bundle, asked.command, each.report, each.report.machine)
    publish(report)
    if code := fleet_code(report, strict=strict):
        raise typer.Exit(code)


def fleet_code(report: Any, *, strict: bool) -> int:
    """The worst of all: a failed verdict, then a computer that could not be judged, then an undecided verdict."""
    from edgetl.devices.fleet.summary import error_code

    if report.verdict == "fail":
        return GATE_FAILED
    unreached = error_code(report)
    if unreached is not None:
        return unreached
    if report.verdict == "undecided":
        say(OPEN_QUESTION)
        return UNDECIDED if strict else 0
    return 0


def _own(folder: str, name: str) -> Path:
    path = Path(folder) / name
    path.mkdir()
    return path


def _words(asked: Asked, device: str | None, variants: Sequence[str] | None, folder: Path) -> list[str | Path]:
    """The command line for one computer; what has to be written for it goes to `folder`."""
    from edgetl.devices.fleet.command import option, profile_word

    # without a device there is no plan that could choose: one of this computer's would not be meant for that one
    planless = device is None and asked.command in ("check", "gate")
    chosen = variants or ([each.id for each in asked.bundle.manifest.variants] if planless else None)
    for name in chosen or ():
        asked.bundle.variant(name)
    return [
        asked.command,
        asked.bundle.path,
        *option("device", profile_word(device, folder)),
        *option("variants", ",".join(chosen) if chosen else None),
        *asked.words,
        "--json",
    ]
