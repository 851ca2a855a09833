"""Kafka in KRaft mode: one node or several, its own performance tools."""

import base64
import os
import re
import shutil
from contextlib import contextmanager

from loopback import free_ports, is_listening

VERSION = "4.1.1"
PARTITIONS = (1, 16)
BATCHES = (16 * 1024, 256 * 1024)
# Of several nodes: what is produced is kept by each of them.
CLUSTER_PARTITIONS = (16,)
CLUSTER_BATCHES = (16 * 1024, 100 * 1024, 256 * 1024)
RECORD = 1024
# Records that nobody measures.
WARM_UP = 64 * 1024
MIB = 1024 * 1024
# As Kafka's own scripts start the broker and the tools.
BROKER_MEMORY = ["-Xms1G", "-Xmx1G"]
TOOL_MEMORY = ["-Xmx512M"]
COLLECTOR = ["-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
             "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
             "-Djava.awt.headless=true"]
TOOLS = "org.apache.kafka.tools."

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>peers</groupId><artifactId>peers</artifactId><version>1</version>
<packaging>pom</packaging>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
<version>{version}</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId>
<version>{version}</version></dependency>
</dependencies></project>
"""

CONFIG = """process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
num.partitions=1
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
"""


def fetch(run, version):
    home = run.place / "kafka"
    home.mkdir()
    (home / "pom.xml").write_text(POM.format(version=version))
    run.command(["mvn", "-q", "-B", f"-Dmaven.repo.local={run.place / 'maven'}",
                 "dependency:copy-dependencies", f"-DoutputDirectory={home / 'lib'}",
                 "-DincludeScope=runtime"], cwd=home)
    return home


def measure(run, version):
    home = fetch(run, version)
    for name, more in [("default", ""), ("every", "log.flush.interval.messages=1\n")]:
        brokers(run, home, name, more)


@contextmanager
def serving(run, home, sync, more):
    """Runs the nodes, each a broker and a controller: gives them, their address, what runs a tool,
    and what makes a topic on all of them. Their code has been run before."""
    ports = free_ports(2 * run.nodes)
    clients, controllers = ports[:run.nodes], ports[run.nodes:]
    place = home / sync
    place.mkdir()

    def tool(name, *arguments, memory=TOOL_MEMORY, **more):
        command = ["java", *memory, *COLLECTOR, "-cp", f"{home}/lib/*", name, *arguments]
        return run.command(command, **more)

    voters = ",".join(f"{id}@127.0.0.1:{port}" for id, port in enumerate(controllers, 1))
    cluster = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
    commands = []
    for id, (port, controller) in enumerate(zip(clients, controllers), 1):
        config = place / f"{id}.properties"
        config.write_text(more + CONFIG.format(
            id=id, voters=voters, port=port, controller=controller, data=place / f"data-{id}",
            replicas=run.nodes, in_sync=min(run.nodes, 2)))
        tool("kafka.tools.StorageTool", "format", "-t", cluster, "-c", config)
        commands.append(["java", *BROKER_MEMORY, *COLLECTOR, "-cp", f"{home}/lib/*",
                         "kafka.Kafka", config])
    address = ",".join(f"127.0.0.1:{port}" for port in clients)

    def topic(name, partitions, **more):
        """A topic on all nodes."""
        return tool(TOOLS + "TopicCommand", "--bootstrap-server", address, "--create",
                    "--if-not-exists", "--topic", name, "--partitions", partitions,
                    "--replication-factor", run.nodes, **more)

    with run.servers(commands, f"kafka-{sync}") as servers:
        servers.wait_for(lambda: all(map(is_listening, clients)))
        # It can be made once all of them know one another.
        servers.wait_for(lambda: topic("latency", 1, may_fail=True) is not None)
        # Code that was not run before is slow: what comes first must not pay for it.
        topic("warm", 16)
        perform(tool, address, "warm", WARM_UP, BATCHES[-1])
        yield servers, address, tool, topic
    shutil.rmtree(place)


def brokers(run, home, sync, more):
    """Measures the nodes."""
    with serving(run, home, sync, more) as (servers, address, tool, topic):
        one = run.nodes == 1
        for partitions in PARTITIONS if one else CLUSTER_PARTITIONS:
            for batch in BATCHES if one else CLUSTER_BATCHES:
                name = f"t-{partitions}-{batch}"
                topic(name, partitions)
                produce(run, tool, servers, sync, address, name, partitions, batch)
        if one:
            consume(run, tool, servers, sync, address, name)
        end_to_end(run, tool, servers, sync, address)


def records(run, sync):
    if run.quick:
        mib = 64
    elif run.nodes > 1:
        mib = 512
    else:
        mib = 1024 if sync == "every" else 2048
    return mib * MIB // RECORD


def perform(tool, address, topic, count, batch):
    """Produces so many records, and gives what the tool says at the end."""
    text = tool(TOOLS + "ProducerPerformance", "--topic", topic, "--num-records", count,
                "--record-size", RECORD, "--throughput", -1, "--producer-props",
                f"bootstrap.servers={address}", "acks=all", "linger.ms=5", f"batch.size={batch}")
    return text.strip().splitlines()[-1]


def produced(last):
    """MB/s, and the latencies in the middle and at 99 %, of what the tool says."""
    found = re.search(r"records sent, ([\d.]+) records/sec \(([\d.]+) MB/sec\).* ([\d.]+) ms 50th, "
                      r".* ([\d.]+) ms 99th", last)
    rate, _, p50, p99 = map(float, found.groups())
    return rate * RECORD / 1e6, p50, p99


def produce(run, tool, servers, sync, address, topic, partitions, batch):
    rate, p50, p99 = produced(perform(tool, address, topic, records(run, sync), batch))
    run.row(**{"peer": "kafka", "sync": sync, "what": "produce",
               "case": f"produce, batch.size {batch // 1024} KiB, {partitions} partitions",
               "MB/s": rate, "p50 ms": p50, "p99 ms": p99,
               "max RSS MiB": servers.most_memory()})


def consumed(tool, address, topic, count):
    """MB/s, without the time that the group takes to form: of the bytes alone."""
    text = tool(TOOLS + "ConsumerPerformance", "--bootstrap-server", address, "--topic", topic,
                "--messages", count, "--hide-header")
    line = [line for line in text.splitlines() if line.count(",") >= 9][-1]
    fields = [field.strip() for field in line.split(",")]
    return float(fields[9]) * RECORD / 1e6


def consume(run, tool, servers, sync, address, topic):
    run.row(**{"peer": "kafka", "sync": sync, "what": "consume",
               "case": "consume from the start, 16 partitions",
               "MB/s": consumed(tool, address, topic, records(run, sync)),
               "max RSS MiB": servers.most_memory()})


def end_to_end(run, tool, servers, sync, address):
    count = 500 if run.quick else 20_000
    text = tool(TOOLS + "EndToEndLatency", address, "latency", count, "all", RECORD)
    average = float(re.search(r"Avg latency: ([\d.]+)", text).group(1))
    p50, p99 = re.search(r"50th = (\d+), 99th = (\d+)", text).groups()
    run.row(**{"peer": "kafka", "sync": sync, "what": "latency",
               "case": f"end to end, one at a time, mean {average:.2f} ms",
               "p50 ms": float(p50), "p99 ms": float(p99), "max RSS MiB": servers.most_memory()})
