"""The recipe of a container image that holds one bundle and serves it."""

import json
from importlib.metadata import version

from edgetl.export.kubernetes import PORT, USER, command_line
from edgetl.manifest import Manifest

BASE = "python:3.12-slim"
EXTRAS = ("openvino", "onnxruntime")
"""Engines of a processor; a GPU wants another base image, with its driver's libraries."""

RECIPE = """\
# The bundle is the build context:  podman build -f Containerfile -t IMAGE BUNDLE
FROM {base} AS packages
# an edgetl that is not in a package index: --build-arg "EDGETL=edgetl[{extras}] @ https://…/edgetl.whl"
ARG EDGETL="edgetl[{extras}]=={version}"
RUN python -m venv /opt/edgetl && /opt/edgetl/bin/pip install --no-cache-dir "${{EDGETL}}"

FROM {base}
RUN useradd --uid {user} --no-create-home --shell /usr/sbin/nologin edgetl \\
    && install --directory --owner=edgetl --group=edgetl --mode=0700 /cache
COPY --from=packages /opt/edgetl /opt/edgetl
COPY . {bundle}
# ONNX Runtime sends what it ran from release 1.29 on, unless told not to
ENV PATH=/opt/edgetl/bin:$PATH EDGETL_CACHE=/cache/edgetl PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1
USER {user}:{user}
VOLUME ["/cache"]
EXPOSE {port}
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 CMD {ready}
ENTRYPOINT ["edgetl"]
CMD {command}
"""

READY = "import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/v2/health/ready', timeout=2)"


def containerfile(manifest: Manifest, name: str) -> str:
    """For the bundle's engines on a processor; it runs as a user without rights on a read-only root."""
    engines = {variant.engine for variant in manifest.variants if variant.status != "failed"}
    extras = ",".join([*(extra for extra in EXTRAS if extra in engines), *manifest.task.extras, "serve"])
    return RECIPE.format(
        base=BASE, extras=extras, version=version("edgetl"), user=USER, bundle=f"/bundles/{name}", port=PORT,
        ready=_exec("python", "-c", READY.format(port=PORT)), command=_exec(*command_line(name)),
    )  # fmt: skip


def _exec(*words: str) -> str:
    """The form that starts no shell, so that SIGTERM reaches the server."""
    return json.dumps(words)
