"""A bundle's gate as one test of a project's own suite; `pytest` finds the fixture where edgetl is installed."""

from pathlib import Path

from edgetl.devices.pytest_plugin import Gate

BUNDLE = Path("bundles/flowers")
"""From the project's root folder."""


def test_the_bundle_is_right(edgetl_gate: Gate) -> None:
    edgetl_gate.check(BUNDLE)


def test_the_bundle_ships(edgetl_gate: Gate) -> None:
    report = edgetl_gate(BUNDLE, launches=5)
    for variant in report.variants:
        assert variant.verdict == "skipped" or variant.size_bytes < 20e6
