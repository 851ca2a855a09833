#!/usr/bin/env python3
"""Measures Kafka and NATS JetStream with their own tools, on this machine, one after the other.

    tests/bench/peers/peers.py [--nodes 3] [--quick] [--bench target/release/ropewalk-bench]
        [--json FILE]
    tests/bench/peers/peers.py --go --bench target/release/ropewalk-bench [--rounds 5]

They come from Maven Central and the Go module proxy, by coordinates, into a directory for temporary
files that goes at the end with all that they wrote. It needs a JDK of 17 or later, Maven and Go;
and Python without any package. With --bench, Ropewalk is measured in the same run. With --nodes 3
each is three processes on this machine, which keep everything three times and answer when two have
it.

With --go only the Go SDK is measured, in turns with Kafka's Java clients and the Rust SDK, and held
against its goals; the broker is the one beside ropewalk-bench.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import gosdk
import kafka
import nats

COLUMNS = ["peer", "sync", "case", "MB/s", "p50 ms", "p99 ms", "max RSS MiB"]


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small amounts: no figures to quote")
    parser.add_argument("--nodes", type=int, choices=[1, 3], default=1, help="processes of each")
    parser.add_argument("--only", choices=["kafka", "nats"], action="append", default=[])
    parser.add_argument("--dir", help="where everything lies meanwhile: on the disk to be measured")
    parser.add_argument("--json", help="where the figures go as one JSON document")
    parser.add_argument("--bench", help="the binary ropewalk-bench, to be run beside the peers")
    parser.add_argument("--go", action="store_true", help="the Go SDK, beside others")
    parser.add_argument("--rounds", type=int, default=3, help="the turns of each, with --go")
    parser.add_argument("--kafka", default=kafka.VERSION, help="Kafka's version")
    parser.add_argument("--nats-server", default=nats.SERVER, help="the version of nats-server")
    parser.add_argument("--nats-cli", default=nats.CLI, help="the version of natscli")
    chosen = parser.parse_args()
    if chosen.go and (chosen.nodes != 1 or chosen.only or not chosen.bench):
        parser.error("--go is of one node, and needs --bench and no --only")
    return chosen


def show(row):
    def cell(value):
        return f"{value:.2f}" if isinstance(value, float) else str("" if value is None else value)

    widths = [9, 10, 44, 9, 9, 9, 12]
    cells = [cell(row.get(column)) for column in COLUMNS]
    print("  ".join(f"{text:<{width}}" for text, width in zip(cells, widths)).rstrip(), flush=True)


class Run:
    """What a peer's runner needs: a place, commands, servers, and somewhere to put rows."""

    def __init__(self, place, quick, nodes):
        self.place = place
        self.quick = quick
        self.nodes = nodes
        self.rows = []
        # Downloads and builds stay in the place, too.
        self.env = dict(
            os.environ,
            GOPATH=str(place / "go"),
            GOCACHE=str(place / "go-build"),
            GOBIN=str(place / "bin"),
            GOFLAGS="-modcacherw -mod=mod",
        )

    def row(self, **row):
        self.rows.append(row)
        show(row)

    def command(self, arguments, timeout=900, may_fail=False, **more):
        """Runs a command to its end, and gives its output; a failure ends the program, or gives
        None where it may fail."""
        done = subprocess.run(
            [str(argument) for argument in arguments], env=self.env, timeout=timeout, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **more)
        if done.returncode != 0 and may_fail:
            return None
        if done.returncode != 0:
            short = " ".join(map(str, arguments))[:200]
            sys.exit(f"`{short}` ended with {done.returncode}:\n{done.stdout[-3000:]}")
        return done.stdout

    def servers(self, commands, log):
        return Servers([Server([str(argument) for argument in arguments],
                               self.place / f"{log}-{id}.log", self.env)
                        for id, arguments in enumerate(commands, 1)])


class Servers:
    """Processes that serve together until the block ends."""

    def __init__(self, servers):
        self.servers = servers

    def __enter__(self):
        with ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            # All of them run: from here on they end with the block.
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *reason):
        # All at once: one that stops may wait for another.
        for server in self.servers:
            server.process.terminate()
        self.stack.__exit__(*reason)

    def wait_for(self, is_ready, seconds=60):
        deadline = time.monotonic() + seconds
        while not is_ready():
            for server in self.servers:
                server.check(time.monotonic() > deadline)
            time.sleep(0.2)

    def most_memory(self):
        """The most memory that one of them has had, in MiB."""
        return max(server.most_memory() for server in self.servers)


class Server:
    """A process that serves until the block ends."""

    def __init__(self, arguments, log, env):
        self.log = log
        self.arguments = arguments
        self.env = env

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self.arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.env)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def check(self, is_late):
        """Ends the program when the process has ended, or is late."""
        if self.process.poll() is not None or is_late:
            log = self.log.read_text(errors="replace")[-3000:]
            sys.exit(f"{self.arguments[0]} did not become ready:\n{log}")

    def most_memory(self):
        """The most memory that it has had, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found.group(1)) / 1024 if found else 0.0


def ropewalk(run, bench, place):
    """The parts of Ropewalk's own benchmark that the peers stand beside."""
    out = place / "ropewalk.json"
    what, parts = ("goals", ("path", "single", "read")) if run.nodes == 1 else (
        "cluster", ("path", "single"))
    parts = [flag for part in parts for flag in ("--only", part)]
    quick = ["--quick"] if run.quick else []
    text = run.command(
        [bench, what, *parts, *quick, "--dir", place, "--json", out], timeout=3600)
    document = json.loads(out.read_text())
    print("\n" + text)
    return document


def main():
    chosen = options()
    for tool in ("java", "mvn", "go"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing: install a JDK of 17 or later, Maven and Go")
    # A signal must not leave servers behind: it unwinds as an error does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    with tempfile.TemporaryDirectory(prefix="ropewalk-peers-", dir=chosen.dir) as place:
        run = Run(Path(place), chosen.quick, chosen.nodes)
        show({column: column for column in COLUMNS})
        wanted = [] if chosen.go else chosen.only or ["kafka", "nats"]
        ratios = None
        if chosen.go:
            ratios = gosdk.measure(run, chosen.kafka, chosen.bench, chosen.rounds)
        if "kafka" in wanted:
            kafka.measure(run, chosen.kafka)
        if "nats" in wanted:
            nats.measure(run, chosen.nats_server, chosen.nats_cli)
        own = ropewalk(run, chosen.bench, run.place) if chosen.bench and wanted else None
    if chosen.json:
        versions = {"kafka": chosen.kafka, "nats-server": chosen.nats_server}
        document = {"versions": versions, "nodes": chosen.nodes, "rows": run.rows, "ropewalk": own}
        if ratios is not None:
            document["go"] = ratios
        Path(chosen.json).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
