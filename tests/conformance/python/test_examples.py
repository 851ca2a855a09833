"""The example in examples/python does what it says."""

import os
import subprocess
import sys
from pathlib import Path

import ropewalk.v1

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "python"


def test_hello(broker):
    # The stubs are those that conftest.py has made.
    (package,) = ropewalk.v1.__path__
    run = subprocess.run(
        [sys.executable, EXAMPLES / "hello.py", broker.address],
        env={**os.environ, "PYTHONPATH": str(Path(package).parents[1])},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "partition 0, from offset 0",
        "0:0 fruit=apple",
        "0:1 fruit=pear",
        "0:2 fruit=plum",
    ]
