"""Kubernetes manifests for a container image that holds a bundle: replicas of `edgetl serve`, and their address.

The image is what `edgetl.export.container` describes: the bundle lies in `/bundles/NAME`. Fields as
https://kubernetes.io/docs/reference/kubernetes-api/ names them.
"""

import re

import msgspec

from edgetl.errors import ConfigError

PORT = 8000
USER = 10001
"""The image's own user, which is nobody on the node."""

LEAVE_S, DRAIN_S, SPARE_S = 5, 20, 5
"""Seconds: until every balancer has taken a dying replica off its list (SIGTERM waits for that), for the answers it
still owes, and for freeing the engine. After their sum Kubernetes kills it."""

OPEN_S = 120
"""So long may opening and warming up take before a replica is started anew."""

NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
MAX_NAME = 40
"""A service's name is at most 63 characters (RFC 1035), and KServe appends to it and to the namespace."""

Manifest = dict[str, object]


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica is called, made of and given. `cpu` and `memory` are both what it is promised and its limit."""

    name: str
    image: str
    replicas: int = 2
    cpu: str = "2"
    memory: str = "1Gi"


def check_name(name: str) -> None:
    """Raises ConfigError for what Kubernetes cannot use as the name of a service."""
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise ConfigError(
            f"`{name}` cannot be the name of a service",
            hint=f"use up to {MAX_NAME} lower-case letters, digits and `-`, a letter first; `--service-name` takes it",
        )


def deployment(placement: Placement) -> Manifest:
    """Replicas that start before old ones stop, spread over the nodes."""
    labels = labels_of(placement.name)
    spread = {
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }  # fmt: skip
    scraped = {"prometheus.io/scrape": "true", "prometheus.io/port": str(PORT), "prometheus.io/path": "/metrics"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": placement.name, "labels": labels},
        "spec": {
            "replicas": placement.replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": labels, "annotations": scraped},
                "spec": {**pod(placement, container="edgetl"), "topologySpreadConstraints": [spread]},
            },
        },
    }


def service(placement: Placement) -> Manifest:
    """One address for all replicas that are ready."""
    labels = labels_of(placement.name)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": placement.name, "labels": labels},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }


def disruption_budget(placement: Placement) -> Manifest:
    """Nodes are emptied one replica at a time."""
    labels = labels_of(placement.name)
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": placement.name, "labels": labels},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}},
    }


def labels_of(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name}


def pod(placement: Placement, *, container: str) -> Manifest:
    """The server as an unprivileged user on a read-only file system; what it writes lies in two volumes."""
    resources = {"cpu": placement.cpu, "memory": placement.memory}
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": LEAVE_S + DRAIN_S + SPARE_S,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": container,
                "image": placement.image,
                "args": command_line(placement.name),
                "env": [{"name": "EDGETL_CACHE", "value": "/cache/edgetl"}],
                "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
                "startupProbe": {**_probe("ready"), "periodSeconds": 2, "failureThreshold": OPEN_S // 2},
                "readinessProbe": {**_probe("ready"), "periodSeconds": 2, "failureThreshold": 1},
                "livenessProbe": {**_probe("live"), "periodSeconds": 10, "failureThreshold": 3},
                "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(LEAVE_S)]}}},
                "resources": {"requests": resources, "limits": resources},
                "securityContext": {
                    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "cache", "mountPath": "/cache"}, {"name": "scratch", "mountPath": "/tmp"}],
            }
        ],
        "volumes": [
            {"name": "cache", "emptyDir": {"sizeLimit": "2Gi"}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "256Mi"}},
        ],
    }  # fmt: skip


def command_line(name: str) -> list[str]:
    """What follows the image's entry point, `edgetl`."""
    return ["serve", f"/bundles/{name}", "--host", "0.0.0.0", "--port", str(PORT), "--drain-s", str(DRAIN_S)]


def _probe(question: str) -> Manifest:
    return {"httpGet": {"path": f"/v2/health/{question}", "port": "http"}, "timeoutSeconds": 2}
