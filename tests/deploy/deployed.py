"""What deploy/ comes to: the chart as helm renders it, compose.yaml as compose reads it."""

import json
import os
import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "ropewalk"
RELEASE, NAMESPACE = "rw", "messages"

# Name: the values of a cluster that somebody may have.
PROFILES = {
    "default": None,
    "single-node": DEPLOY / "helm" / "single-node.yaml",
    "production": DEPLOY / "helm" / "production.yaml",
}

# The oldest Kubernetes that the chart takes, and the newest whose schemas there are.
KUBERNETES = ("1.30", "1.37")


class Refused(Exception):
    """A program said no; its text is what it said."""


def run(program, *arguments, given=None, cwd=ROOT):
    """What a program prints; `given` is its standard input."""
    command = [program, *map(str, arguments)]
    ended = subprocess.run(command, cwd=cwd, input=given, capture_output=True, text=True)
    if ended.returncode != 0:
        raise Refused(ended.stdout + ended.stderr)
    return ended.stdout


def helm(command, *arguments, profile="default", values=None):
    """Runs helm with the values of a profile, and others that go over them."""
    files = ["--values", PROFILES[profile]] if PROFILES[profile] else []
    given = json.dumps(values or {})
    return run(os.environ["DEPLOY_HELM"], command, *arguments, *files, "--values=-", given=given)


class Chart:
    """The objects of a release, by kind and name."""

    def __init__(self, profile="default", values=None, release=RELEASE, upgrade=False):
        arguments = [release, CHART, "--namespace", NAMESPACE, "--kube-version", KUBERNETES[-1]]
        if upgrade:
            arguments.append("--is-upgrade")
        text = helm("template", *arguments, profile=profile, values=values)
        self.objects = [one for one in yaml.safe_load_all(text) if one]

    def of(self, kind):
        return [one for one in self.objects if one["kind"] == kind]

    def one(self, kind, **labels):
        """The only one of its kind, or the only one with a label such as component="client"."""
        wanted = {f"app.kubernetes.io/{name}": value for name, value in labels.items()}
        found = [one for one in self.of(kind) if selects(wanted, one["metadata"].get("labels", {}))]
        assert len(found) == 1, f"{len(found)} objects of kind {kind} {labels}"
        return found[0]

    @property
    def brokers(self):
        return self.one("StatefulSet")["spec"]

    @property
    def template(self):
        """The pod template of the brokers."""
        return self.brokers["template"]

    @property
    def pod(self):
        return self.template["spec"]

    @property
    def container(self):
        return next(one for one in self.pod["containers"] if one["name"] == "ropewalk")

    @property
    def test_pod(self):
        return self.one("Pod", component="test")

    def port(self, name):
        """The number of a port of the broker, by name; a number stays."""
        numbers = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        return numbers.get(name, name)

    def pod_name(self, ordinal):
        return f"{self.one('StatefulSet')['metadata']['name']}-{ordinal}"

    def host(self, ordinal):
        """The name that Kubernetes gives to a pod of a StatefulSet."""
        service = self.brokers["serviceName"]
        return f"{self.pod_name(ordinal)}.{service}.{NAMESPACE}.svc.cluster.local"

    def environment(self, ordinal, zone="zone-a"):
        """The variables of the broker in a pod, as the kubelet works them out."""
        fields = {
            "metadata.name": self.pod_name(ordinal),
            "metadata.labels['topology.kubernetes.io/zone']": zone,
        }
        made = {}
        for variable in self.container["env"]:
            if "value" in variable:
                known = made.copy()
                value = re.sub(r"\$\((\w+)\)", lambda name: known[name[1]], variable["value"])
            else:
                value = fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
            made[variable["name"]] = value
        return made


def selects(selector, labels):
    return selector.items() <= labels.items()


def compose():
    """compose.yaml as compose's own reader takes it."""
    text = run(os.environ["DEPLOY_COMPOSE"], "-format", "json", "compose.yaml", cwd=DEPLOY)
    return json.loads(text)


def recipe():
    """The Dockerfile, with continued lines joined and without comments."""
    text = (DEPLOY / "docker" / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"\s*\\\n\s*", " ", text)


def image_variables():
    """The variables that the image sets."""
    return dict(re.findall(r"(ROPEWALK_\w+)=(\S+)", recipe()))
