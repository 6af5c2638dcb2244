import fcntl
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import Cli
from tests.devices.remote.breaking import measure
from tests.devices.remote.machine import Machine

from edgetl.bundle import open_bundle
from edgetl.devices.remote.run import RemoteResult, run_remote
from edgetl.errors import ArtefactError, DependencyError, EdgetlError

SECONDS = 60.0


def inspect(machine: Machine, bundle: Path, said: list[str], **changes: object) -> RemoteResult:
    """The cheapest command that opens a bundle."""
    return run_remote(machine.target(**changes), ["inspect", bundle, "--json"], bundle=bundle, say=said.append)


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Away(threading.Thread):
    """A run in a thread; `result` is there once it was joined, or `error` is."""

    def __init__(self, machine: Machine, bundle: Path) -> None:
        super().__init__(daemon=True)
        self._machine, self._bundle = machine, bundle
        self.said: list[str] = []
        self.stop = threading.Event()
        self.result: RemoteResult | None = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = run_remote(
                self._machine.target(), ["inspect", self._bundle, "--json"], bundle=self._bundle, say=self.said.append,
                stop=self.stop,
            )  # fmt: skip
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def heard(self, words: str) -> bool:
        return any(words in line for line in self.said)


@pytest.fixture
def busy(machine: Machine) -> Iterator[Callable[[], None]]:
    """Another job holds the machine until the test releases it."""
    machine.store.mkdir(mode=0o700, exist_ok=True)
    with (machine.store / "run.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write("`gate` from 10.0.0.5 since 12:00:00 UTC")
        lock.flush()
        yield lambda: fcntl.flock(lock, fcntl.LOCK_UN)


@pytest.mark.slow
def test_a_check_over_there_is_the_check_here(machine: Machine, bundle: Path, cli: Cli) -> None:
    said: list[str] = []
    there = run_remote(machine.target(), ["check", bundle, "--json"], bundle=bundle, say=said.append)
    here = cli("check", bundle, "--json")
    reports = [json.loads(there.output), json.loads(here.stdout)]
    assert there.exit_code == here.exit_code
    for report in reports:
        for variant in report["variants"]:
            del variant["latency_ms"]
    assert reports[0] == reports[1]
    assert "places" not in there.output.decode() + there.messages


def test_what_is_there_is_not_copied_again(machine: Machine, own_bundle: Path) -> None:
    first: list[str] = []
    result = inspect(machine, own_bundle, first)
    assert result.exit_code == 0 and json.loads(result.output)["schema"]
    before = {name: path.stat().st_ino for name, path in machine.objects().items()}
    again: list[str] = []
    assert inspect(machine, own_bundle, again).output == result.output
    assert again == [] and {name: path.stat().st_ino for name, path in machine.objects().items()} == before
    assert machine.jobs() == [], "a job whose result was fetched leaves nothing"
    digest = next(r.sha256 for r in open_bundle(own_bundle).manifest.files if r.path == "labels.txt")
    damaged = machine.objects()[digest]
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes()[::-1])
    said: list[str] = []
    assert inspect(machine, own_bundle, said).output == result.output
    assert [line.split(": ")[1] for line in said] == ["1 files there were damaged", "copying 1 files, 0.0 MB"]


def test_a_damaged_bundle_does_not_travel(machine: Machine, own_bundle: Path) -> None:
    (own_bundle / "labels.txt").write_text("other\n")
    with pytest.raises(ArtefactError, match=r"labels\.txt"):
        inspect(machine, own_bundle, [])


def test_an_unknown_machine_is_refused_in_openssh_s_words(machine: Machine, bundle: Path) -> None:
    known = machine.known_hosts.read_text()
    try:
        machine.trust("")
        with pytest.raises(DependencyError, match="Host key verification failed") as caught:
            inspect(machine, bundle, [])
        assert "fingerprint" in (caught.value.hint or "")
    finally:
        machine.known_hosts.write_text(known)


def test_whoever_has_no_key_is_refused(machine: Machine, bundle: Path, tmp_path: Path) -> None:
    config = tmp_path / "ssh.conf"
    config.write_text(machine.config.read_text().replace("user_key", "host_key"))
    with pytest.raises(DependencyError, match="Permission denied"):
        inspect(machine, bundle, [], config=str(config))


def test_a_machine_without_edgetl_says_so(machine: Machine, bundle: Path) -> None:
    with pytest.raises(DependencyError, match="/nowhere/edgetl") as caught:
        inspect(machine, bundle, [], edgetl="/nowhere/edgetl")
    assert "--remote-edgetl" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('echo "error: No such command `remote-end`." >&2; exit 2', "cannot be used from elsewhere"),
        ("echo welcome; exit 0", "does not answer"),
        (r"printf 'edgetl remote end 1\n\377\377\377\377\377\377\377\377'; sleep 9", "something else than edgetl"),
        (r"printf 'edgetl remote end 1\n\0\0\0\3\0\0\0\0{x}'; sleep 9", "something else than edgetl"),
        (r"printf 'edgetl remote end 1\n\0\0\0\032\0\0\0\0{\"type\":\"done\",\"ended\":1 }'; sleep 9", "else than"),
        ("yes noise; sleep 9", "prints too much"),
    ],
)  # fmt: skip
def test_a_machine_that_speaks_something_else_is_refused(
    machine: Machine, bundle: Path, script: str, message: str
) -> None:
    with pytest.raises(DependencyError, match=message):
        inspect(machine, bundle, [], edgetl=str(machine.command("other", script)))


def test_an_older_machine_refuses_and_another_release_warns(machine: Machine, bundle: Path) -> None:
    older = 'exec "$python" -c "import edgetl.devices.remote.end as e; e.SCHEMA = \'0.9\'; e.serve()"'
    with pytest.raises(DependencyError, match=r"reads bundles up to schema `0\.9`"):
        inspect(machine, bundle, [], edgetl=str(machine.command("older", older)))
    other = 'exec "$python" -c "import edgetl.devices.remote.end as e; e.version = lambda name: \'0.0.9\'; e.serve()"'
    said: list[str] = []
    assert inspect(machine, bundle, said, edgetl=str(machine.command("other", other))).exit_code == 0
    assert any("has edgetl 0.0.9" in line for line in said)


def test_two_runs_wait_for_each_other_and_a_broken_connection_loses_nothing(
    machine: Machine, bundle: Path, busy: Callable[[], None]
) -> None:
    away = Away(machine, bundle)
    until(lambda: away.heard("waiting for `gate` from 10.0.0.5"), "the run must wait")
    assert machine.cut() >= 1
    until(lambda: away.heard("connecting again"), "the broken connection must be noticed")
    busy()
    away.join(SECONDS)
    assert away.result is not None and away.result.exit_code == 0, away.error
    assert machine.jobs() == []


@pytest.mark.slow
def test_a_connection_that_falls_silent_is_noticed(machine: Machine, bundle: Path, busy: Callable[[], None]) -> None:
    away = Away(machine, bundle)
    until(lambda: away.heard("waiting for"), "the run must wait")
    assert machine.freeze() >= 1
    until(lambda: away.heard("connecting again"), "silence must be noticed")
    busy()
    away.join(SECONDS)
    assert away.result is not None and away.result.exit_code == 0, away.error


@pytest.mark.slow
def test_a_machine_that_stays_away_is_an_error(machine: Machine, bundle: Path, busy: Callable[[], None]) -> None:
    away = Away(machine, bundle)
    until(lambda: away.heard("waiting for"), "the run must wait")
    machine.stop()
    away.join(SECONDS)
    machine.start()
    assert isinstance(away.error, DependencyError) and "could not be made again" in away.error.message
    busy()
    [job] = machine.jobs()
    until((job / "exit.json").is_file, "the job ends without anyone connected")
    shutil.rmtree(job)


@pytest.mark.slow
def test_a_plan_made_there_comes_home_and_is_used_there(machine: Machine, own_bundle: Path) -> None:
    def over_there(*words: str | Path) -> RemoteResult:
        said: list[str] = []
        return run_remote(machine.target(), [*words, "--json"], bundle=own_bundle, say=said.append)

    tuned = over_there("tune", own_bundle, "--minutes", "0.02")
    assert tuned.exit_code == 0, tuned.messages
    assert tuned.brought == ("plans/host-127.0.0.1.json",)
    assert json.loads(tuned.output)["plan_path"] == str(own_bundle / tuned.brought[0])
    plan = json.loads((own_bundle / tuned.brought[0]).read_text())
    shutil.rmtree(own_bundle / "plans")
    checked = over_there("check", own_bundle)
    chosen = {plan["latency"]["variant"], plan["throughput"]["variant"]}
    assert {each["id"] for each in json.loads(checked.output)["variants"]} == chosen
    assert checked.brought == ()


@pytest.mark.slow
def test_new_data_travels(machine: Machine, bundle: Path, dataset: Path, tmp_path: Path, cli: Cli) -> None:
    images = sorted((dataset / "val").glob("*/*.png"))[:40]
    listed = tmp_path / "list.csv"
    listed.write_text("path,label\n" + "".join(f"{image},{image.parent.name}\n" for image in images))
    variants = ("--variants", "onnxruntime-fp32")
    for data in (listed, dataset / "val"):
        said: list[str] = []
        words: list[str | Path] = ["check", bundle, "--data", data, *variants, "--json"]
        there = run_remote(machine.target(), words, bundle=bundle, say=said.append)
        here = cli(*words)
        found = [json.loads(text)["variants"][0] for text in (there.output, here.stdout)]
        assert found[0]["samples"] == found[1]["samples"] and found[0]["drop_points"] == found[1]["drop_points"]


@pytest.mark.slow
def test_breaks_at_any_moment_leave_a_right_verdict_or_a_clear_error(machine: Machine, bundle: Path) -> None:
    outcomes = measure(machine, bundle, breaks=2, seed=1)
    assert all(outcome.verdict or outcome.error for outcome in outcomes)
    assert sum(len(outcome.cuts) for outcome in outcomes) >= 1


def test_a_run_that_is_stopped_ends_over_there(machine: Machine, bundle: Path, busy: Callable[[], None]) -> None:
    away = Away(machine, bundle)
    until(lambda: away.heard("waiting for"), "the run must wait")
    away.stop.set()
    away.join(SECONDS)
    assert isinstance(away.error, KeyboardInterrupt) and away.heard("the job was ended")
    [job] = machine.jobs()
    assert json.loads((job / "exit.json").read_text())["exit_code"] == 130
    shutil.rmtree(job)
    busy()


def test_errors_over_there_come_home(machine: Machine, bundle: Path) -> None:
    said: list[str] = []
    result = run_remote(
        machine.target(), ["check", bundle, "--variants", "no;such $(id)", "--json"], bundle=bundle, say=said.append
    )
    assert result.exit_code == 4 and result.output == b""
    assert f"error: `{bundle}` has no variant `no;such $(id)`" in result.messages
    assert not any("error:" in line for line in said), "the caller shows it"


def end(machine: Machine, *changes: str) -> str:
    """The machine's end of the connection with some of it changed."""
    code = "; ".join(("import edgetl.devices.remote.end as e", *changes, "e.serve()"))
    path = machine.folder / "changed.py"
    path.write_text(code.replace("; ", "\n"))
    return str(machine.command("changed", f"exec \"$python\" '{path}'"))


def test_a_machine_does_not_write_to_the_terminal_as_it_likes(machine: Machine, bundle: Path) -> None:
    said: list[str] = []
    loud = "e.version = lambda name: chr(27) + ']0;x' + chr(7)"
    assert inspect(machine, bundle, said, edgetl=end(machine, loud)).exit_code == 0
    assert any("has edgetl  ]0;x" in line for line in said) and all(line.isprintable() for line in said)
    with pytest.raises(DependencyError) as caught:
        inspect(machine, bundle, [], edgetl=end(machine, loud, "e.SCHEMA = chr(27) + '[2J'"))
    assert caught.value.message.isprintable()


def test_a_cache_that_cannot_be_used_is_said_at_once(machine: Machine, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir(mode=0o700)
    (tmp_path / "remote" / "objects").touch()
    other = machine.command("other", f'export EDGETL_CACHE=\'{tmp_path}\'; exec "$python" -m edgetl "$@"')
    said: list[str] = []
    with pytest.raises(EdgetlError, match="File exists"):
        inspect(machine, bundle, said, edgetl=str(other))
    assert said == [], "it is no broken connection"


def test_a_cache_may_be_named_by_a_relative_path(machine: Machine, bundle: Path, tmp_path: Path) -> None:
    script = f'cd \'{tmp_path}\'; export EDGETL_CACHE=here; exec "$python" -m edgetl "$@"'
    result = inspect(machine, bundle, [], edgetl=str(machine.command("other", script)))
    assert result.exit_code == 0 and json.loads(result.output)["schema"]


def test_a_temporary_folder_may_have_any_name(machine: Machine, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="it's my %h ") as folder:  # short, or its length alone would rule it out
        monkeypatch.setattr("tempfile.tempdir", folder)
        assert inspect(machine, bundle, []).exit_code == 0


def test_a_result_stands_though_the_machine_cannot_clean_up(machine: Machine, bundle: Path) -> None:
    unclean = "e.jobs.forget = lambda root, job: 1 / 0 if e.jobs.end(root, job) < 0 else open('/nowhere/x')"
    assert inspect(machine, bundle, [], edgetl=end(machine, unclean)).exit_code == 0
    [job] = machine.jobs()
    shutil.rmtree(job)


def test_only_a_tune_brings_plans(machine: Machine, own_bundle: Path) -> None:
    plans = "state = e.jobs.state_of; from msgspec.structs import replace"
    plans += "; e.jobs.state_of = lambda *job: replace(state(*job), wrote=('x86-64-cpu.json',))"
    assert inspect(machine, own_bundle, [], edgetl=end(machine, plans)).brought == ()
    assert not (own_bundle / "plans").exists()


def test_a_bundle_that_was_exported_again_meanwhile_is_not_sent(machine: Machine, own_bundle: Path) -> None:
    digest = open_bundle(own_bundle).digest
    manifest = own_bundle / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(ArtefactError, match="was changed"):
        run_remote(machine.target(), ["inspect", own_bundle], bundle=own_bundle, say=lambda text: None, digest=digest)


def test_what_is_said_meanwhile_names_paths_of_home(machine: Machine, bundle: Path) -> None:
    noisy, runner = machine.folder / "noisy.py", machine.folder / "runner.py"
    noisy.write_text("import sys; print('warning: look at', sys.argv[2], file=sys.stderr); print('{}')")
    runner.write_text(
        "import signal, sys\nfrom pathlib import Path\nfrom edgetl.devices.remote import runner\n"
        f"runner.COMMAND = (sys.executable, {str(noisy)!r})\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGCHLD))\nrunner.run(Path(sys.argv[1]))\n"
    )
    said: list[str] = []
    edgetl = end(machine, f"e.jobs.RUNNER = (e.jobs.sys.executable, {str(runner)!r})")
    assert inspect(machine, bundle, said, edgetl=edgetl).output.strip() == b"{}"
    assert f"127.0.0.1: warning: look at {bundle}" in said
