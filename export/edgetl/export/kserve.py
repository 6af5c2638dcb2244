"""KServe manifests for a bundle: Triton over its model repository, or a container image with `edgetl serve`.

https://kserve.github.io/website/docs/reference/crd-api, serving.kserve.io/v1beta1.
"""

import re
from pathlib import Path

from edgetl.bundle import Bundle
from edgetl.errors import ConfigError
from edgetl.export import kubernetes
from edgetl.export.container import containerfile
from edgetl.export.kubernetes import Manifest, Placement, check_name
from edgetl.export.triton import first_servable, write_repository
from edgetl.export.yaml_text import to_yaml
from edgetl.files import write_bytes
from edgetl.staging import staged_directory

STORAGE = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"']+")
IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/@-]*")
TRITON = "kserve-tritonserver"
"""The serving runtime for Triton that KServe installs."""

OWN_SERVER = "kserve-container"
"""KServe knows the container that answers by this name."""

TRITON_RESOURCES = {"cpu": "2", "memory": "2Gi"}


def write_manifests(
    bundle: Bundle,
    out: Path,
    *,
    name: str,
    storage_uri: str | None = None,
    image: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes `out`, whole or not at all, and returns it.

    With `storage_uri`: `models/NAME`, the Triton repository of the bundle's first variant that Triton runs as
    declared, and `inferenceservice-triton.yaml`, which expects `models` to be copied to the URI. With `image`:
    `inferenceservice-edgetl.yaml`, for a cluster without KServe `deployment.yaml`, and the image's `Containerfile`.
    Raises ConfigError as `check_request` does, and when no variant is for Triton.
    """
    check_request(name, storage_uri, image)
    with staged_directory(out, overwrite=overwrite) as folder:
        if storage_uri is not None:
            write_repository(bundle, first_servable(bundle), folder / "models", name=name)
            _write(folder / "inferenceservice-triton.yaml", triton_service(name, storage_uri))
        if image is not None:
            placement = Placement(name=name, image=image)
            _write(folder / "inferenceservice-edgetl.yaml", own_service(placement))
            parts = (kubernetes.deployment, kubernetes.service, kubernetes.disruption_budget)
            _write(folder / "deployment.yaml", *(part(placement) for part in parts))
            write_bytes(folder / "Containerfile", containerfile(bundle.manifest, name).encode())
    return out


def check_request(name: str, storage_uri: str | None, image: str | None) -> None:
    """Raises ConfigError for a name, URI or image that cannot be one, or when there is neither URI nor image."""
    check_name(name)
    if storage_uri is None and image is None:
        raise ConfigError(
            "KServe has to be told where the model comes from",
            hint="`--storage-uri s3://BUCKET/FOLDER` for Triton, `--image REGISTRY/NAME:TAG` for `edgetl serve`",
        )
    if storage_uri is not None and not STORAGE.fullmatch(storage_uri):
        raise ConfigError(f"`{storage_uri}` is no storage URI", hint="it looks like s3://BUCKET/FOLDER or pvc://CLAIM")
    if image is not None and not IMAGE.fullmatch(image):
        raise ConfigError(f"`{image}` is no container image", hint="it looks like REGISTRY/NAME:TAG")


def triton_service(name: str, storage_uri: str) -> Manifest:
    """Triton on the repository that lies at `storage_uri`."""
    model = {
        "modelFormat": {"name": "triton", "version": "2"},
        "runtime": TRITON,
        "protocolVersion": "v2",
        "storageUri": storage_uri,
        "resources": {"requests": TRITON_RESOURCES, "limits": TRITON_RESOURCES},
    }
    return _inference_service(name, {"minReplicas": 1, "model": model})


def own_service(placement: Placement) -> Manifest:
    """`edgetl serve` as KServe's custom predictor; it speaks protocol v2 itself.

    The mode without Knative, which KServe calls Standard since 0.16 and still knows by its old name: Knative allows no
    `preStop`, which a replica needs to leave the balancers before it drains.
    """
    predictor = {"minReplicas": placement.replicas, **kubernetes.pod(placement, container=OWN_SERVER)}
    return _inference_service(placement.name, predictor, {"serving.kserve.io/deploymentMode": "RawDeployment"})


def _inference_service(name: str, predictor: Manifest, annotations: dict[str, str] | None = None) -> Manifest:
    metadata: Manifest = {"name": name, "labels": kubernetes.labels_of(name)}
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata,
        "spec": {"predictor": predictor},
    }


def _write(path: Path, *manifests: Manifest) -> None:
    write_bytes(path, to_yaml(*manifests).encode())
