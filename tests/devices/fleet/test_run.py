"""Many devices at once: every failure is one device's own, nothing works twice at one address, an interrupt ends all.

The devices are functions at the seam where `run_remote` stands; tests/devices/remote has the real thing.
"""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from edgetl.devices.catalogue import host_profile
from edgetl.devices.fleet.config import FleetDevice
from edgetl.devices.fleet.run import Question, ask_all
from edgetl.devices.fleet.summary import error_code, summary
from edgetl.devices.remote.run import RemoteResult
from edgetl.devices.remote.target import Target
from edgetl.devices.verdict import Reason, Report, VariantReport
from edgetl.errors import ArtefactError, DependencyError
from edgetl.files import to_json
from edgetl.machine import Machine
from edgetl.types import Verdict

BOARD = Machine(
    system="Linux", arch="aarch64", cpu="Cortex-A76", features=("neon",), cores=4, memory_bytes=8 * 2**30,
    board="Raspberry Pi 5", gpus=(),
)  # fmt: skip
BUNDLE = Path("bundles/x")

Behaviour = Callable[[threading.Event, Callable[[str], None]], RemoteResult]


def report(verdict: Verdict) -> Report:
    reason = Reason(layer="task", verdict=verdict, text="told by the test")
    variant = VariantReport(id="onnxruntime-fp32", verdict=verdict, reasons=(reason,))
    return Report(bundle="/there/x", device="host", verdict=verdict, variants=(variant,), machine=BOARD)


def answers(verdict: Verdict) -> Behaviour:
    code = {"pass": 0, "fail": 7, "undecided": 0, "skipped": 3}[verdict]
    return lambda stop, say: RemoteResult(exit_code=code, output=to_json(report(verdict)), messages="", brought=())


def ends(code: int, messages: str = "", output: bytes = b"") -> Behaviour:
    return lambda stop, say: RemoteResult(exit_code=code, output=output, messages=messages, brought=())


def dead(stop: threading.Event, say: Callable[[str], None]) -> RemoteResult:
    raise DependencyError("`ssh://dead` cannot be reached: Connection refused", hint="is it switched on?")


def hangs(stop: threading.Event, say: Callable[[str], None]) -> RemoteResult:
    assert stop.wait(20), "never told to stop"
    raise KeyboardInterrupt


class Devices:
    """Devices by name; `heard` are the lines about them."""

    def __init__(self, **behaviours: Behaviour) -> None:
        self._behaviours = behaviours
        self.heard: list[str] = []

    def __call__(
        self, target: Target, arguments: Sequence[str | Path], *, bundle: Path, say: Callable[[str], None],
        stop: threading.Event,
    ) -> RemoteResult:  # fmt: skip
        assert not target.interactive and bundle == BUNDLE
        return self._behaviours[str(arguments[-1])](stop, say)

    def ask(self, *, address: str = "ssh://{name}", timeout_s: float = 60.0, at_once: int = 8) -> list[str]:
        """Asks all; how each ended, or its error."""
        questions = [
            Question(
                device=FleetDevice(name=name, address=address.format(name=name), timeout_s=timeout_s),
                words=("check", BUNDLE, name),
            )
            for name in self._behaviours
        ]  # fmt: skip
        found = ask_all(
            questions, Report, bundle=BUNDLE, at_once=at_once, runner=self,
            say=lambda name, text: self.heard.append(f"{name}: {text}"),
        )  # fmt: skip
        self.report = summary("bundles/x", found)
        return [each.error.message if each.error else each.report.verdict for each in found]


def test_every_device_answers_for_itself_and_the_worst_verdict_wins() -> None:
    devices = Devices(good=answers("pass"), bad=answers("fail"), dead=dead, unsure=answers("undecided"))
    assert devices.ask() == ["pass", "fail", "`ssh://dead` cannot be reached: Connection refused", "undecided"]
    assert [each.status for each in devices.report.devices] == ["judged", "judged", "error", "judged"]
    assert devices.report.verdict == "fail" and error_code(devices.report) == 3
    first = devices.report.devices[0]
    assert first.report.bundle == "bundles/x" and first.report.machine == BOARD, "its own machine, our bundle"
    assert any(line.startswith("dead: not judged") for line in devices.heard)


def test_where_nothing_could_be_judged_the_reasons_are_an_error() -> None:
    devices = Devices(other=answers("skipped"))
    assert devices.ask() == ["nothing was judged"]
    (other,) = devices.report.devices
    assert other.error and other.error.hint == "told by the test" and other.error.exit_code == 3 and other.report
    assert devices.report.verdict == "skipped"


def test_an_error_there_is_told_with_its_hint_and_code() -> None:
    said = "opening\nerror: `x` has no variant `y`\nhint: did you mean `z`?\n"
    devices = Devices(one=ends(4, said), two=ends(137, "Killed"), three=ends(0, output=b"hello"))
    assert devices.ask()[:2] == ["`one`: `x` has no variant `y`", "`two`: edgetl ended with code 137: Killed"]
    one, two, three = (each.error for each in devices.report.devices)
    assert one and one.exit_code == 4 and one.hint == "did you mean `z`?"
    assert two and two.exit_code == 1
    assert three and three.exit_code == 4 and "no report" in three.message
    assert error_code(devices.report) == 3, "they differ"


def test_what_a_device_writes_cannot_steer_the_terminal() -> None:
    evil = msgspec.structs.replace(report("pass"), device="\x1b[2Jmine")
    devices = Devices(
        one=ends(0, output=to_json(evil)), two=ends(1, "error: \x1b]0;title\x07oh\n"),
    )  # fmt: skip
    told = devices.ask()
    assert devices.report.devices[0].report.device == " [2Jmine" and "\x1b" not in "".join(told)


def test_a_device_that_takes_too_long_is_given_up_and_the_others_stand() -> None:
    devices = Devices(slow=hangs, good=answers("pass"))
    assert devices.ask(timeout_s=0.3) == ["not done after 0.3 s", "pass"]
    assert error_code(devices.report) == 3


def test_a_file_that_cannot_be_read_here_is_that_devices_error() -> None:
    def broken(stop: threading.Event, say: Callable[[str], None]) -> RemoteResult:
        raise OSError(5, "Input/output error")

    devices = Devices(broken=broken, good=answers("pass"))
    assert "Input/output error" in devices.ask()[0] and devices.report.devices[1].status == "judged"


@pytest.mark.parametrize(("address", "at_once", "most"), [("ssh://{name}", 2, 2), ("ssh://same", 8, 1)])
def test_so_many_at_a_time_and_one_at_an_address(address: str, at_once: int, most: int) -> None:
    running, peak, lock = 0, 0, threading.Lock()

    def counted(stop: threading.Event, say: Callable[[str], None]) -> RemoteResult:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return answers("pass")(stop, say)

    devices = Devices(**{f"d{number}": counted for number in range(6)})
    assert devices.ask(address=address, at_once=at_once) == ["pass"] * 6
    assert peak == most


def test_an_interrupt_ends_all_devices_and_starts_no_more() -> None:
    started = list[str]()

    def waits(stop: threading.Event, say: Callable[[str], None]) -> RemoteResult:
        started.append("one")
        if len(started) == 2:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # Ctrl-C
        return hangs(stop, say)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Devices(**{f"d{number}": waits for number in range(5)}).ask(at_once=2)
    assert len(started) == 2 and time.monotonic() - began < 10


def test_a_report_of_the_real_check_comes_through_whole(bundle: Path) -> None:
    from edgetl.bundle import open_bundle
    from edgetl.devices.check import check

    made = check(open_bundle(bundle), host_profile(), variants=["onnxruntime-fp32"], latency=None)
    assert made.machine is not None and made.machine.cpu is not None
    devices = Devices(real=ends(0, output=to_json(made)))
    devices.ask()
    assert devices.report.devices[0].report == msgspec.structs.replace(made, bundle="bundles/x")


def test_damaged_output_of_any_kind_is_an_error() -> None:
    whole = to_json(report("pass"))
    cut = {f"at{at}": ends(0, output=whole[:at]) for at in (0, 1, len(whole) // 2, len(whole) - 2)}
    devices = Devices(**cut, other=ends(0, output=b'{"bundle": 3}'), deep=ends(0, output=b"[" * 100_000))
    devices.ask()
    assert {each.status for each in devices.report.devices} == {"error"}
    assert ArtefactError.exit_code in {each.error.exit_code for each in devices.report.devices if each.error}


def test_a_report_that_contradicts_itself_or_hides_its_machine_is_no_report() -> None:
    right = report("pass")
    wrong = {
        "hidden": msgspec.structs.replace(report("fail"), verdict="pass"),
        "empty": msgspec.structs.replace(right, variants=()),
        "nameless": msgspec.structs.replace(right, machine=None),
    }
    devices = Devices(right=answers("pass"), **{name: ends(0, output=to_json(each)) for name, each in wrong.items()})
    told = devices.ask()
    assert told[0] == "pass" and all("is no report" in each for each in told[1:]), told
    assert error_code(devices.report) == ArtefactError.exit_code
