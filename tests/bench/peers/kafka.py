"""Kafka in KRaft mode: one node, its own performance tools."""

import base64
import os
import re
import socket

VERSION = "4.1.1"
PARTITIONS = (1, 16)
BATCHES = (16 * 1024, 256 * 1024)
RECORD = 1024
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
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


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
        one_broker(run, home, name, more)


def one_broker(run, home, sync, more):
    port, controller = free_port(), free_port()
    data = home / f"data-{sync}"
    config = home / f"{sync}.properties"
    text = CONFIG.format(port=port, controller=controller, data=data)
    config.write_text(text + more)
    address = f"127.0.0.1:{port}"

    def tool(name, *arguments, memory=TOOL_MEMORY):
        return run.command(["java", *memory, *COLLECTOR, "-cp", f"{home}/lib/*", name, *arguments])

    cluster = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
    tool("kafka.tools.StorageTool", "format", "-t", cluster, "-c", config)
    broker = ["java", *BROKER_MEMORY, *COLLECTOR, "-cp", f"{home}/lib/*", "kafka.Kafka", config]
    with run.server(broker, f"kafka-{sync}.log") as server:
        server.wait_for(lambda: is_listening(port))
        for partitions in PARTITIONS:
            for batch in BATCHES:
                topic = f"t-{partitions}-{batch}"
                tool(TOOLS + "TopicCommand", "--bootstrap-server", address, "--create", "--topic",
                     topic, "--partitions", partitions, "--replication-factor", 1)
                produce(run, tool, server, sync, address, topic, partitions, batch)
        consume(run, tool, server, sync, address, topic)
        end_to_end(run, tool, server, sync, address)


def is_listening(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def records(run, sync):
    mib = 64 if run.quick else (1024 if sync == "every" else 2048)
    return mib * MIB // RECORD


def produce(run, tool, server, sync, address, topic, partitions, batch):
    text = tool(TOOLS + "ProducerPerformance", "--topic", topic, "--num-records",
                records(run, sync), "--record-size", RECORD, "--throughput", -1,
                "--producer-props", f"bootstrap.servers={address}", "acks=all", "linger.ms=5",
                f"batch.size={batch}")
    found = re.search(r"records sent, ([\d.]+) records/sec \(([\d.]+) MB/sec\).* ([\d.]+) ms 50th, "
                      r".* ([\d.]+) ms 99th", text.strip().splitlines()[-1])
    rate, _, p50, p99 = map(float, found.groups())
    run.row(**{"peer": "kafka", "sync": sync, "what": "produce",
               "case": f"produce, batch.size {batch // 1024} KiB, {partitions} partitions",
               "MB/s": rate * RECORD / 1e6, "p50 ms": p50, "p99 ms": p99,
               "max RSS MiB": server.most_memory()})


def consume(run, tool, server, sync, address, topic):
    text = tool(TOOLS + "ConsumerPerformance", "--bootstrap-server", address, "--topic", topic,
                "--messages", records(run, sync), "--hide-header")
    line = [line for line in text.splitlines() if line.count(",") >= 9][-1]
    fields = [field.strip() for field in line.split(",")]
    # Without the time that the group takes to form: of the bytes alone.
    run.row(**{"peer": "kafka", "sync": sync, "what": "consume",
               "case": "consume from the start, 16 partitions",
               "MB/s": float(fields[9]) * RECORD / 1e6, "max RSS MiB": server.most_memory()})


def end_to_end(run, tool, server, sync, address):
    count = 500 if run.quick else 20_000
    text = tool(TOOLS + "EndToEndLatency", address, "latency", count, "all", RECORD)
    average = float(re.search(r"Avg latency: ([\d.]+)", text).group(1))
    p50, p99 = re.search(r"50th = (\d+), 99th = (\d+)", text).groups()
    run.row(**{"peer": "kafka", "sync": sync, "what": "latency",
               "case": f"end to end, one at a time, mean {average:.2f} ms",
               "p50 ms": float(p50), "p99 ms": float(p99), "max RSS MiB": server.most_memory()})
