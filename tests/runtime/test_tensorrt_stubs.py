"""Our use of TensorRT's API, checked by mypy against the real bindings of each version, where no engine can be built.

The bindings install from the package index without the engine library. A few empty C functions in its place let them
be imported, pybind11-stubgen writes down what they offer, and mypy holds our modules against that.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = ("runtime/edgetl/runtime/engines/tensorrt.py", "runtime/edgetl/runtime/tensorrt")

BINDINGS = {
    "10.12": ("tensorrt_cu12_bindings==10.12.0.36", 10),
    "10.16": ("tensorrt_cu13_bindings==10.16.1.11", 10),
    "11.4": ("tensorrt_cu13_bindings==11.4.0.106", 11),
}
"""The oldest version we support, and the newest of each major version that ours were written against."""

STUBGEN = "pybind11-stubgen==2.5.5"
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")

pytestmark = pytest.mark.slow


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def install(requirement: str, folder: Path) -> None:
    """Skips when the package index cannot be reached or has nothing for this Python."""
    installer = [shutil.which("uv") or "", "pip", "install", "--python", sys.executable]
    if not installer[0]:
        pytest.skip("`uv` is not installed")
    done = run(*installer, "--quiet", "--no-deps", "--target", folder, requirement)
    if done.returncode != 0:
        pytest.skip(f"`{requirement}` cannot be installed here: {done.stderr.strip().splitlines()[-1:]}")


@pytest.fixture(scope="module")
def stubgen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stubgen")
    install(STUBGEN, folder)
    return folder


@pytest.fixture(scope="module", params=BINDINGS)
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder with the real bindings as `tensorrt`, and one with empty libraries to link them to."""
    requirement, major = BINDINGS[request.param]
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler `cc`")
    folder, libraries = tmp_path_factory.mktemp("bindings"), tmp_path_factory.mktemp("libraries")
    install(requirement, folder)
    (folder / "tensorrt").symlink_to("tensorrt_bindings")
    for name in LIBRARIES:
        target = libraries / f"lib{name}.so.{major}"
        assert (
            run(compiler, "-shared", "-fPIC", "-o", target, Path(__file__).with_name("tensorrt_stub.c")).returncode == 0
        )
    return folder, libraries


@pytest.fixture(scope="module")
def stubs(bindings: tuple[Path, Path], stubgen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tensorrt/__init__.pyi` of the version."""
    package, libraries = bindings
    raw, folder = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("stubs")
    made = run(
        *(sys.executable, "-m", "pybind11_stubgen", "tensorrt_bindings.tensorrt", "-o", raw, "--ignore-all-errors"),
        LD_LIBRARY_PATH=str(libraries),
        PYTHONPATH=f"{package}{os.pathsep}{stubgen}",
    )
    assert made.returncode == 0, made.stderr
    (folder / "tensorrt").mkdir()
    text = readable((raw / "tensorrt_bindings" / "tensorrt.pyi").read_text())
    (folder / "tensorrt" / "__init__.pyi").write_text(text)
    return folder


def readable(stub: str) -> str:
    """The generated stub as mypy can read it: `in` and `bool` are names there, and one default is missing."""
    stub = re.sub(r"(?m)^( *def .*)\bin: ", r"\1in_: ", stub)
    stub = re.sub(r"(channel_axis: [\w.]+)\) -> IScaleLayer", r"\1 = ...) -> IScaleLayer", stub)
    stub = re.sub(r"(-> |: |\[)bool\b", r"\1builtins.bool", stub)
    stub = stub.replace("from __future__ import annotations\n", "")
    return f"# mypy: ignore-errors\nfrom __future__ import annotations\nimport builtins\n__version__: str\n{stub}"


def check(stubs: Path, *files: object) -> subprocess.CompletedProcess[str]:
    """mypy as the project runs it, with the stubs first on its path; CUDA's binding has no types."""
    options = ("--follow-imports=silent", "--no-warn-unused-ignores", "--disable-error-code=import-untyped")
    return run(sys.executable, "-m", "mypy", *options, f"--cache-dir={stubs / 'cache'}", *files, MYPYPATH=str(stubs))


def test_our_modules_use_only_what_this_version_has(stubs: Path, tmp_path: Path) -> None:
    found = check(stubs, *MODULES)
    assert found.returncode == 0, found.stdout
    # the same check fails when there is something to find: these went with TensorRT 11, or never were
    source = (ROOT / "runtime/edgetl/runtime/tensorrt/build.py").read_text()
    for right, wrong in (
        ("", ""),
        ("BuilderFlag.TF32", "BuilderFlag.TF_32"),
        ("config.set_memory_pool_limit(", "config.max_workspace_size("),
        ("builder.build_serialized_network(network, config)", "builder.build_serialized_network(config)"),
    ):
        assert right in source
        (tmp_path / "wrong.py").write_text(source.replace(right, wrong))
        refused = check(stubs, tmp_path / "wrong.py")
        assert refused.returncode == bool(wrong) and ("wrong.py" in refused.stdout) == bool(wrong), refused.stdout


def test_what_left_with_tensorrt_11_is_not_used(stubs: Path, tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("import tensorrt as trt\nFLAG = trt.BuilderFlag.FP16\n")
    major = (stubs / "tensorrt" / "__init__.pyi").read_text().count("    FP16: typing.ClassVar[BuilderFlag]")
    assert check(stubs, tmp_path / "old.py").returncode == (0 if major else 1)
    for path in (ROOT / "runtime/edgetl/runtime").glob("**/*tensorrt*/**/*.py"):
        assert not re.search(r"BuilderFlag\.(FP16|INT8|BF16)|Calibrator", path.read_text()), path


OPEN = """
import sys
from pathlib import Path
from edgetl.errors import EngineError
from edgetl.runtime.engines import open_engine
import tensorrt
print(tensorrt.__version__)
try:
    open_engine("tensorrt", Path(sys.argv[1]), {"cache": sys.argv[2]})
except EngineError as error:
    print(error)
"""


def test_the_engine_module_loads_with_the_real_bindings(bindings: tuple[Path, Path], tmp_path: Path) -> None:
    """Class bodies and constants touch the bindings at import; opening ends where a GPU is asked for."""
    pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    if any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/nvgpu").exists():
        pytest.skip("this machine has a GPU, and the libraries are empty")
    package, libraries = bindings
    (tmp_path / "model.onnx").write_bytes(b"never read")
    (tmp_path / "build.json").write_text('{"schema": "1.0", "precision": "fp16", "opset": 20, "compute": []}')
    done = run(
        *(sys.executable, "-c", OPEN, tmp_path / "model.onnx", tmp_path / "cache"),
        LD_LIBRARY_PATH=str(libraries),
        PYTHONPATH=str(package),
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"1[01]\.\d+", done.stdout) and "tensorrt: CUDA: " in done.stdout
