import json
from pathlib import Path

import pytest

from edgetl.bundle import open_bundle
from edgetl.devices.remote.channel import Channel
from edgetl.devices.remote.homecoming import Translation, brought_plans, checked, local_plans
from edgetl.devices.remote.kept_plans import bring_plans, keep_plans
from edgetl.devices.remote.protocol import Piece, Start
from edgetl.devices.remote.target import parse_target
from edgetl.errors import ArtefactError
from edgetl.files import to_json
from edgetl.runtime.plan import SCHEMA, Plan


def plan(when: str, manifest: str = "0" * 64) -> bytes:
    return to_json(Plan(schema=SCHEMA, variant="onnxruntime-fp32", when=when, manifest=manifest))


def test_of_two_plans_the_newer_is_used_and_what_a_job_wrote_is_kept(tmp_path: Path) -> None:
    kept, bundle, job = tmp_path / "kept", tmp_path / "bundle", tmp_path / "job"
    for folder in (kept, bundle, job):
        folder.mkdir()
    (kept / "pi.json").write_bytes(plan("2026-01-02"))
    (kept / "pi.tuning.json").write_bytes(b"{}")
    (kept / "old.json").write_bytes(plan("2026-01-01"))
    theirs = {"pi.json": plan("2026-01-01"), "old.json": plan("2026-01-03"), "../out.json": plan("2027-01-01")}
    known = bring_plans(kept, bundle, theirs)
    found = {path.name: json.loads(path.read_bytes()).get("when") for path in (bundle / "plans").iterdir()}
    assert found == {"pi.json": "2026-01-02", "old.json": "2026-01-03", "pi.tuning.json": None}
    (bundle / "plans" / "pi.json").write_bytes(plan("2026-02-01"))
    (bundle / "plans" / "pi.tuning.json").unlink()
    assert keep_plans(kept, bundle, job, known) == ("pi.json",)
    assert (job / "plans" / "pi.json").read_bytes() == plan("2026-02-01")
    assert sorted(path.name for path in kept.iterdir()) == ["old.json", "pi.json"]


def test_this_computer_s_own_plan_does_not_travel(own_bundle: Path) -> None:
    (own_bundle / "plans").mkdir()
    for name in ("host", "pi", "pi.tuning"):
        (own_bundle / "plans" / f"{name}.json").write_bytes(plan("2026-01-01"))
    assert list(local_plans(open_bundle(own_bundle))) == ["pi.json"]


def test_only_a_plan_of_the_bundle_comes_home(own_bundle: Path) -> None:
    target, ours = parse_target("ssh://pi"), open_bundle(own_bundle).digest
    assert checked(plan("", ours), "pi.json", ours, target) == plan("", ours)
    for content in (plan(""), b"{}", b"no json", b'{"schema": "9.0"}', b"[" * 100_000):
        with pytest.raises(ArtefactError):
            checked(content, "pi.json", ours, target)


class Sends(Channel):
    """A channel whose every answer is the one file."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def ask(self, request: object, kind: object, seconds: float = 60.0) -> tuple[Piece, bytes]:  # type: ignore[override]
        return Piece(size=len(self._content)), self._content


def test_a_plan_that_cannot_be_written_is_no_crash(own_bundle: Path) -> None:
    (own_bundle / "plans").write_text("no folder")
    opened = open_bundle(own_bundle)
    start = Start(job="0" * 32, words=("tune",), places=(), bundle=0, manifest=opened.digest)
    with pytest.raises(ArtefactError, match="cannot be written") as caught:
        brought_plans(Sends(plan("", start.manifest)), start, ["pi.json"], opened, parse_target("ssh://pi"))
    assert "keeps the plan" in (caught.value.hint or "")


def test_a_bundle_without_plans_leaves_none(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "job").mkdir()
    assert keep_plans(tmp_path / "kept", tmp_path / "bundle", tmp_path / "job", {}) == ()
    assert not (tmp_path / "kept").exists()


def test_paths_of_the_device_become_those_of_home() -> None:
    translation = Translation([Path('my "bundle"'), Path("é")], ["/d/jobs/1/places/1", "/d/jobs/1/places/10"])
    assert translation.of_text("`/d/jobs/1/places/10/x` and /d/jobs/1/places/1") == '`é/x` and my "bundle"'
    found = json.loads(translation.of_json(b'["/d/jobs/1/places/1/labels.txt", "/d/jobs/1/places/10"]'))
    assert found == ['my "bundle"/labels.txt', "é"]
