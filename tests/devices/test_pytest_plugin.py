"""The pytest plugin: somebody else's test suite passes, fails or skips by what a gate says."""

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import onnx
import pytest
from tests.runtime.test_installs import uv

from edgetl.devices.baseline import open_baseline
from edgetl.export.planted.edits import swap_red_and_blue
from edgetl.export.planted.planting import rehash

pytest_plugins = ["pytester"]

FP32 = "onnxruntime-fp32"
LOADED = ("-p", "no:edgetl", "-p", "edgetl.devices.pytest_plugin")
"""As the entry point does, whether or not the environment has it."""


@pytest.fixture
def project(pytester: pytest.Pytester, bundle: Path) -> pytest.Pytester:
    """A project with the bundle in `bundles/stripes`, and the ini file that makes it pytest's root folder."""
    shutil.copytree(bundle, pytester.path / "bundles" / "stripes")
    pytester.makeini("[pytest]\nfilterwarnings = default\n")  # not the filters of the suite around it
    return pytester


def outcome(project: pytest.Pytester, call: str, *options: str) -> pytest.RunResult:
    """Runs a test that only does `call`."""
    project.makepyfile(test_model=f"def test_ships(edgetl_gate):\n    {call}\n")
    return project.runpytest_inprocess(*LOADED, *options)


def checked(project: pytest.Pytester, *options: str, arguments: str = "") -> pytest.RunResult:
    return outcome(project, f"edgetl_gate.check('bundles/stripes', variants='{FP32}'{arguments})", *options)


def swap_channels(bundle: Path) -> None:
    graph = bundle / FP32 / "model.onnx"
    model = onnx.load(graph)
    swap_red_and_blue(model)
    onnx.save(model, graph)
    rehash(bundle)


def test_a_good_bundle_passes_and_leaves_figures_and_report(project: pytest.Pytester) -> None:
    call = f"report = edgetl_gate('bundles/stripes', variants=['{FP32}'], launches=5); assert report.answers"
    before = sorted(path.name for path in (project.path / "bundles" / "stripes").iterdir())
    result = outcome(project, call, "--junitxml=junit.xml", "--edgetl-json=kept", "-W", "error")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*= edgetl gates =*", "pass: bundles/stripes on this machine (test_model.py::*)"])
    assert before == sorted(path.name for path in (project.path / "bundles" / "stripes").iterdir())
    (case,) = ET.parse(project.path / "junit.xml").getroot().iter("testcase")
    properties = {item.get("name"): item.get("value") for item in case.iter("property")}
    (report,) = (project.path / "kept").iterdir()
    (variant,) = json.loads(report.read_text())["variants"]
    assert properties[f"stripes.{FP32}.verdict"] == "pass"
    assert properties[f"stripes.{FP32}.p50_ms"] == str(variant["latency_ms"]["p50"])
    assert properties[f"stripes.{FP32}.drop_points"] == str(variant["drop_points"]["value"])
    assert open_baseline(report).report is not None  # a later gate can be asked against it


def test_a_regression_fails_with_the_cause_and_no_traceback(project: pytest.Pytester) -> None:
    swap_channels(project.path / "bundles" / "stripes")
    result = checked(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["edgetl: fail: bundles/stripes on this machine", f"  {FP32}: fail", "    numerics: *(cause: *red*blue*)"]
    )
    assert "Traceback" not in result.stdout.str() and "acceptance.py" not in result.stdout.str()
    result.stdout.fnmatch_lines(["fail: bundles/stripes on this machine (test_model.py::test_ships)"])


def test_a_damaged_bundle_fails_with_the_hint(project: pytest.Pytester) -> None:
    graph = project.path / "bundles" / "stripes" / FP32 / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    result = checked(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["edgetl cannot judge bundles/stripes on this machine: *model.onnx*", "hint: *"])
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize("arguments", [", device='toaster'", ", data='nowhere'", ", variants='onnxruntime-fp64'"])
def test_a_wrong_argument_fails_and_is_named(project: pytest.Pytester, arguments: str) -> None:
    result = outcome(project, f"edgetl_gate.check('bundles/stripes'{arguments})")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{arguments.split(chr(39))[1]}*", "hint: *"])


@pytest.mark.parametrize("arguments", ["margin_percent=-1.0", "margin_percent=float('nan')", "launches=4"])
def test_a_gate_is_not_asked_beyond_its_limits(project: pytest.Pytester, arguments: str) -> None:
    result = outcome(project, f"edgetl_gate('bundles/stripes', {arguments})")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*`{arguments.split('=')[0]}` cannot be*", "hint: it lies between *"])


def test_another_device_skips_and_says_why(project: pytest.Pytester) -> None:
    elsewhere = ", device='jetson-orin-nano'"
    result = checked(project, "-rs", arguments=elsewhere)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["skipped: bundles/stripes on jetson*", "*SKIPPED*this is no NVIDIA Jetson Orin Nano*"])
    checked(project, "--edgetl-strict", arguments=elsewhere).assert_outcomes(failed=1)
    checked(project, arguments=f"{elsewhere}, strict=True").assert_outcomes(failed=1)
    project.makeini("[pytest]\nfilterwarnings = default\nedgetl_require = true\n")
    checked(project, arguments=elsewhere).assert_outcomes(failed=1)


def test_undecided_warns_and_fails_when_strict(project: pytest.Pytester, bundle: Path) -> None:
    profile = project.path / "devices" / "mine.toml"
    profile.parent.mkdir()
    profile.write_text(
        'name = "mine"\ntitle = "mine"\n[[engines]]\nname = "onnxruntime"\n[accuracy]\nmax_drop_points = 0.1\n'
    )
    call = "edgetl_gate.check('bundles/stripes', variants='onnxruntime-int8', device='devices/mine.toml'{})"
    result = outcome(project, call.format(""))
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        ["*test_model.py:2: EdgetlUndecided: edgetl: undecided: bundles/stripes on devices/mine.toml"]
    )
    outcome(project, call.format(", strict=True")).assert_outcomes(failed=1)
    outcome(project, call.format(""), "--edgetl-strict").assert_outcomes(failed=1)
    ignored = "ignore::edgetl.devices.pytest_plugin.EdgetlUndecided"
    outcome(project, call.format(""), "-W", ignored).assert_outcomes(passed=1)


def test_paths_start_at_the_root_and_reports_where_pytest_was_called(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = project.mkdir("tests")
    monkeypatch.chdir(below)
    call = f"edgetl_gate.check('bundles/stripes', variants='{FP32}')"
    (below / "test_model.py").write_text(
        f"import pytest\n@pytest.mark.parametrize('name', ['a/b', 'a-b'])\n"
        f"def test_ships(edgetl_gate, name):\n    {call}\n    {call}\n"
    )
    project.runpytest_inprocess(*LOADED, "--edgetl-json=kept").assert_outcomes(passed=2)
    assert len(list((below / "kept").iterdir())) == 4  # names that look alike, and two calls of one test
    (below / "file").touch()
    refused = project.runpytest_inprocess(*LOADED, "--edgetl-json=file")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR


def test_loading_the_plugin_costs_other_suites_nothing() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import edgetl.devices.pytest_plugin;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(*sorted(new - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["edgetl"], done.stderr


@pytest.mark.slow
def test_a_fresh_project_gets_the_fixture_by_installing_edgetl(own_bundle: Path, tmp_path: Path) -> None:
    if shutil.which("uv") is None:
        pytest.skip("uv is not on the path, so no clean environment can be made")
    project = tmp_path / "project"
    (project / "bundles").mkdir(parents=True)
    own_bundle.rename(project / "bundles" / "good")
    shutil.copytree(project / "bundles" / "good", project / "bundles" / "damaged")
    (project / "bundles" / "damaged" / FP32 / "model.onnx").write_bytes(b"no graph")
    swapped = shutil.copytree(project / "bundles" / "good", project / "bundles" / "swapped")
    swap_channels(Path(swapped))
    (project / "pytest.ini").write_text("[pytest]\n")
    (project / "test_models.py").write_text(
        "import pytest\n\n@pytest.mark.parametrize('name', ['good', 'damaged', 'swapped'])\n"
        "def test_ships(edgetl_gate, name):\n"
        "    edgetl_gate(f'bundles/{name}', variants='onnxruntime-fp32', launches=5)\n\n"
        "def test_on_the_board(edgetl_gate):\n    edgetl_gate('bundles/good', device='jetson-orin-nano')\n"
    )
    environment = tmp_path / "venv"
    uv("venv", "--quiet", "--python", sys.executable, environment)
    root = Path(__file__).parents[2]
    uv("pip", "install", "--quiet", "--python", environment, f"{root}[onnxruntime]", "pytest", "pytest-xdist")
    for options in ([], ["-n", "2"]):
        command = [str(environment / "bin" / "pytest"), "-rA", *options]
        done = subprocess.run(command, capture_output=True, text=True, cwd=project, timeout=300)
        assert done.returncode == 1, done.stdout + done.stderr
        said = done.stdout
        assert "2 failed, 1 passed, 1 skipped" in said
        assert "pass: bundles/good on this machine (test_models.py::test_ships[good])" in said
        assert "error: bundles/damaged on this machine" in said and "fail: bundles/swapped on this machine" in said
        assert "skipped: bundles/good on jetson-orin-nano" in said and "INTERNALERROR" not in said


@pytest.mark.slow
@pytest.mark.parametrize("release", ["7.0.1", "8.0.2"])
def test_a_suite_of_an_older_pytest_is_not_broken(release: str, tmp_path: Path) -> None:
    if shutil.which("uv") is None:
        pytest.skip("uv is not on the path, so no clean environment can be made")
    uv("venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    uv("pip", "install", "--quiet", "--python", tmp_path / "venv", f"pytest=={release}")
    (tmp_path / "pytest.ini").write_text("[pytest]\nedgetl_require = true\n")
    (tmp_path / "test_model.py").write_text("def test_it(edgetl_gate):\n    assert callable(edgetl_gate)\n")
    root = Path(__file__).parents[2]
    command = [str(tmp_path / "venv" / "bin" / "python"), "-m", "pytest", "-p", "edgetl.devices.pytest_plugin"]
    environment = {"PYTHONPATH": f"{root / 'core'}:{root / 'devices'}"}
    done = subprocess.run(
        [*command, "-W", "error"], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120
    )
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
