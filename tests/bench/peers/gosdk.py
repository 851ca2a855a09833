"""The Go SDK beside Kafka's Java clients and the Rust SDK, in turns: the ratios that are its goals.

What is measured is one process and the broker on the same machine, 1 KB records, a topic of 16
partitions; every answer of Ropewalk is on disk, Kafka's are not. Each turn has a broker of its own.
"""

import json
import mmap
import os
import shutil
import statistics
import time
from contextlib import contextmanager
from pathlib import Path

import kafka
from loopback import free_ports, is_listening

MODULE = Path(__file__).resolve().parents[3] / "sdk-go"
PARTITIONS = 16
MIB = 1024 * 1024
SIZE = 1024

# How the Go program loads a broker, and on how many partitions.
PRODUCE = {"core": PARTITIONS, "sync": PARTITIONS, "spread": PARTITIONS,
           "sarama-sync": PARTITIONS, "sarama-async": PARTITIONS}
SINGLE = {"single": 1, "sarama-single": 1}
CONSUME = ["poll", "next", "group"]
# What is read once before, from the disk: segments are written past the page cache, which has them
# from then on. Kafka's are in it from the first.
FIRST = "poll"
# Brokers are left alone for so many seconds before they are read from: what they still have to do
# for what was produced (of ours: to bring it from the journal to its place) is no part of reading.
REST = 5

# What of which is held against what of which, how the two are divided, and the goal: at least it
# where more is better, at most where it is a time.
RATIOS = [
    ("core producer / Kafka's Java producer, no fsync", "core", "kafka produce", "MB/s", 1.2),
    ("core producer / Rust SDK", "core", "rust produce", "MB/s", 0.6),
    ("sarama, sync from 100 goroutines / core, placed alike", "sarama-sync", "spread", "MB/s", 0.8),
    ("the same / core, placed as it does by itself", "sarama-sync", "sync", "MB/s", None),
    ("sarama, async / core", "sarama-async", "core", "MB/s", 0.7),
    ("consume from the start / Kafka's Java consumer", "poll", "kafka consume", "MB/s", 1.5),
    ("the same, record by record", "next", "kafka consume", "MB/s", 1.5),
    ("the same, in a group", "group", "kafka consume", "MB/s", 1.5),
    ("the first read after the load, from the disk", "first", "kafka consume", "MB/s", 1.5),
    ("core producer / raw disk, 1 MiB groups", "core", "raw disk", "MB/s", None),
    ("consume from the start / Rust SDK", "next", "rust consume", "MB/s", None),
    ("SendMessage from one goroutine / Rust SDK", "sarama-single", "rust single", "p50 ms", 1.3),
    ("Send of the core, likewise", "single", "rust single", "p50 ms", 1.3),
]

# The rows of the Rust benchmark's scenario `sdk`.
RUST = {"Producer, QUORUM": "rust produce", "Consumer, from the start": "rust consume",
        "Producer, one at a time": "rust single"}


def measure(run, version, bench, rounds):
    """Everything in turns, so many rounds of it. `bench` is the Rust benchmark; the broker lies
    beside it."""
    program = build(run)
    home = kafka.fetch(run, version)
    broker = Path(bench).resolve().parent / "ropewalk"
    found = []
    for number in range(1, rounds + 1):
        turns = [lambda: java(run, home, number), lambda: rust(run, bench),
                 lambda: go(run, program, broker, number)]
        # Whoever is first in one round is not in the next.
        first = number % len(turns)
        rows = {"raw disk": {"MB/s": raw(run)}}
        for turn in turns[first:] + turns[:first]:
            rows.update(turn())
        for name, row in rows.items():
            # Percentiles of a load that waits in its own queue say nothing.
            single = {key: row.get(key) for key in ("p50 ms", "p99 ms") if "single" in name}
            run.row(**{"peer": "go", "sync": "", "what": name, "case": f"{name}, round {number}",
                       "MB/s": row.get("MB/s"), **single, "cores": row.get("client cores")})
        found.append(rows)
    return ratios(found)


def build(run):
    """The Go program."""
    program = run.place / "bin" / "go-bench"
    run.command(["go", "build", "-o", program, "./internal/bench"], cwd=MODULE)
    return program


def seconds(run):
    return 1 if run.quick else 4


def go(run, program, broker, number):
    """The Go SDK: each way to produce with a broker of its own, and what was produced is read, in
    each round by another way first."""
    known = run.command([program, "-list"]).split()
    rows = {}
    for mode, partitions in (PRODUCE | SINGLE).items():
        if mode not in known:
            continue
        with serving(run, broker) as address:
            rows[mode] = load(run, program, address, mode, partitions)
            if mode == "core":
                time.sleep(REST)
                rows["first"] = load(run, program, address, FIRST, partitions)
                first = number % len(CONSUME)
                for reading in CONSUME[first:] + CONSUME[:first]:
                    rows[reading] = load(run, program, address, reading, partitions)
    return rows


def load(run, program, address, mode, partitions):
    text = run.command([program, "-broker", address, "-mode", mode, "-partitions", partitions,
                        "-size", SIZE, "-for", f"{seconds(run)}s",
                        "-max-mib", 256 if run.quick else 2048])
    return json.loads(text.splitlines()[-1])


def raw(run):
    """What the disk takes of one writer in groups of 1 MiB, each durable before the next one, as a
    journal is written: into a file that was written before. Nothing where it has no direct writes,
    as a disk in memory of older kernels."""
    place, group, count = run.place / "raw", mmap.mmap(-1, MIB), (64 if run.quick else 512)
    group.write(os.urandom(MIB))
    for _ in range(2):
        try:
            file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_DIRECT | os.O_DSYNC)
        except OSError:
            place.unlink(missing_ok=True)
            return None
        began = time.monotonic()
        for _ in range(count):
            os.write(file, group)
        took = time.monotonic() - began
        os.close(file)
    place.unlink()
    return count * MIB / took / 1e6


@contextmanager
def serving(run, broker):
    """A broker, which is gone with what it has written when the block ends."""
    place = run.place / "ropewalk"
    port, admin = free_ports(2)
    command = [broker, "serve", "--data-dir", place, "--listen", f"127.0.0.1:{port}",
               "--admin-listen", f"127.0.0.1:{admin}"]
    with run.servers([command], "ropewalk") as servers:
        servers.wait_for(lambda: is_listening(port))
        yield f"127.0.0.1:{port}"
    shutil.rmtree(place)


def rust(run, bench):
    """The Rust SDK, by its own benchmark."""
    text = run.command([bench, "--only", "sdk", "--sizes", SIZE, "--runs", 1, "--seconds",
                        seconds(run), "--format", "json", "--dir", run.place], timeout=1800)
    rows = {}
    for line in text.splitlines():
        row = json.loads(line) if line.startswith("{") else {}
        name = RUST.get(row.get("case"))
        if name and row["record_bytes"] == SIZE:
            rows[name] = {"MB/s": row["megabytes_per_second"], "p50 ms": row.get("p50_ms"),
                          "p99 ms": row.get("p99_ms"), "client cores": row.get("client_cores")}
    return rows


def java(run, home, number):
    """Kafka's clients: the best of its batch sizes, as a user would choose, and what was produced
    is read."""
    rows = {}
    count = (64 if run.quick else 1024) * MIB // SIZE
    with kafka.serving(run, home, f"go-{number}", "") as (_, address, tool, topic):
        for batch in kafka.BATCHES:
            name = f"t-{batch}"
            topic(name, PARTITIONS)
            rate = kafka.produced(kafka.perform(tool, address, name, count, batch))[0]
            best = rows.get("kafka produce", {"MB/s": 0})
            rows["kafka produce"] = max(best, {"MB/s": rate}, key=lambda row: row["MB/s"])
        time.sleep(REST)
        rows["kafka consume"] = {"MB/s": kafka.consumed(tool, address, name, count)}
    return rows


def ratios(found):
    """The medians over the rounds, each of a ratio within its round."""
    table = []
    print(f"\n{'what':<52} {'measured':>9} {'control':>9} {'ratio':>6}  {'rounds':<14} goal")
    for what, one, other, figure, goal in RATIOS:
        pairs = [(rows[one][figure], rows[other][figure]) for rows in found
                 if rows.get(one, {}).get(figure) and rows.get(other, {}).get(figure)]
        if not pairs:
            print(f"{what:<52} not measured")
            continue
        each = sorted(a / b for a, b in pairs)
        ratio = statistics.median(each)
        a, b = (statistics.median(pair[at] for pair in pairs) for at in (0, 1))
        is_time = figure.endswith("ms")
        is_met = None if goal is None else ratio <= goal if is_time else ratio >= goal
        sign = "<=" if is_time else ">="
        verdict = "" if goal is None else f"{sign} {goal}: {'met' if is_met else 'missed'}"
        print(f"{what:<52} {a:>9.2f} {b:>9.2f} {ratio:>6.2f}  "
              f"{each[0]:.2f} to {each[-1]:.2f}  {verdict}", flush=True)
        table.append({"what": what, "figure": figure, "measured": a, "control": b, "ratio": ratio,
                      "least": each[0], "most": each[-1], "goal": goal, "met": is_met})
    return table
