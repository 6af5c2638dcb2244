"""What a device installs is enough: no torch in the spine, the runtime and the devices; nothing loaded early."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "onnx", "nncf", "sklearn", "scipy", "matplotlib", "safetensors", "jinja2", "tomli_w")

BLOCK = f"""
import importlib.abc, sys
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True, timeout=120)


def test_a_device_needs_no_torch(bundle: Path) -> None:
    result = python(f"""
import pkgutil, edgetl.runtime, edgetl.devices, edgetl.tasks
from edgetl.cli import app
import importlib
for area in (edgetl.runtime, edgetl.devices, edgetl.tasks):
    for module in pkgutil.walk_packages(area.__path__, area.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as absent:
            assert (absent.name or "").split(".")[0] in ("tensorrt", "cuda"), absent
for arguments in (["--help"], ["check", {str(bundle)!r}], ["inspect", {str(bundle)!r}], ["devices", "detect"]):
    try:
        app(arguments)
    except SystemExit as end:
        assert end.code == 0, (arguments, end.code)
""")
    assert result.returncode == 0, result.stderr


def test_what_is_missing_is_said_with_the_extra_that_brings_it(tmp_path: Path) -> None:
    result = python(f"""
from edgetl.cli import app
app(["finetune", {str(tmp_path)!r}, "-o", {str(tmp_path / "run")!r}])
""")
    assert result.returncode == 3
    assert "`torch`" in result.stderr and "edgetl[train]" in result.stderr


def test_help_loads_no_engine_and_no_numerics() -> None:
    result = python("""
import sys
from edgetl.cli import app
try:
    app(["--help"])
except SystemExit:
    pass
assert not {"onnxruntime", "openvino", "numpy", "PIL"} & set(sys.modules), sorted(sys.modules)
""")
    assert result.returncode == 0, result.stderr


def test_import_rules() -> None:
    """The contracts in pyproject.toml: who may import whom."""
    command = [str(Path(sys.executable).with_name("lint-imports"))]
    if not Path(command[0]).exists():
        pytest.fail("import-linter is part of the development group")
    result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=120)
    assert result.returncode == 0, result.stdout
