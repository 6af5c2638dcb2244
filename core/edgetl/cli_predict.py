"""The command that answers samples with a bundle: predict."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgetl import console
from edgetl.console import Json, reports_errors, say
from edgetl.errors import ConfigError, DataError, first_line
from edgetl.options import BundleArgument, RequireSignature

if TYPE_CHECKING:
    from edgetl.runtime import Session

STDIN = "-"


@reports_errors
def predict(
    bundle: BundleArgument,
    samples: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help="Image files, or texts; - reads texts from stdin, one a line.", show_default=False),
    ] = None,
    file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="PATH", help="More of them: a folder of images; texts, one a line or a CSV or JSONL."),
    ] = None,
    variant: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Default: this machine's plan, else the first whose engine is installed."),
    ] = None,
    top: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="How many labels for each sample; default: 3."),
    ] = None,
    threshold: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0.0, max=1.0, help="What an object scores at least; default: the bundle's own."),
    ] = None,
    draw: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="DIR", help="Also write each image with its boxes there."),
    ] = None,
    require_signature: RequireSignature = None,
    as_json: Json = False,
) -> None:
    """Label images or texts, or find the objects in images."""
    from edgetl.runtime import load
    from edgetl.tasks.preparation import Wishes

    with load(bundle, variant=variant, require_signature=require_signature) as model:
        _refuse_wishes(model, {"top": top, "threshold": threshold, "draw": draw})
        given = GIVEN[model.task.takes](samples or [], model.task.unlabelled(file) if file else [])
        places = _places(draw, given) if draw else []
        answers = model.answers(given, Wishes(top=top or 3, threshold=threshold))
        say(f"answered by {model.variant.id}")
        named = NAMES[model.task.takes]
        if draw:
            _draw(places, given, answers, model.task.labels)
            say(f"drawn: {len(places)} in {draw}")
    if as_json:
        console.print_json([{named: str(each), **_fields(a)} for each, a in zip(given, answers, strict=True)])
        return
    for each, answer in zip(given, answers, strict=True):
        for line in LINES[_answered(model)](answer):
            typer.echo(f"{each}: {line}")


def _answered(model: "Session") -> str:
    """The field that has the answer: `top` labels or `objects`."""
    (field,) = model.task.answer.__struct_fields__
    return str(field)


def _fields(answer: Any) -> dict[str, Any]:
    return {name: getattr(answer, name) for name in answer.__struct_fields__}


def _refuse_wishes(model: "Session", wishes: dict[str, object]) -> None:
    """What this kind of answer does not have is refused rather than ignored."""
    granted = GRANTED[_answered(model)]
    for name, value in wishes.items():
        if value is not None and name not in granted:
            hint = f"it takes `--{'` and `--'.join(granted)}`"
            raise ConfigError(f"`--{name}` means nothing for `{model.bundle.path}`", hint=hint)


def _images(samples: Sequence[str], listed: Sequence[Path | str]) -> list[Any]:
    if STDIN in samples:
        raise ConfigError(f"`{STDIN}` gives texts, and this bundle takes images", hint="name them")
    if not samples and not listed:
        raise ConfigError("no image is named", hint="name one or more after the bundle")
    return [*(Path(sample) for sample in samples), *listed]


def _texts(samples: Sequence[str], listed: Sequence[Path | str]) -> list[Any]:
    """Those on the command line, with the lines of stdin in the place of `-`, then those of the file."""
    found = [text for sample in samples for text in (_lines() if sample == STDIN else [sample])]
    found += [str(each) for each in listed]
    if not found:
        raise ConfigError("no text is given", hint="write it after the bundle, in quotes; `-` reads stdin")
    return found


def _lines() -> list[str]:
    try:
        return [line.strip() for line in sys.stdin if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"stdin is no UTF-8: {first_line(error)}", hint="encode it as UTF-8") from error


def _places(folder: Path, images: Sequence[Path]) -> list[Path]:
    """Where each image is drawn. Raises ConfigError where one would replace another, or an image itself."""
    places = [folder / f"{image.stem}.png" for image in images]
    if twice := sorted(place.name for place in places if places.count(place) > 1):
        raise ConfigError(f"two images would be drawn as `{twice[0]}`", hint="answer them in two runs")
    if own := {place.resolve() for place in places} & {image.resolve() for image in images}:
        raise ConfigError(f"`{min(own)}` would be drawn over", hint="name another folder")
    return places


def _draw(places: Sequence[Path], images: Sequence[Path], answers: Sequence[Any], labels: Sequence[str]) -> None:
    from edgetl.drawing import drawn
    from edgetl.files import write_via
    from edgetl.tasks.images import decode

    for place, image, answer in zip(places, images, answers, strict=True):
        picture = drawn(decode(image), answer.objects, labels)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_via(place, partial(picture.save, format="PNG"))


def _label_line(answer: Any) -> list[str]:
    return [", ".join(f"{each.label} {each.probability:.1%}" for each in answer.top)]


def _object_lines(answer: Any) -> list[str]:
    """A line for each object, with its corners in pixels."""
    return [
        f"{each.label} {each.score:.1%} at {' '.join(f'{v:.0f}' for v in each.box)}" for each in answer.objects
    ] or ["nothing"]


GIVEN: dict[str, Callable[[Sequence[str], Sequence[Path | str]], list[Any]]] = {"image": _images, "text": _texts}
NAMES = {"image": "path", "text": "text"}
LINES: dict[str, Callable[[Any], list[str]]] = {"top": _label_line, "objects": _object_lines}
GRANTED = {"top": ("top",), "objects": ("threshold", "draw")}
