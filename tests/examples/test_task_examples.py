"""The two short examples: a line of text at a time as it comes, and a folder of photos with objects."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from tests.task_bundles import photo

EXAMPLES = Path(__file__).parents[2] / "examples"
TIMEOUT_S = 60


def command(name: str, *arguments: Path) -> list[str]:
    return [sys.executable, str(EXAMPLES / name), *map(str, arguments)]


def test_each_line_is_answered_before_the_next_one_comes(reviews: Path) -> None:
    with subprocess.Popen(
        command("text_stdin.py", reviews), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as running:  # fmt: skip
        try:
            assert running.stdin and running.stdout
            for text, label in (("a GREAT film", "positive"), ("\n\nthe plot was dull", "negative")):
                running.stdin.write(f"{text}\n")
                running.stdin.flush()
                found = running.stdout.readline().rstrip("\n").split("\t")
                assert (found[0], found[2]) == (label, text.strip()) and 0.5 < float(found[1]) <= 1
            rest, problems = running.communicate("x" * 1_000_001 + "\nfine\n", timeout=TIMEOUT_S)
        finally:
            running.kill()
    assert rest.startswith("positive") and "left out: the text has 1,000,001 characters" in problems
    assert running.returncode == 0


def test_every_object_of_every_photo_is_a_row(squares: Path, tmp_path: Path) -> None:
    for seed in range(4):
        (tmp_path / f"{seed}.png").write_bytes(photo(seed)[0])
    done = subprocess.run(
        command("detect_folder.py", squares, tmp_path), capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    rows = list(csv.reader(done.stdout.splitlines()))
    assert [row[0] for row in rows] == [f"{seed}.png" for seed in range(4) for _ in photo(seed)[2]]
    first = photo(0)[1][0]
    assert rows[0][1] == "blue" and all(
        abs(float(found) - true) < 1 for found, true in zip(rows[0][3:], first, strict=True)
    )


@pytest.mark.parametrize("name", ["text_stdin.py", "detect_folder.py"])
def test_a_bundle_of_another_task_is_refused(name: str, reviews: Path, squares: Path, tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(photo(0)[0])
    wrong = {"text_stdin.py": squares, "detect_folder.py": reviews}[name]
    done = subprocess.run(
        command(name, wrong, tmp_path), input="fine\n", capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 2 and "does not give" in done.stderr
