import subprocess
import sys
from collections.abc import Iterator

import pytest

from edgetl.devices.remote.channel import Channel
from edgetl.devices.remote.protocol import GREETING, Welcome
from edgetl.devices.remote.refusals import LinkLost

DRIP = """
import os, sys, time
os.write(1, bytes.fromhex(sys.argv[1]))
while True:
    os.write(1, b" ")
    time.sleep(0.001)
"""


@pytest.fixture
def dripping(request: pytest.FixtureRequest) -> Iterator[Channel]:
    """The channel to a device that says what the test is given, and never stops to say a little more."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", DRIP, request.param], stdin=pipe, stdout=pipe, stderr=pipe)
    channel = Channel(process, None)
    yield channel
    channel.close()


@pytest.mark.parametrize("dripping", [""], indirect=True)
def test_a_device_that_never_greets_is_not_waited_for(dripping: Channel) -> None:
    with pytest.raises(LinkLost, match="in time"):
        dripping.greet(0.3)


@pytest.mark.parametrize("dripping", [GREETING.hex() + "00010000" + "00000000"], indirect=True)
def test_an_answer_that_never_ends_is_not_waited_for(dripping: Channel) -> None:
    dripping.greet(20)
    with pytest.raises(LinkLost, match="in time"):
        dripping.receive(Welcome, 0.3)
