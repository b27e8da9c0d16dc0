"""Ports that tests are given: what one process of tests holds, whether or not it listens there, no other one is given."""

import subprocess
import sys
from pathlib import Path

from tests import ports

ASK = "from tests import ports; ports._turns = iter(range({port}, 20_000, 8)); print(ports.free_port())"


def test_a_port_that_was_given_is_given_to_no_other_process_though_nobody_listens_there() -> None:
    port = ports.free_port()
    asked = [sys.executable, "-c", ASK.format(port=port)]
    said = subprocess.run(asked, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True).stdout
    assert int(said) != port
