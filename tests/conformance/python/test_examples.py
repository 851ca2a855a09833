"""The examples in examples/python do what they say."""

import os
import subprocess
import sys
from pathlib import Path

import ropewalk.v1

from client import values

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "python"


def lines_of(example, *args, given=""):
    """What an example prints."""
    # The stubs are those that conftest.py has made.
    (package,) = ropewalk.v1.__path__
    run = subprocess.run(
        [sys.executable, EXAMPLES / example, *args],
        env={**os.environ, "PYTHONPATH": str(Path(package).parents[1])},
        input=given,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_group(broker, client, topic):
    client.produce(topic, values("a", "b", "c"), partition=0)
    first = lines_of("group.py", broker.address, topic, topic, "3")
    assert first == ["partition 0 from offset 0", "0:0 a", "0:1 b", "0:2 c"]
    client.produce(topic, values("d"), partition=0)
    second = lines_of("group.py", broker.address, topic, topic, "1")
    assert second == ["partition 0 from offset 3", "0:3 d"]


def test_producer(broker, client, topic):
    lines = "".join(f"{n}\n" for n in range(3))
    assert lines_of("producer.py", broker.address, topic, "0", given=lines) == ["0:0", "0:1", "0:2"]
    assert [record.value for record in client.read(topic).values()] == [b"0", b"1", b"2"]


def test_hello(broker):
    assert lines_of("hello.py", broker.address) == [
        "partition 0, from offset 0",
        "0:0 fruit=apple",
        "0:1 fruit=pear",
        "0:2 fruit=plum",
    ]
