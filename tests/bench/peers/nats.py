"""NATS JetStream with file storage: one server or several, `nats bench js`."""

import csv
import shutil
import urllib.error
import urllib.request

from loopback import free_ports

SERVER = "v2.15.2"
CLI = "v0.5.1"
RECORD = 1024
MIB = 1024 * 1024
# Of each stream: all of them together must fit the store.
STREAM_BYTES = "4GB"

CONFIG = """server_name: n{id}
listen: 127.0.0.1:{port}
http: 127.0.0.1:{monitor}
jetstream {{
  store_dir: "{data}"
  max_file_store: 32GB
{more}}}
"""
CLUSTER = """cluster {{
  name: peers
  listen: 127.0.0.1:{route}
  routes: [{routes}]
}}
"""

# What is published, how many clients do so, and how many MiB with and without a sync for each.
CASES = [
    ("async", ["--batch", "500"], 1, 1024, 24),
    ("async", ["--batch", "500"], 16, 1024, 24),
    ("atomic", ["--batch", "500"], 1, 512, 256),
    ("fast", ["--batch", "500"], 1, 1024, 24),
    ("sync", [], 1, 64, 16),
]


def fetch(run, server, cli):
    run.command(["go", "install", f"github.com/nats-io/nats-server/v2@{server}"])
    run.command(["go", "install", f"github.com/nats-io/natscli/nats@{cli}"])
    return run.place / "bin"


def measure(run, server, cli):
    binaries = fetch(run, server, cli)
    for sync, more in [("default", ""), ("always", "  sync_interval: always\n")]:
        servers(run, binaries, sync, more)


def servers(run, binaries, sync, more):
    """Runs the servers, and measures them."""
    ports = free_ports(3 * run.nodes)
    clients, monitors, routes = (ports[at::3] for at in range(3))
    place = run.place / f"nats-{sync}"
    place.mkdir()
    commands = []
    for id, port in enumerate(clients, 1):
        config = place / f"{id}.conf"
        text = CONFIG.format(id=id, port=port, monitor=monitors[id - 1], data=place / f"data-{id}",
                             more=more)
        if run.nodes > 1:
            all_routes = ", ".join(f'"nats://127.0.0.1:{route}"' for route in routes)
            text += CLUSTER.format(route=routes[id - 1], routes=all_routes)
        config.write_text(text)
        commands.append([binaries / "nats-server", "-c", config])
    address = ",".join(f"nats://127.0.0.1:{port}" for port in clients)
    with run.servers(commands, f"nats-{sync}") as running:
        running.wait_for(lambda: all(map(is_healthy, monitors)))
        # One that knows the leader may not be known to it yet, and no stream finds its replicas.
        running.wait_for(lambda: takes_a_stream(run, [binaries / "nats", "-s", address]))

        def bench(arguments, mib, clients=1):
            out = run.place / "nats.csv"
            run.command([binaries / "nats", "-s", address, "--no-context", "bench", "js",
                         *arguments, "--size", RECORD, "--msgs", mib * MIB // RECORD, "--clients",
                         clients, "--no-progress", "--csv", out])
            return total(out)

        published(run, running, sync, bench)
        if run.nodes == 1:
            read(run, running, sync, bench)
    shutil.rmtree(place)


def published(run, running, sync, bench):
    for how, flags, clients, unsynced, synced in CASES:
        mib = synced if sync == "always" else unsynced
        # What is published is kept by each of the servers.
        mib = mib // 2 if run.nodes > 1 and mib > 64 else mib
        mib = max(1, mib // 16) if run.quick else mib
        # Each on a stream of its own. Latencies of a batch are not those of a record.
        stream = f"{how}{clients}"
        found = bench(["pub", how, f"subject.{stream}", "--create", "--stream", stream,
                       "--replicas", run.nodes, "--maxbytes", STREAM_BYTES, *flags], mib, clients)
        batch = ", 500 a batch" if flags else ", one at a time"
        case = f"pub {how}{batch}, {clients} client{'s' if clients > 1 else ''}"
        row(run, running, sync, "latency" if how == "sync" else "produce", case, found,
            is_single=how == "sync")


def read(run, running, sync, bench):
    mib = (64 if run.quick else 1024) if sync == "default" else (1 if run.quick else 24)
    for how in (["ordered"], ["fetch", "--batch", "500"]):
        found = bench([*how, "--stream", "async1"], min(mib, read_limit(run, sync)))
        row(run, running, sync, "consume", f"{how[0]} from the start", found)


def read_limit(run, sync):
    """No more can be read than the first case has published."""
    mib = CASES[0][4] if sync == "always" else CASES[0][3]
    return max(1, mib // 16) if run.quick else mib


def is_healthy(port):
    """Whether a server is up and, where there are several, knows the leader of JetStream."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def takes_a_stream(run, nats):
    """Whether the servers make a stream with as many replicas as the measured ones have."""
    stream = [*nats, "--no-context", "stream"]
    made = run.command([*stream, "add", "probe", "--subjects", "probe", "--defaults",
                        "--replicas", run.nodes], may_fail=True)
    return made is not None and run.command([*stream, "rm", "probe", "--force"]) is not None


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


def row(run, servers, sync, what, case, found, is_single=False):
    rate, p50, p99 = found
    figures = {"p50 ms": p50, "p99 ms": p99} if is_single else {}
    run.row(**{"peer": "nats", "sync": sync, "what": what, "case": case, "MB/s": rate,
               "max RSS MiB": servers.most_memory(), **figures})
