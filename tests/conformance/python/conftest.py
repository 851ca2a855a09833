"""Generates the stubs from `proto/`, and starts the broker that the tests talk to.

A program of its own would run grpc_tools.protoc once and keep what it makes. Here it runs with
every run of the tests, so that what is tested is the contract as it stands.
"""

import contextlib
import itertools
import os
import re
import sys
import tempfile
from pathlib import Path

import grpc
import pytest

HERE = Path(__file__).resolve().parent
PROTO = HERE.parents[2] / "proto"


def generate_stubs(into):
    """What `python -m grpc_tools.protoc -I proto --python_out=... --grpc_python_out=...` does."""
    import grpc_tools
    from grpc_tools import protoc

    # The well-known types (Timestamp, Duration, ...) come with grpc_tools, and google.rpc.Status
    # with googleapis-common-protos: only our own files are generated.
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.glob("ropewalk/v1/*.proto"))
    failed = protoc.main(
        [
            "protoc",
            f"-I{PROTO}",
            f"-I{well_known}",
            f"--python_out={into}",
            f"--grpc_python_out={into}",
            *files,
        ]
    )
    if failed:
        raise RuntimeError(f"protoc failed on {files}")


# Before the test modules are imported: they import the stubs.
_stubs = tempfile.TemporaryDirectory(prefix="ropewalk-stubs-")
generate_stubs(_stubs.name)
sys.path.insert(0, _stubs.name)

from broker import Broker, cluster  # noqa: E402
from client import Client  # noqa: E402


def pytest_sessionstart(session):
    binary = os.environ.get("ROPEWALK_BIN", "")
    if not os.access(binary, os.X_OK):
        raise pytest.UsageError(
            f"ROPEWALK_BIN={binary!r} is no program: build the broker with"
            " `cargo build --bin ropewalk` and set ROPEWALK_BIN to target/debug/ropewalk"
        )


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """The broker that most tests share."""
    with Broker.started(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def own_broker(tmp_path):
    """A broker for one test alone, which may stop it and start it again."""
    with Broker.started(tmp_path) as broker:
        yield broker


@pytest.fixture
def brokers(tmp_path):
    """A cluster of three, for one test alone."""
    with cluster(tmp_path) as brokers:
        yield brokers


@pytest.fixture
def clients(brokers):
    """The stubs, on one channel to each of the three, by the broker's id."""
    with contextlib.ExitStack() as stack:
        channels = [stack.enter_context(grpc.insecure_channel(b.address)) for b in brokers]
        yield {node_id: Client(channel) for node_id, channel in enumerate(channels, start=1)}


@pytest.fixture(scope="session")
def client(broker):
    """The stubs, on one channel with the defaults of the library."""
    with grpc.insecure_channel(broker.address) as channel:
        yield Client(channel)


_numbers = itertools.count(1)


@pytest.fixture
def name(request):
    """A topic or group name that no other test uses."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")
    return f"{words[:100]}-{next(_numbers)}"


@pytest.fixture
def topic(client, name):
    """A new topic with one partition."""
    return client.create_topic(name)


@pytest.fixture
def topic3(client, name):
    """A new topic with three partitions."""
    return client.create_topic(name, partitions=3)
