"""The recipe of the image, and compose.yaml."""

import re

import deployed
from deployed import DEPLOY, ROOT, Chart


def found(pattern, file):
    """What the first group of a pattern matches in a file, which has it once."""
    [one] = re.findall(pattern, (ROOT / file).read_text(), re.MULTILINE | re.DOTALL)
    return one


def stages():
    """The instructions of each stage of the Dockerfile."""
    made = []
    for line in deployed.recipe().splitlines():
        if line.startswith("FROM "):
            made.append([])
        if line and made:
            made[-1].append(line)
    return made


def test_one_version_everywhere():
    version = found(r'^\[workspace\.package\]\nversion = "(.*?)"', "Cargo.toml")
    assert f'appVersion: "{version}"\n' in (deployed.CHART / "Chart.yaml").read_text()
    assert Chart().container["image"] == f"ropewalk:{version}"
    for service in deployed.compose()["services"].values():
        assert service["image"] == f"ropewalk:{version}"
    toolchain = found(r'^channel = "(.*?)"', "rust-toolchain.toml")
    assert f"ARG RUST_VERSION={toolchain}\n" in deployed.recipe()


def test_the_image_holds_one_static_binary_and_runs_as_nobody():
    _, image = stages()
    assert image[0] == "FROM gcr.io/distroless/static-debian12:nonroot"
    copied = [line.split()[-2:] for line in image if line.startswith("COPY")]
    assert copied == [
        ["/image/ropewalk", "/usr/local/bin/ropewalk"],
        ["/image/data", "/var/lib/ropewalk"],
    ]
    assert not any(line.startswith("RUN") for line in image)
    pod = Chart().pod["securityContext"]
    assert f"USER {pod['runAsUser']}:{pod['runAsGroup']}" in image
    assert f"--chown={pod['fsGroup']}:{pod['fsGroup']}" in " ".join(image)
    assert 'ENTRYPOINT ["/usr/local/bin/ropewalk"]' in image
    assert "EXPOSE 9092 9093 9094" in image


def test_the_recipe_has_both_architectures_and_keeps_what_it_downloads():
    build, _ = stages()
    assert build[0].startswith("FROM --platform=$BUILDPLATFORM ")
    text = "\n".join(build)
    for architecture, triple in (("amd64", "x86_64"), ("arm64", "aarch64")):
        assert f"{architecture}) triple={triple}-unknown-linux-musl ;;" in text
    [compile_] = [line for line in build if "cargo zigbuild" in line]
    assert "--locked --release" in compile_
    assert "readelf --dynamic /image/ropewalk | grep NEEDED" in compile_
    caches = set(re.findall(r"--mount=type=cache,target=([^, ]+)", compile_))
    assert caches == {"/usr/local/cargo/registry", "/src/target"}


def test_the_build_gets_every_package_of_the_workspace():
    ignore = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    given = {line[1:] for line in ignore if line.startswith("!")}
    assert {"Cargo.toml", "Cargo.lock"} <= given
    members = re.findall(r'"(.*?)"', found(r"^members = \[(.*?)\]", "Cargo.toml"))
    assert {member.split("/")[0] for member in members} <= given


def test_compose_has_three_brokers_that_know_each_other():
    model = deployed.compose()
    services = model["services"]
    names = ["ropewalk-1", "ropewalk-2", "ropewalk-3"]
    assert list(services) == names
    for number, (name, service) in enumerate(services.items(), start=1):
        environment = service["environment"]
        assert environment["ROPEWALK_SERVER__NODE_ID"] == str(number)
        assert environment["ROPEWALK_SERVER__ADVERTISE"] == f"{name}:9092"
        assert environment["ROPEWALK_CLUSTER__PEER_LISTEN"] == "0.0.0.0:9093"
        peers = [f"{peer}:9093" for peer in names]
        assert environment["ROPEWALK_CLUSTER__JOIN"].split(",") == peers
        assert environment["ROPEWALK_CLUSTER__BOOTSTRAP"] == "1,2,3"


def test_each_broker_of_compose_has_its_own_volume_and_ports_of_loopback():
    services = deployed.compose()["services"].values()
    volumes = [volume["source"] for service in services for volume in service["volumes"]]
    ports = [port for service in services for port in service["ports"]]
    data = deployed.image_variables()["ROPEWALK_SERVER__DATA_DIR"]
    assert len(set(volumes)) == len(volumes) == 3
    assert {volume["target"] for one in services for volume in one["volumes"]} == {data}
    assert len({port["published"] for port in ports}) == len(ports) == 6
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert sorted(port["target"] for port in ports) == [9092] * 3 + [9094] * 3


def test_brokers_of_compose_may_do_nothing_but_run():
    for service in deployed.compose()["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        # The drain is 5 s, and the image's entry point is not a shell that keeps the signal.
        assert service["stop_grace_period"] == "30s"
        assert service["build"]["context"] == str(ROOT)
        assert (ROOT / service["build"]["dockerfile"]).is_file()
