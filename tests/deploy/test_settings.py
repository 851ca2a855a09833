"""The settings and commands in deploy/ are those of the binary."""

import re
import shlex
import urllib.request

import broker
import deployed
import pytest
from deployed import DEPLOY, ROOT, Chart


def defaults(container):
    """The container's variables over the image's."""
    return {**deployed.image_variables(), **container}


def settings_of(variables):
    return {name for name in variables if name.startswith("ROPEWALK_")}


def documented():
    return set(re.findall(r"`(ROPEWALK_\w+)`", (ROOT / "docs" / "settings.md").read_text()))


def test_every_variable_is_one_that_the_broker_has(chart):
    used = settings_of(chart.environment(0)) | settings_of(deployed.image_variables())
    for service in deployed.compose()["services"].values():
        used |= settings_of(service["environment"])
    # Most of them are the chart's own, and it is no accident that there are so many.
    assert {"ROPEWALK_SERVER__NODE_ID", "ROPEWALK_CLUSTER__JOIN"} <= used
    assert used - broker.known_variables() == set()
    assert used - documented() == set()


def test_every_flag_is_one_that_the_broker_has():
    unit = (DEPLOY / "systemd" / "ropewalk.service").read_text()
    [command] = re.findall(r"^ExecStart=\S+ (.*)$", unit, re.MULTILINE)
    deployed.run(broker.BINARY, *command.split(), "--print-settings")


def test_every_pod_gets_settings_that_the_broker_takes(chart):
    for ordinal in range(chart.brokers["replicas"]):
        environment = defaults(chart.environment(ordinal))
        taken = broker.settings(environment, host=chart.pod_name(ordinal))
        assert taken["server.node_id"] in ("hostname", str(ordinal + 1))
        assert taken["server.advertise"] == f"{chart.host(ordinal)}:9092"
        assert taken["cluster.peer_advertise"] == f"{chart.host(ordinal)}:9093"
        assert taken["cluster.rack"] == "zone-a"
        assert taken["server.drain_timeout"] == environment["ROPEWALK_SERVER__DRAIN_TIMEOUT"]


def test_a_pod_without_the_zone_label_has_no_rack(default):
    # The kubelet gives an empty value for a label that is not there.
    environment = default.environment(0, zone="")
    assert environment["ROPEWALK_CLUSTER__RACK"] == ""
    taken = broker.settings(defaults(environment), host=default.pod_name(0))
    assert "cluster.rack" not in taken
    assert taken["cluster.join"]


def test_every_service_of_compose_gets_settings_that_the_broker_takes():
    services = deployed.compose()["services"]
    for number, (name, service) in enumerate(services.items(), start=1):
        taken = broker.settings(defaults(service["environment"]), host=name)
        assert taken["server.node_id"] == str(number)
        assert taken["server.advertise"] == f"{name}:9092"


def test_settings_of_any_type_reach_the_broker_as_they_are():
    values = {
        "topics": {"auto_create": False, "default_partitions": 12},
        "memory": {"read_budget": "256MiB"},
        "server": {"max_connections": 1_000_000},
        "telemetry": {"trace_ratio": 0.25},
    }
    environment = Chart(values={"settings": values}).environment(0)
    ours = {f"ROPEWALK_{s}__{k}".upper() for s, keys in values.items() for k in keys}
    taken = broker.settings({name: environment[name] for name in ours}, host="ropewalk-0")
    assert taken["topics.auto_create"] == "false"
    assert taken["topics.default_partitions"] == "12"
    assert taken["memory.read_budget"] == "256MiB"
    assert taken["server.max_connections"] == "1000000"
    assert taken["telemetry.trace_ratio"] == "0.25"


def test_the_ports_are_the_brokers_own():
    taken = broker.settings({}, host="ropewalk-0")
    assert taken["server.listen"].endswith(":9092")
    assert taken["server.admin_listen"].endswith(":9094")


def notes():
    """The commands that the notes show, as they run in a broker's container."""
    said = deployed.helm(
        "install", "rw", deployed.CHART, "--namespace", "messages", "--dry-run=client"
    )
    return re.findall(r"exec \S+-0 -c ropewalk -- ropewalk (.*)$", said, re.MULTILINE)


def test_the_commands_of_notes_chart_test_and_compose_do_what_they_are_for(default):
    health = deployed.compose()["services"]["ropewalk-1"]["healthcheck"]["test"]
    with broker.running() as (address, admin):
        create, produce, consume = notes()
        ours = ["--server", address]
        deployed.run(broker.BINARY, *shlex.split(create), *ours)
        deployed.run(broker.BINARY, *shlex.split(produce), *ours)
        assert "Hello, Ropewalk!" in deployed.run(broker.BINARY, *shlex.split(consume), *ours)
        for container in default.test_pod["spec"]["containers"]:
            arguments = container["args"]
            arguments[arguments.index("--server") + 1] = address
            deployed.run(broker.BINARY, *arguments)
        assert health[:2] == ["CMD", "ropewalk"]
        deployed.run(broker.BINARY, *health[2:], *ours)
        for path in ("/healthz", "/metrics"):
            with urllib.request.urlopen(f"http://{admin}{path}", timeout=10) as answer:
                assert answer.status == 200
        # What the startup and the liveness probe ask.
        deployed.run(broker.BINARY, "health", "--server", admin)
    with pytest.raises(deployed.Refused):
        deployed.run(broker.BINARY, *health[2:], *ours)
