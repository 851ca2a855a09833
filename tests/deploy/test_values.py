"""What values can be given, and what is refused."""

import json

import pytest
import yaml
from deployed import CHART, Chart, Refused


def test_every_value_has_a_type_a_default_and_a_comment():
    text = (CHART / "values.yaml").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(values, schema, path):
        assert schema["additionalProperties"] is False, path
        described = set(schema["properties"]) - {"global"}
        # `podTemplate` is empty by default: what it may have is not for values.yaml to say.
        if path != "podTemplate.":
            assert set(values) == described, path
        for name, value in values.items():
            if isinstance(value, dict) and "properties" in schema["properties"][name]:
                compare(value, schema["properties"][name], f"{path}{name}.")

    values = yaml.safe_load(text)
    compare(values, schema, "")
    lines = text.splitlines()
    for name in values:
        at = next(number for number, line in enumerate(lines) if line.startswith(f"{name}:"))
        commented = lines[at - 1].startswith("#") or lines[at + 1].startswith("  # --")
        assert commented, name


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replica": 3}, "replica"),
        ({"replicas": 0}, "replicas"),
        ({"replicas": "three"}, "replicas"),
        ({"persistence": {"whenDeleted": "Keep"}}, "whenDeleted"),
        ({"persistence": {"size": "many"}}, "size"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"preStopSeconds": 0}, "preStopSeconds"),
        # More than the broker takes.
        ({"drainSeconds": 10}, "drainSeconds"),
        ({"spread": {"nodes": "Maybe"}}, "nodes"),
        ({"settings": {"topics": {"AutoCreate": True}}}, "AutoCreate"),
        # What would break the chart says what to do.
        ({"replicas": 1}, "give bootstrapNodes the same value as replicas"),
        ({"settings": {"server": {"listen": ":1"}}}, "server.listen is set by the chart itself"),
        ({"settings": {"cluster": {"bootstrap": "1"}}}, "cluster.bootstrap is set by the chart"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(values, said):
    with pytest.raises(Refused, match=said):
        Chart(values=values)


def test_a_cluster_may_have_fewer_brokers_later():
    assert Chart(values={"replicas": 1}, upgrade=True).brokers["replicas"] == 1


def test_what_has_no_value_is_laid_over_the_pod_and_the_container(default):
    values = {
        "podTemplate": {
            "metadata": {"annotations": {"example.com/team": "storage"}},
            "spec": {"nodeSelector": {"disk": "nvme"}, "securityContext": {"runAsUser": 1000}},
        },
        "container": {"livenessProbe": {"periodSeconds": 30}},
    }
    chart = Chart(values=values)
    assert chart.template["metadata"]["annotations"] == {"example.com/team": "storage"}
    assert chart.template["metadata"]["labels"] == default.template["metadata"]["labels"]
    assert chart.pod["nodeSelector"] == {"disk": "nvme"}
    security = {**default.pod["securityContext"], "runAsUser": 1000}
    assert chart.pod["securityContext"] == security
    assert chart.test_pod["spec"]["securityContext"] == security
    assert chart.container["livenessProbe"] == {
        **default.container["livenessProbe"],
        "periodSeconds": 30,
    }
    assert chart.container["args"] == default.container["args"]


def test_variables_from_secrets_come_beside_the_charts_own(default):
    secret = {"secretKeyRef": {"name": "collector", "key": "headers"}}
    variable = {"name": "OTEL_EXPORTER_OTLP_HEADERS", "valueFrom": secret}
    chart = Chart(values={"extraEnv": [variable]})
    assert chart.container["env"] == [*default.container["env"], variable]


def test_labels_account_image_and_secrets():
    digest = "sha256:" + "0" * 64
    values = {
        "commonLabels": {"team": "storage"},
        "serviceAccount": {"create": False, "name": "theirs"},
        "image": {"repository": "example.com/ropewalk", "digest": digest},
        "imagePullSecrets": [{"name": "registry"}],
        "persistence": {"storageClass": "fast", "size": "1Ti", "annotations": {"a": "b"}},
        "listenAddress": "[::]",
    }
    chart = Chart(values=values)
    assert chart.of("ServiceAccount") == []
    for one in chart.objects:
        assert one["metadata"]["labels"]["team"] == "storage"
    for pod in (chart.pod, chart.test_pod["spec"]):
        assert pod["serviceAccountName"] == "theirs"
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
        assert {one["image"] for one in pod["containers"]} == {f"example.com/ropewalk@{digest}"}
    [claim] = chart.brokers["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Ti"
    assert claim["metadata"]["annotations"] == {"a": "b"}
    assert chart.environment(0)["ROPEWALK_SERVER__LISTEN"] == "[::]:9092"
