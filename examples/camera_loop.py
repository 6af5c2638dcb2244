"""Classifies what a camera sees: always the newest frame, however long an answer takes.

python examples/camera_loop.py BUNDLE [SOURCE] [--every 30] [--frames N]

SOURCE is the number of a camera (0 unless given), a video file, played at its own rate, or a folder of images, all of
which are answered. Ctrl-C or SIGTERM ends it.
"""

import argparse
import itertools
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from edgetl.errors import DataError, EdgetlError
from edgetl.runtime import Session, load
from edgetl.tasks.labelled import read_unlabelled
from edgetl.types import Pixels


class Frame(NamedTuple):
    """BGR pixels of shape (height, width, 3), as OpenCV delivers them, and when they arrived (monotonic seconds)."""

    pixels: Pixels
    arrived: float


class Newest:
    """The newest frame of a source: what nobody fetched before the next came is dropped and counted.

    Iterating ends when the source does, and raises what the source raised.
    """

    def __init__(self, frames: Generator[Frame, None, None]) -> None:
        self.dropped = 0
        self._frames = frames
        self._frame: Frame | None = None
        self._ended = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self._take()) is not None:
            yield frame
        if self._error:
            raise self._error

    def close(self) -> None:
        """Stops reading after the frame that is being read, and lets go of the camera."""
        with self._changed:
            self._ended = True
        self._thread.join(timeout=5)

    def _take(self) -> Frame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._ended)
            frame, self._frame = self._frame, None
            return frame

    def _read(self) -> None:
        error: Exception | None = None
        try:
            for frame in self._frames:
                with self._changed:
                    if self._ended:
                        break
                    self.dropped += self._frame is not None
                    self._frame = frame
                    self._changed.notify()
        except DataError as problem:
            error = problem
        finally:
            self._frames.close()
            with self._changed:
                self._ended, self._error = True, error
                self._changed.notify()


def camera(number: int) -> Generator[Frame, None, None]:
    """The frames of a camera, for ever. Raises DataError when there is none, or when it stops."""
    capture = cv2.VideoCapture(number)
    try:
        if not capture.isOpened():
            raise DataError(f"camera `{number}` cannot be opened", hint="name a video file or a folder of images")
        while (frame := _next(capture)) is not None:
            yield frame
        raise DataError(f"camera `{number}` stopped delivering", hint="is it still connected?")
    finally:
        capture.release()


def video(path: Path) -> Generator[Frame, None, None]:
    """The frames of a file at the rate they were recorded at, as a camera would deliver them."""
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise DataError(f"`{path}` cannot be opened as a video", hint="is it a file that OpenCV can decode?")
        interval = 1 / (capture.get(cv2.CAP_PROP_FPS) or 30)
        due = time.monotonic()
        while (frame := _next(capture)) is not None:
            time.sleep(max(0.0, due - time.monotonic()))
            yield frame._replace(arrived=time.monotonic())
            due += interval
    finally:
        capture.release()


def folder(path: Path) -> Iterator[Frame]:
    """Each image of a folder; one that OpenCV cannot decode is named and left out."""
    for file in read_unlabelled(path):
        pixels = cv2.imread(str(file))
        if pixels is None:
            print(f"left out: `{file}` cannot be decoded", file=sys.stderr)
        else:
            yield Frame(np.asarray(pixels, np.uint8), time.monotonic())


def _next(capture: cv2.VideoCapture) -> Frame | None:
    there, pixels = capture.read()
    return Frame(np.asarray(pixels, np.uint8), time.monotonic()) if there else None


def watch(model: Session, frames: Iterable[Frame], every: int, newest: Newest | None = None) -> int:
    """Answers frame after frame and prints a line for every so many; returns how many it answered."""
    latencies: deque[float] = deque(maxlen=every)
    number, label, started = 0, "", time.monotonic()
    for number, frame in enumerate(frames, 1):
        best = model.predict(frame.pixels, color="bgr", top=1).top[0]
        label = f"{best.label} {best.probability:.2f}"
        latencies.append(1000 * (time.monotonic() - frame.arrived))
        if number % every == 0:
            rate = number / (time.monotonic() - started)
            dropped = f", {newest.dropped} dropped" if newest else ""
            print(f"frame {number}: {label}; {_percentiles(latencies)}; {rate:.1f} frames/s{dropped}", flush=True)
    return number


def _percentiles(latencies: deque[float]) -> str:
    p50, p90 = np.percentile(latencies, (50, 90))
    return f"arrival to answer p50 {p50:.1f} p90 {p90:.1f} max {max(latencies):.1f} ms of {len(latencies)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("source", nargs="?", default="0", help="camera number, video file or folder of images")
    parser.add_argument("--every", type=int, default=30, help="print a line for every so many frames")
    parser.add_argument("--frames", type=int, help="stop after so many answers")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `systemctl stop` ends it like Ctrl-C
    newest: Newest | None = None
    try:
        with load(chosen.bundle) as model:
            if Path(chosen.source).is_dir():
                frames: Iterable[Frame] = folder(Path(chosen.source))
            else:
                number = chosen.source.isdecimal()
                newest = Newest(camera(int(chosen.source)) if number else video(Path(chosen.source)))
                frames = newest
            try:
                answered = watch(model, itertools.islice(frames, chosen.frames), max(1, chosen.every), newest)
                print(f"{answered} frames answered by {model.variant.id}")
            except KeyboardInterrupt:
                print(f"stopped; {model.variant.id} is closed")
    except EdgetlError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130  # before the model was open
    finally:
        if newest:
            newest.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
