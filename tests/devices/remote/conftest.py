"""A device to log in to."""

from collections.abc import Iterator

import pytest
from tests.devices.remote.machine import Machine, running


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One `sshd` for all tests; what a test changes there it puts back."""
    with running(tmp_path_factory.mktemp("device")) as made:
        yield made
