"""What the chart makes, for each of the sets of values."""

import re

import deployed
import kubernetes_validate
import pytest
from deployed import KUBERNETES, PROFILES, Chart, selects


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def containers(chart):
    """Every container of the chart, with the spec of its pod."""
    for pod in (chart.pod, chart.test_pod["spec"]):
        for container in pod.get("initContainers", []) + pod["containers"]:
            yield pod, container


# ---- what Kubernetes takes -----------------------------------------------------------------------


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_one_of_kubernetes(chart, version):
    kinds = set()
    for one in chart.objects:
        # The operator's own kind has no schema in Kubernetes; a test below looks at it.
        if one["apiVersion"] != "monitoring.coreos.com/v1":
            kubernetes_validate.validate(one, version, strict=True)
            kinds.add(one["kind"])
    assert kinds == {
        "NetworkPolicy", "Pod", "PodDisruptionBudget", "Service", "ServiceAccount", "StatefulSet",
    }  # fmt: skip


def test_a_misspelt_field_would_be_found(default):
    pod = default.test_pod
    broken = {**pod, "spec": {**pod["spec"], "enableServiceLink": False}}
    with pytest.raises(kubernetes_validate.ValidationError, match="enableServiceLink"):
        kubernetes_validate.validate(broken, KUBERNETES[0], strict=True)


@pytest.mark.parametrize("profile", PROFILES)
def test_helm_finds_nothing_to_complain_about(profile):
    kubernetes = f"--kube-version={KUBERNETES[-1]}"
    said = deployed.helm("lint", "--strict", kubernetes, deployed.CHART, profile=profile)
    assert "1 chart(s) linted, 0 chart(s) failed" in said
    assert "WARNING" not in said


def test_the_oldest_kubernetes_is_the_one_that_chart_yaml_names():
    assert f'kubeVersion: ">={KUBERNETES[0]}.0-0"' in (deployed.CHART / "Chart.yaml").read_text()


def test_every_object_lies_in_the_namespace_and_names_the_release(chart):
    for one in chart.objects:
        assert one["metadata"]["namespace"] == deployed.NAMESPACE
        assert one["metadata"]["labels"]["app.kubernetes.io/instance"] == deployed.RELEASE


# ---- identity ------------------------------------------------------------------------------------


def test_each_broker_has_a_number_an_address_and_the_same_founders(chart):
    count = chart.brokers["replicas"]
    headless = chart.one("Service", component="headless")
    assert chart.brokers["serviceName"] == headless["metadata"]["name"]
    for ordinal in range(count):
        environment = chart.environment(ordinal)
        assert environment["ROPEWALK_SERVER__NODE_ID"] == "hostname"
        assert environment["ROPEWALK_SERVER__ADVERTISE"] == f"{chart.host(ordinal)}:9092"
        assert environment["ROPEWALK_CLUSTER__PEER_ADVERTISE"] == f"{chart.host(ordinal)}:9093"
        founders = range(count)
        assert environment["ROPEWALK_CLUSTER__JOIN"].split(",") == [
            f"{chart.host(founder)}:9093" for founder in founders
        ]
        assert environment["ROPEWALK_CLUSTER__BOOTSTRAP"].split(",") == [
            str(founder + 1) for founder in founders
        ]


def test_more_brokers_change_nothing_for_those_that_run(default):
    # Another set of founders could form a second cluster, and another template restarts everybody.
    grown = Chart(values={"replicas": 5}, upgrade=True)
    assert grown.brokers["replicas"] == 5
    assert grown.template == default.template


def test_a_single_node_grows(default):
    grown = Chart("single-node", values={"replicas": 3}, upgrade=True)
    assert grown.environment(2)["ROPEWALK_CLUSTER__BOOTSTRAP"] == "1"
    assert grown.environment(2)["ROPEWALK_CLUSTER__JOIN"] == f"{grown.host(0)}:9093"


def test_the_rack_is_the_zone_and_may_be_left_out(default):
    assert default.environment(0, zone="eu-1b")["ROPEWALK_CLUSTER__RACK"] == "eu-1b"
    without = Chart(values={"rackLabel": ""})
    assert "ROPEWALK_CLUSTER__RACK" not in without.environment(0)


def test_brokers_start_together_and_are_updated_one_by_one(chart):
    assert chart.brokers["podManagementPolicy"] == "Parallel"
    assert chart.brokers["updateStrategy"] == {"type": "RollingUpdate"}
    assert chart.brokers["minReadySeconds"] > 0


def test_names_stay_below_what_kubernetes_takes():
    chart = Chart(release="r" * 53)
    service = chart.one("Service", component="headless")["metadata"]["name"]
    assert len(service) <= 63
    # With a dash and ten characters it is the label of a revision.
    assert len(chart.one("StatefulSet")["metadata"]["name"]) + 11 <= 63


# ---- services ------------------------------------------------------------------------------------


def test_services_lead_to_the_brokers_alone(chart):
    for service in chart.of("Service"):
        selector = service["spec"]["selector"]
        assert selects(selector, chart.template["metadata"]["labels"])
        assert not selects(selector, chart.test_pod["metadata"]["labels"])
        for port in service["spec"]["ports"]:
            assert chart.port(port["targetPort"]) == port["port"]


def test_brokers_find_each_other_before_they_are_ready(chart):
    headless = chart.one("Service", component="headless")["spec"]
    assert headless["clusterIP"] == "None"
    assert headless["publishNotReadyAddresses"] is True
    assert [port["port"] for port in headless["ports"]] == [9092, 9093, 9094]


def test_clients_get_brokers_that_are_ready_and_only_their_port(chart):
    client = chart.one("Service", component="client")["spec"]
    assert "publishNotReadyAddresses" not in client
    assert [port["port"] for port in client["ports"]] == [9092]


def test_brokers_listen_on_the_ports_that_they_declare(chart):
    environment = chart.environment(0)
    listens = {
        "grpc": environment["ROPEWALK_SERVER__LISTEN"],
        "peer": environment["ROPEWALK_CLUSTER__PEER_LISTEN"],
        "admin": environment["ROPEWALK_SERVER__ADMIN_LISTEN"],
    }
    declared = {port["name"]: port["containerPort"] for port in chart.container["ports"]}
    assert {name: f"0.0.0.0:{port}" for name, port in declared.items()} == listens


def test_variables_of_services_do_not_reach_the_broker(chart):
    # Those of a Service whose name begins with `ropewalk` begin as settings do.
    assert chart.pod["enableServiceLinks"] is False


# ---- health and the end --------------------------------------------------------------------------


def test_only_a_process_that_does_not_answer_is_killed(chart):
    # Health speaks of the process on the admin port; on the client port it could wait for a majority.
    for probe in ("startupProbe", "livenessProbe"):
        assert chart.container[probe]["grpc"] == {"port": chart.port("admin")} == {"port": 9094}
        assert set(chart.container[probe]) & {"httpGet", "exec", "tcpSocket"} == set()


def test_a_broker_gets_clients_and_the_next_one_stops_once_its_replicas_have_caught_up(chart):
    assert chart.container["readinessProbe"]["grpc"] == {"port": 9092, "service": "replicas"}


def test_a_stop_has_time_for_the_pause_the_drain_and_the_rest(chart):
    pause = chart.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = seconds(chart.environment(0)["ROPEWALK_SERVER__DRAIN_TIMEOUT"])
    assert pause >= 1
    assert chart.pod["terminationGracePeriodSeconds"] >= pause + drain + 10


def test_the_grace_follows_a_longer_drain():
    chart = Chart(values={"drainSeconds": 9, "preStopSeconds": 60})
    assert chart.environment(0)["ROPEWALK_SERVER__DRAIN_TIMEOUT"] == "9s"
    assert chart.pod["terminationGracePeriodSeconds"] == 9 + 60 + 30


def test_one_broker_at_a_time_may_be_taken_away(chart):
    budget = chart.one("PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert selects(budget["selector"]["matchLabels"], chart.template["metadata"]["labels"])
    assert not selects(budget["selector"]["matchLabels"], chart.test_pod["metadata"]["labels"])


def test_brokers_are_spread_over_nodes_and_zones(chart):
    constraints = chart.pod["topologySpreadConstraints"]
    keys = [constraint["topologyKey"] for constraint in constraints]
    assert keys == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    for constraint in constraints:
        assert constraint["maxSkew"] == 1
        labels = constraint["labelSelector"]["matchLabels"]
        assert selects(labels, chart.template["metadata"]["labels"])


def test_production_never_puts_two_brokers_on_one_node():
    for constraint in Chart("production").pod["topologySpreadConstraints"]:
        assert constraint["whenUnsatisfiable"] == "DoNotSchedule"


# ---- security ------------------------------------------------------------------------------------


def test_containers_may_do_nothing_but_run(chart):
    for pod, container in containers(chart):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        for forbidden in ("hostNetwork", "hostPID", "hostIPC"):
            assert forbidden not in pod


def test_what_is_written_lies_on_the_volume(chart):
    mount = chart.container["volumeMounts"][0]
    claim = chart.brokers["volumeClaimTemplates"][0]
    assert mount["name"] == claim["metadata"]["name"]
    assert chart.environment(0)["ROPEWALK_SERVER__DATA_DIR"].startswith(mount["mountPath"] + "/")
    # The volume belongs to the user that the broker runs as.
    assert chart.pod["securityContext"]["fsGroup"] == chart.pod["securityContext"]["runAsGroup"]


def test_volumes_outlive_the_release_unless_told_otherwise(chart):
    kept = {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert chart.brokers["persistentVolumeClaimRetentionPolicy"] == kept
    gone = Chart(values={"persistence": {"whenDeleted": "Delete"}})
    policy = gone.brokers["persistentVolumeClaimRetentionPolicy"]
    assert policy == {"whenDeleted": "Delete", "whenScaled": "Retain"}


def admitted(chart, port):
    """Who may connect to a port: the `from` of each rule that has it; None is everybody."""
    rules = chart.one("NetworkPolicy")["spec"]["ingress"]
    return [
        rule.get("from")
        for rule in rules
        if port in [chart.port(one["port"]) for one in rule["ports"]]
    ]


def labels_of(peers):
    return [peer["podSelector"].get("matchLabels", {}) for peer in peers]


def test_only_brokers_reach_the_peer_port(chart):
    [[peer]] = admitted(chart, 9093)
    assert set(peer) == {"podSelector"}
    labels = peer["podSelector"]["matchLabels"]
    assert selects(labels, chart.template["metadata"]["labels"])
    assert not selects(labels, chart.test_pod["metadata"]["labels"])


def test_the_policy_holds_for_the_brokers_in_both_directions(chart):
    policy = chart.one("NetworkPolicy")["spec"]
    assert selects(policy["podSelector"]["matchLabels"], chart.template["metadata"]["labels"])
    assert policy["policyTypes"] == ["Ingress", "Egress"]


def test_clients_are_those_of_the_namespace_and_the_chart_test():
    default = Chart()
    rules = [labels_of(peers) for peers in admitted(default, 9092)]
    assert [{}] in rules
    test_labels = default.test_pod["metadata"]["labels"]
    chosen = Chart("production")
    allowed = [peer for peers in admitted(chosen, 9092) for peer in peers]
    assert {"ropewalk.example.com/client": "true"} in [
        peer.get("namespaceSelector", {}).get("matchLabels") for peer in allowed
    ]
    assert any(
        selects(peer["podSelector"]["matchLabels"], test_labels)
        for peer in allowed
        if "podSelector" in peer
    )
    assert None in admitted(Chart(values={"networkPolicy": {"clients": []}}), 9092)


def test_metrics_are_for_those_who_are_named():
    assert admitted(Chart(), 9094) == []
    [[peer]] = admitted(Chart("production"), 9094)
    labels = peer["namespaceSelector"]["matchLabels"]
    assert labels == {"kubernetes.io/metadata.name": "monitoring"}


def test_brokers_reach_each_other_dns_and_what_is_added():
    to = [{"ports": [{"port": 4317}]}]
    policy = Chart(values={"networkPolicy": {"egress": to}}).one("NetworkPolicy")["spec"]
    brokers, dns, collector = policy["egress"]
    assert [port["port"] for port in brokers["ports"]] == ["grpc", "peer"]
    assert {(port["port"], port["protocol"]) for port in dns["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert collector == to[0]


def test_the_policy_may_be_left_out():
    assert Chart(values={"networkPolicy": {"enabled": False}}).of("NetworkPolicy") == []


# ---- metrics and the chart's own test ------------------------------------------------------------


def test_the_monitor_scrapes_each_broker_once():
    assert Chart().of("ServiceMonitor") == []
    chart = Chart("production")
    monitor = chart.one("ServiceMonitor")
    assert set(monitor["spec"]) == {"selector", "endpoints"}
    selector = monitor["spec"]["selector"]["matchLabels"]
    chosen = [one for one in chart.of("Service") if selects(selector, one["metadata"]["labels"])]
    assert [one["spec"]["clusterIP"] for one in chosen] == ["None"]
    [endpoint] = monitor["spec"]["endpoints"]
    ports = {port["name"]: port["port"] for port in chosen[0]["spec"]["ports"]}
    assert (ports[endpoint["port"]], endpoint["path"]) == (9094, "/metrics")


def test_the_chart_test_asks_every_broker_and_the_service(chart):
    pod = chart.test_pod
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["restartPolicy"] == "Never"
    asked = [one["args"][one["args"].index("--server") + 1] for one in pod["spec"]["containers"]]
    service = chart.one("Service", component="client")["metadata"]["name"]
    nodes = [f"{chart.host(ordinal)}:9092" for ordinal in range(chart.brokers["replicas"])]
    assert asked == [*nodes, f"{service}:9092"]
