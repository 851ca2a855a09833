"""Broker processes on ports of their own."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import time
import urllib.request

# A debug build on a busy machine; it takes well under a second otherwise.
START_SECONDS = 20
# A drain ends calls after 5 s, and the process within 10 s.
STOP_SECONDS = 10


class Broker:
    def __init__(self, folder, *flags):
        self.data_dir = folder / "data"
        self._log = folder / "broker.log"
        self._flags = flags
        self._process = None
        self.launch()

    @classmethod
    def started(cls, folder):
        """One that is ready."""
        broker = cls(folder)
        broker.await_ready()
        return broker

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def start(self):
        self.launch()
        self.await_ready()

    def launch(self):
        # The variables of the tests (ROPEWALK_BIN) are no settings, and a broker refuses those that
        # it does not know.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ROPEWALK_")}
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [
                    os.environ["ROPEWALK_BIN"],
                    "serve",
                    f"--data-dir={self.data_dir}",
                    "--listen=127.0.0.1:0",
                    "--admin-listen=127.0.0.1:0",
                    "--log-format=json",
                    *self._flags,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )

    def await_ready(self):
        ready = self._wait_until_ready()
        self.address = ready["address"]
        self.admin_address = ready["admin"]

    def _wait_until_ready(self):
        """The fields of the line that tells the addresses."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            exit_code = self._process.poll()
            for line in self.log().splitlines(keepends=True):
                # The last line may not be whole yet.
                if line.endswith("\n") and line.startswith("{"):
                    fields = json.loads(line)["fields"]
                    if fields.get("message") == "ready":
                        return fields
            if exit_code is not None:
                raise RuntimeError(f"the broker exited with {exit_code}:\n{self.log()}")
            time.sleep(0.01)
        raise RuntimeError(f"the broker is not ready after {START_SECONDS} s:\n{self.log()}")

    def log(self):
        return self._log.read_text(errors="replace")

    def terminate(self):
        """Asks the process to stop; it drains first."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self):
        """The exit code."""
        return self._process.wait(timeout=STOP_SECONDS)

    def metric(self, name):
        """The value of a metric without labels."""
        with urllib.request.urlopen(f"http://{self.admin_address}/metrics", timeout=5) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(name + " "):
                    return float(line.split()[1])
        raise KeyError(name)


@contextlib.contextmanager
def cluster(folder):
    """Three brokers, with the ids 1 to 3, that have formed a cluster."""
    peers = [f"127.0.0.1:{port}" for port in free_ports(3)]
    with contextlib.ExitStack() as stack:
        brokers = []
        for node_id, peer in enumerate(peers, start=1):
            home = folder / f"broker-{node_id}"
            home.mkdir()
            broker = Broker(
                home,
                f"--node-id={node_id}",
                f"--peer-listen={peer}",
                f"--join={','.join(peers)}",
                "--bootstrap=1,2,3",
            )
            brokers.append(stack.enter_context(broker))
        # Each is ready only when the others are there.
        for broker in brokers:
            broker.await_ready()
        yield brokers


def free_ports(count):
    """Ports that nobody listens on. The system takes the local ports of outgoing connections from
    above these: also that of one to a broker that does not listen yet, which would then keep it from
    listening."""
    found = []
    for port in random.sample(range(10_000, 32_000), 1000):
        with socket.socket() as candidate, contextlib.suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"there are no {count} free ports")
