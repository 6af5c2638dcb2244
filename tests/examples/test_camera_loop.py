"""The camera loop: the newest frame, the right colours, an end that is clean."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from examples.camera_loop import Frame, Newest, folder, main, watch
from PIL import Image

from edgetl.errors import DataError
from edgetl.runtime import load

SCRIPT = Path(__file__).parents[2] / "examples" / "camera_loop.py"


def numbered(count: int) -> Generator[Frame, None, None]:
    for number in range(count):
        yield Frame(np.full((2, 2, 3), number, np.uint8), time.monotonic())


def film(path: Path, photo: Path, *, frames: int, rate: float) -> Path:
    """A video of one photo."""
    pixels = cv2.imread(str(photo))
    assert pixels is not None
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (pixels.shape[1], pixels.shape[0]))
    for _ in range(frames):
        writer.write(pixels)
    writer.release()
    return path


def test_a_slow_reader_gets_the_newest_frame_and_the_rest_is_dropped() -> None:
    newest = Newest(numbered(10))
    newest._thread.join(timeout=10)
    assert [int(frame.pixels[0, 0, 0]) for frame in newest] == [9]
    assert newest.dropped == 9


def test_no_frame_is_dropped_for_a_reader_that_keeps_up() -> None:
    asked: list[int] = []

    def paced() -> Generator[Frame, None, None]:
        for frame in numbered(5):
            while len(asked) < frame.pixels[0, 0, 0]:
                time.sleep(0.001)
            yield frame

    newest = Newest(paced())
    for frame in newest:
        asked.append(int(frame.pixels[0, 0, 0]))
    assert asked == [0, 1, 2, 3, 4] and newest.dropped == 0


def test_a_camera_that_stops_is_an_error_and_is_let_go() -> None:
    released = []

    def unplugged() -> Generator[Frame, None, None]:
        try:
            yield from numbered(1)
            raise DataError("camera `0` stopped delivering")
        finally:
            released.append(True)

    newest = Newest(unplugged())
    with pytest.raises(DataError, match="stopped"):
        list(newest)
    assert released == [True]


def test_frames_of_opencv_are_answered_as_the_files_are(
    bundle: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Blue and red exchanged would change the pixels: the classes differ in colour."""
    with load(bundle) as model:
        for kind in ("amber", "moss", "slate"):
            frames = list(folder(dataset / "val" / kind))
            assert watch(model, frames, every=len(frames)) == len(frames) == 30
            last = model.predict(np.asarray(Image.open(sorted((dataset / "val" / kind).iterdir())[-1])), top=1).top[0]
            line = capsys.readouterr().out
            assert line.startswith(f"frame 30: {last.label} {last.probability:.2f}; arrival to answer p50 ")
            assert "of 30; " in line


def test_an_image_opencv_cannot_read_is_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    assert len(list(folder(tmp_path))) == 1
    assert "a.png` cannot be decoded" in capsys.readouterr().err


def test_without_a_source_there_is_one_clear_line(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for source, words in (("77", "camera `77` cannot be opened"), ("nothing.mp4", "cannot be opened as a video")):
        monkeypatch.setattr(sys, "argv", ["camera_loop.py", str(bundle), source])
        assert main() == DataError.exit_code
        assert words in capfd.readouterr().err


@pytest.fixture
def loop(bundle: Path, dataset: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The program on a video of 60 s."""
    movie = film(tmp_path / "long.avi", next((dataset / "val" / "moss").iterdir()), frames=1200, rate=20)
    command = [sys.executable, str(SCRIPT), str(bundle), str(movie), "--every", "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_video_plays_at_its_own_rate_until_ctrl_c(loop: subprocess.Popen[str]) -> None:
    assert loop.stdout
    line = loop.stdout.readline()
    assert re.match(r"frame 5: moss \d.\d\d; arrival to answer p50 .* ms of 5; .* frames/s, \d+ dropped", line), line
    loop.send_signal(signal.SIGINT)
    out, err = loop.communicate(timeout=20)
    assert loop.returncode == 0 and err == ""
    assert out.splitlines()[-1].startswith("stopped; onnxruntime-fp32 is closed")
    assert len(out.splitlines()) < 100  # of the 240 lines a whole film has
