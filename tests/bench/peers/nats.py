"""NATS JetStream with file storage: one server, `nats bench js`."""

import csv
import shutil
import socket

SERVER = "v2.15.2"
CLI = "v0.5.1"
RECORD = 1024
MIB = 1024 * 1024
# Of each stream: all of them together must fit the store.
STREAM_BYTES = "4GB"

CONFIG = """listen: 127.0.0.1:{port}
jetstream {{
  store_dir: "{data}"
  max_file_store: 32GB
{more}}}
"""

# What is published, how many clients do so, and how many MiB with and without a sync for each.
CASES = [
    ("async", ["--batch", "500"], 1, 1024, 24),
    ("async", ["--batch", "500"], 16, 1024, 24),
    ("atomic", ["--batch", "500"], 1, 512, 256),
    ("fast", ["--batch", "500"], 1, 1024, 24),
    ("sync", [], 1, 64, 16),
]


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def fetch(run, server, cli):
    run.command(["go", "install", f"github.com/nats-io/nats-server/v2@{server}"])
    run.command(["go", "install", f"github.com/nats-io/natscli/nats@{cli}"])
    return run.place / "bin"


def measure(run, server, cli):
    binaries = fetch(run, server, cli)
    for sync, more in [("default", ""), ("always", "  sync_interval: always\n")]:
        one_server(run, binaries, sync, more)


def one_server(run, binaries, sync, more):
    port = free_port()
    data = run.place / f"nats-{sync}"
    config = run.place / f"nats-{sync}.conf"
    config.write_text(CONFIG.format(port=port, data=data, more=more))
    with run.server([binaries / "nats-server", "-c", config], f"nats-{sync}.log") as server:
        server.wait_for(lambda: is_listening(port))

        def bench(arguments, mib, clients=1):
            out = run.place / "nats.csv"
            run.command([binaries / "nats", "-s", f"nats://127.0.0.1:{port}", "--no-context",
                         "bench", "js", *arguments, "--size", RECORD, "--msgs",
                         mib * MIB // RECORD, "--clients", clients, "--no-progress",
                         "--csv", out])
            return total(out)

        for how, flags, clients, unsynced, synced in CASES:
            mib = synced if sync == "always" else unsynced
            mib = max(1, mib // 16) if run.quick else mib
            # Each on a stream of its own. Latencies of a batch are not those of a record.
            stream = f"{how}{clients}"
            found = bench(["pub", how, f"subject.{stream}", "--create", "--stream", stream,
                           "--maxbytes", STREAM_BYTES, *flags], mib, clients)
            batch = ", 500 a batch" if flags else ", one at a time"
            case = f"pub {how}{batch}, {clients} client{'s' if clients > 1 else ''}"
            row(run, server, sync, "latency" if how == "sync" else "produce", case, found,
                is_single=how == "sync")
        mib = (64 if run.quick else 1024) if sync == "default" else (1 if run.quick else 24)
        for how in (["ordered"], ["fetch", "--batch", "500"]):
            found = bench([*how, "--stream", "async1"], min(mib, read_limit(run, sync)))
            row(run, server, sync, "consume", f"{how[0]} from the start", found)
    shutil.rmtree(data)


def read_limit(run, sync):
    """No more can be read than the first case has published."""
    mib = CASES[0][4] if sync == "always" else CASES[0][3]
    return max(1, mib // 16) if run.quick else mib


def is_listening(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def total(path):
    """The rate of all clients together, and the latencies of the slowest of them."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    longest = max(float(row["DurationSecs"]) for row in rows)
    sent = sum(float(row["BytesPerSec"]) * float(row["DurationSecs"]) for row in rows)

    def slowest(name):
        values = [float(row[name]) for row in rows if row.get(name)]
        return max(values) / 1000 if values else None

    return sent / longest / 1e6, slowest("P50LatencyMicroSecs"), slowest("P99LatencyMicroSecs")


def row(run, server, sync, what, case, found, is_single=False):
    rate, p50, p99 = found
    figures = {"p50 ms": p50, "p99 ms": p99} if is_single else {}
    run.row(**{"peer": "nats", "sync": sync, "what": what, "case": case, "MB/s": rate,
               "max RSS MiB": server.most_memory(), **figures})
