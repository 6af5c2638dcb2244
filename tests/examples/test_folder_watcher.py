"""The folder watcher answers each whole file once, also after it was killed."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from examples.folder_watcher import JOURNAL, Journal, handle, state_of, watch, whole_files

from edgetl.errors import ConfigError
from edgetl.runtime import load

SCRIPT = Path(__file__).parents[2] / "examples" / "folder_watcher.py"


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def entries(inbox: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (inbox / JOURNAL).read_text().splitlines()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def never() -> bool:
    return False


def test_a_file_is_whole_when_it_has_rested(inbox: Path) -> None:
    seen: dict[Path, Any] = {}
    growing = inbox / "a.png"
    growing.write_bytes(b"1")
    assert list(whole_files(inbox, seen, 1.0, now=100.0)) == []
    growing.write_bytes(b"12")
    assert list(whole_files(inbox, seen, 1.0, now=101.5)) == []
    (inbox / ".upload.png").write_bytes(b"1")
    (inbox / "notes.txt").write_text("no image")
    assert list(whole_files(inbox, seen, 1.0, now=102.5)) == [growing]
    (inbox / ".upload.png").rename(inbox / "b.png")
    assert list(whole_files(inbox, seen, 1.0, now=103.0)) == [growing]
    assert list(whole_files(inbox, seen, 1.0, now=104.0)) == [growing, inbox / "b.png"]
    growing.unlink()
    assert list(whole_files(inbox, seen, 1.0, now=105.0)) == [inbox / "b.png"] and len(seen) == 1


def test_every_image_is_answered_once_and_moved(bundle: Path, dataset: Path, inbox: Path) -> None:
    for kind in ("amber", "moss", "slate"):
        shutil.copy(next((dataset / "val" / kind).iterdir()), inbox / f"{kind}.png")
    (inbox / "broken.png").write_bytes((inbox / "moss.png").read_bytes()[:200])
    (inbox / "empty.jpg").touch()
    with load(bundle) as model:
        watch(model, inbox, 0.0, never, once=True)
        shutil.copy(inbox / "done" / "moss.png", inbox / "moss.png")  # another one of that name
        watch(model, inbox, 0.0, never, once=True)
    found = {(entry["file"], entry.get("label")) for entry in entries(inbox)}
    assert found == {("amber.png", "amber"), ("moss.png", "moss"), ("slate.png", "slate"), ("broken.png", None),
                     ("empty.jpg", None)}  # fmt: skip
    assert len(entries(inbox)) == 6
    assert names(inbox / "done") == ["amber.png", "moss-1.png", "moss.png", "slate.png"]
    assert names(inbox / "failed") == ["broken.png", "empty.jpg"]
    assert names(inbox) == [JOURNAL, "done", "failed"]
    (error,) = (entry["error"] for entry in entries(inbox) if entry["file"] == "broken.png")
    assert "cannot be decoded" in error


def test_a_kill_between_answer_and_move_answers_nothing_twice(bundle: Path, dataset: Path, inbox: Path) -> None:
    photo = inbox / "moss.png"
    shutil.copy(next((dataset / "val" / "moss").iterdir()), photo)
    answered = {"file": photo.name, **state_of(photo)._asdict(), "label": "moss"}
    (inbox / JOURNAL).write_text(json.dumps(answered) + "\n" + '{"file": "half')
    with load(bundle) as model:
        watch(model, inbox, 0.0, never, once=True)
        assert entries(inbox) == [answered] and names(inbox / "done") == ["moss.png"]
        shutil.copy(next((dataset / "val" / "slate").iterdir()), photo)  # the same name, another content
        watch(model, inbox, 0.0, never, once=True)
    assert [entry["label"] for entry in entries(inbox)] == ["moss", "slate"]


def test_a_file_that_was_taken_away_leaves_no_trace(bundle: Path, inbox: Path) -> None:
    journal = Journal(inbox / JOURNAL)
    with load(bundle) as model:
        handle(model, journal, inbox / "gone.png")
    journal.close()
    assert entries(inbox) == [] and names(inbox) == [JOURNAL]


def test_two_watchers_do_not_share_a_folder(inbox: Path) -> None:
    first = Journal(inbox / JOURNAL)
    with pytest.raises(ConfigError, match="being watched already"):
        Journal(inbox / JOURNAL)
    first.close()
    Journal(inbox / JOURNAL).close()


def test_a_journal_that_is_none_is_not_overwritten(inbox: Path) -> None:
    (inbox / JOURNAL).write_text("somebody's notes\n")
    with pytest.raises(ConfigError, match="is no answer"):
        Journal(inbox / JOURNAL)
    assert (inbox / JOURNAL).read_text() == "somebody's notes\n"


def test_it_runs_until_it_is_told_to_stop(bundle: Path, dataset: Path, inbox: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(bundle), str(inbox), "--settle", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            for kind in ("slate", "amber"):
                shutil.copy(next((dataset / "val" / kind).iterdir()), inbox / f"{kind}.png")
                assert process.stdout
                assert json.loads(process.stdout.readline())["label"] == kind
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=20) == ("", "") and process.returncode == 0
        finally:
            process.kill()
    assert names(inbox / "done") == ["amber.png", "slate.png"]
