"""`edgetl predict`: images, texts from anywhere and photos with objects, for people and for programs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import Cli
from tests.task_bundles import photo, sentences


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "photos" / f"{seed}.png" for seed in range(3)]
    paths[0].parent.mkdir()
    for seed, path in enumerate(paths):
        path.write_bytes(photo(seed)[0])
    return paths


def test_each_argument_is_a_text(reviews: Path, cli: Cli) -> None:
    result = cli("predict", reviews, "A GREAT film", "dull", "--top", "1")
    assert result.exit_code == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert first.startswith("A GREAT film: positive ") and second.startswith("dull: negative ")


def test_texts_come_from_stdin_and_from_files_too(reviews: Path, tmp_path: Path) -> None:
    texts, truths = sentences(6, seed=4)
    (tmp_path / "more.csv").write_text("id,text\n" + "".join(f'{i},"{text}"\n' for i, text in enumerate(texts[4:])))
    words = ["predict", str(reviews), texts[0], "-", "--file", str(tmp_path / "more.csv"), "--json"]
    said = "\n".join(texts[1:4]) + "\n\n"
    command = [sys.executable, "-m", "edgetl", *words]
    done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=60, check=True)
    found = json.loads(done.stdout)
    assert [each["text"] for each in found] == texts
    expected = [("negative", "positive")[truth] for truth in truths]
    assert [each["top"][0]["label"] for each in found] == expected


def test_objects_are_printed_told_and_drawn(squares: Path, cli: Cli, photos: list[Path], tmp_path: Path) -> None:
    result = cli("predict", squares, *photos, "--draw", tmp_path / "drawn")
    assert result.exit_code == 0, result.stderr
    assert f"{photos[0]}: blue 99.4% at 41 29 67 55" in result.stdout.splitlines()
    assert len(result.stdout.splitlines()) == sum(len(photo(seed)[1]) for seed in range(3))
    for seed, path in enumerate(photos):
        with Image.open(tmp_path / "drawn" / path.name) as drawn, Image.open(path) as plain:
            changed = (np.asarray(drawn) != np.asarray(plain)).any(axis=2)
        left, top, right, bottom = photo(seed)[1][0].astype(int)
        assert changed[bottom, left:right].any() and not changed[top + 12, left + 12]
    told = json.loads(cli("predict", squares, "--file", photos[0].parent, "--json").stdout)
    assert [each["path"] for each in told] == [str(path) for path in photos]
    np.testing.assert_allclose(told[0]["objects"][0]["box"], photo(0)[1][0], atol=1)
    nothing = cli("predict", squares, photos[0], "--threshold", "0.9999")
    assert nothing.stdout == f"{photos[0]}: nothing\n"


def test_what_means_nothing_for_a_bundle_is_refused(
    reviews: Path, squares: Path, cli: Cli, photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "photos" / "1").mkdir()
    twin = tmp_path / "photos" / "1" / "0.png"
    twin.write_bytes(photos[0].read_bytes())
    (tmp_path / "empty.txt").write_text("\n\n")
    for arguments, code, said in (
        ((reviews, "fine", "--threshold", "0.5"), 2, "`--threshold` means nothing"),
        ((reviews, "fine", "--draw", tmp_path / "drawn"), 2, "`--draw` means nothing"),
        ((squares, photos[0], "--top", "2"), 2, "`--top` means nothing"),
        ((reviews,), 2, "no text is given"),
        ((squares,), 2, "no image is named"),
        ((squares, "-"), 2, "takes images"),
        ((squares, photos[0], twin, "--draw", tmp_path / "drawn"), 2, "two images would be drawn as `0.png`"),
        ((squares, *photos, "--draw", photos[0].parent), 2, "would be drawn over"),
        ((reviews, "--file", tmp_path / "empty.txt"), 5, "holds no texts"),
        ((reviews, " "), 5, "the text is empty"),
        ((squares, tmp_path / "none.png"), 5, "does not exist"),
    ):
        result = cli("predict", *arguments)
        assert (result.exit_code, said in result.stderr) == (code, True), result.stderr
    assert not (tmp_path / "drawn").exists() and photos[0].read_bytes() == twin.read_bytes()
