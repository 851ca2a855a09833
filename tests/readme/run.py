#!/usr/bin/env python3
"""Runs what README.md shows.

- Blocks marked `sh`: every line, in order, in one shell at the root of the repository. What each
  must print stands in expect.json, in the same order.
- A `text` block after such a line shows what the line prints: it must.
- Blocks marked `go` must be the file that the comment before them names.
- The block marked `rust` is made a program of its own, with the dependencies of the `toml` block
  before it, and run.
- Links to files of the repository must lead somewhere.

The README's broker listens on the default ports. Where the system allows it, all of this happens in
a network of its own, in which they are free; else they must be.
"""

import ctypes
import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
EXPECT = Path(__file__).with_name("expect.json")

PORTS = (9092, 9094)
METRICS = "http://127.0.0.1:9094/metrics"
LINE_SECONDS = 90  # `go run` links a program.
READY_SECONDS = 30


class Failed(Exception):
    """The README says something that is not so."""


# ---- the blocks ----------------------------------------------------------------------------------


def blocks():
    """The fenced blocks: (language, text, comment on the line before, line number)."""
    lines = README.read_text().splitlines()
    found, i = [], 0
    while i < len(lines):
        if not lines[i].startswith("```"):
            i += 1
            continue
        end = lines.index("```", i + 1)
        comment = re.fullmatch(r"<!-- (.*) -->", lines[i - 1])
        text = "\n".join(lines[i + 1 : end]) + "\n"
        found.append((lines[i][3:], text, comment and comment[1], i + 1))
        i = end + 1
    return found


def check_links():
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        if not (ROOT / target).exists():
            raise Failed(f"a link leads to {target}, which is not there")


def commands(text):
    """The lines of a shell block; one that ends with a backslash goes on in the next."""
    joined = ""
    for line in text.splitlines():
        joined += line
        if line.endswith("\\"):
            joined += "\n"
        elif joined.strip() and not joined.startswith("#"):
            yield joined
            joined = ""
        else:
            joined = ""


# ---- a network of our own ------------------------------------------------------------------------

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def enter_own_network():
    """Whether this process is now in a new network, in which loopback is up."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNET | (CLONE_NEWUSER if uid else 0)) != 0:
        return False
    if uid:
        # Our own ids stay ours: files are made as before.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    return True


def check_ports():
    for port in PORTS:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError as error:
                raise Failed(
                    f"port {port}, which the README's broker uses, cannot be had ({error}), and"
                    " this system gives the test no network of its own"
                ) from None


# ---- running -------------------------------------------------------------------------------------


class Shell:
    """One bash that runs line after line, as a person's does."""

    def __init__(self, environment):
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, line):
        """The exit code and what was printed."""
        mark = f"end-of-line-{os.urandom(8).hex()}"
        self._process.stdin.write(f"{{ {line}\n}} </dev/null\necho {mark} $?\n".encode())
        self._process.stdin.flush()
        # A line that hangs is ended with its shell, and reading then with them.
        signal.signal(signal.SIGALRM, lambda *_: os.killpg(self._process.pid, signal.SIGKILL))
        signal.alarm(LINE_SECONDS)
        output = ""
        for raw in self._process.stdout:
            text = raw.decode(errors="replace")
            if mark in text:
                signal.alarm(0)
                before, code = text.split(mark)
                return int(code), output + before
            output += text
        raise Failed(f"no end after {LINE_SECONDS} s, or the end of the shell:\n{output}")

    def end(self):
        self._process.stdin.close()
        self._process.wait()


class Background:
    """A line that runs until it is told to stop."""

    def __init__(self, line, environment):
        self.line = line
        self._output = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            ["bash", "-c", line],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def output(self):
        return os.pread(self._output.fileno(), 1 << 20, 0).decode(errors="replace")

    def wait_for(self, what, condition):
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{self.line}: no {what!r}; it printed:\n{self.output()}")
            time.sleep(0.05)

    def end(self):
        """Ends it as Ctrl-C does, and in the end without asking."""
        for signal_ in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, signal_)
                self._process.wait(timeout=15)
                return
            except subprocess.TimeoutExpired:
                continue
            except ProcessLookupError:
                return


def has_metric(line):
    with urllib.request.urlopen(METRICS, timeout=5) as answer:
        return f"\n{line}\n" in answer.read().decode()


class Runner:
    def __init__(self, expectations, environment):
        self.expectations = list(expectations)
        self.environment = environment
        self.shell = Shell(environment)
        self.background = []
        self.done = 0

    def next_expectation(self, line):
        if not self.expectations:
            raise Failed(f"{line}\nexpect.json says nothing of this line")
        expectation = self.expectations.pop(0)
        if expectation["line"] not in line:
            raise Failed(f"{line}\nexpect.json has {expectation['line']!r} in its place")
        return expectation

    def command(self, line, shown):
        """Runs a line; `shown` is what the README says it prints, if it does."""
        expectation = self.next_expectation(line)
        first = line.splitlines()[0]
        if "not_run" in expectation:
            print(f"--   {first} ({expectation['not_run']})")
            return
        if "ready" in expectation or "ready_metric" in expectation:
            self.start(line, expectation)
        else:
            code, output = self.shell.run(line)
            if code != expectation.get("exit", 0):
                raise Failed(f"{line}\nended with {code} and printed:\n{output}")
            check_output(line, output, expectation.get("output", []), shown)
        for one, fragments in expectation.get("then", {}).items():
            # What this line makes another one, in the background, print.
            process = next(b for b in self.background if one in b.line)
            for fragment in fragments:
                process.wait_for(fragment, lambda p=process, f=fragment: f in p.output())
        self.done += 1
        print(f"ok   {first}")

    def start(self, line, expectation):
        process = Background(line, self.environment)
        self.background.append(process)
        if "ready" in expectation:
            ready = expectation["ready"]
            process.wait_for(ready, lambda: ready in process.output())
        else:
            metric = expectation["ready_metric"]
            process.wait_for(metric, lambda: has_metric(metric))

    def program(self, path):
        """Runs the Rust program."""
        expectation = self.next_expectation("rust")
        code, output = self.shell.run(str(path))
        if code != 0:
            raise Failed(f"the Rust program ended with {code} and printed:\n{output}")
        check_output("the Rust program", output, expectation["output"], None)
        self.done += 1
        print("ok   the Rust program")

    def end(self):
        self.shell.end()
        for process in reversed(self.background):
            process.end()


def check_output(line, output, fragments, shown):
    for fragment in fragments:
        if fragment not in output:
            raise Failed(f"{line}\nprinted no {fragment!r}, but:\n{output}")
    # How grpcurl indents is not what the README is about.
    printed = iter(output.split("\n"))
    for wanted in (shown or "").splitlines():
        if not any(wanted.split() == got.split() for got in printed):
            raise Failed(f"{line}\nprinted no line {wanted!r} in its place, but:\n{output}")


# ---- the programs --------------------------------------------------------------------------------


def check_go_file(text, name):
    if not name or (ROOT / name).read_text() != text:
        raise Failed(f"the Go block is not the file {name!r} that the comment before it names")
    # Builds it while there is a network for its modules; `go run` then finds them.
    folder = Path(name).parent.relative_to("sdk-go")
    build = ["go", "build", "-o", os.devnull, f"./{folder}"]
    subprocess.run(build, cwd=ROOT / "sdk-go", check=True)


def build_rust(toml, text):
    """Builds the program as a package outside of the workspace, which is what a reader has."""
    target = target_directory()
    package = target / "readme" / "hello"
    (package / "src").mkdir(parents=True, exist_ok=True)
    # The folders lie side by side in the README.
    toml = toml.replace("../ropewalk/", f"{ROOT}/")
    header = '[package]\nname = "readme-hello"\nedition = "2024"\n\n'
    profile = "\n[workspace]\n\n[profile.dev]\ndebug = false\n"
    (package / "Cargo.toml").write_text(header + toml + profile)
    (package / "src" / "main.rs").write_text(text)
    # The versions of the workspace.
    (package / "Cargo.lock").write_bytes((ROOT / "Cargo.lock").read_bytes())
    subprocess.run(["cargo", "build", "--quiet"], cwd=package, check=True, env=with_target(target))
    return target / "debug" / "readme-hello"


def target_directory():
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version=1", "--no-deps"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return Path(json.loads(metadata.stdout)["target_directory"])


def with_target(target):
    return {**os.environ, "CARGO_TARGET_DIR": str(target)}


def prepare(found):
    """What needs the network: (language, what to run, what it shows) for each block to run."""
    steps, toml = [], None
    for language, text, comment, number in found:
        if language == "sh":
            steps += [["sh", line, None] for line in commands(text)]
        elif language == "text":
            steps[-1][2] = text
        elif language == "go":
            check_go_file(text, comment)
        elif language == "toml":
            toml = text
        elif language == "rust":
            steps.append(["rust", build_rust(toml, text), None])
        else:
            raise Failed(f"line {number}: nobody runs blocks marked {language!r}")
    return steps


def environment(data):
    """A reader's shell, whose broker keeps its data elsewhere than ours."""
    return {
        **os.environ,
        "ROPEWALK_SERVER__DATA_DIR": data,
        "GOFLAGS": "-mod=readonly",
        "GOPROXY": "off",
    }


def main():
    if not os.environ.get("ROPEWALK_BIN"):
        raise Failed("ROPEWALK_BIN must name the broker's binary; ./test readme sets it")
    check_links()
    steps = prepare(blocks())
    own = enter_own_network()
    if not own:
        check_ports()
    print(f"in {'a network of its own' if own else 'the network of the machine'}", flush=True)
    with tempfile.TemporaryDirectory(prefix="ropewalk-readme-") as data:
        runner = Runner(json.loads(EXPECT.read_text()), environment(data))
        try:
            for language, what, shown in steps:
                if language == "sh":
                    runner.command(what, shown)
                else:
                    runner.program(what)
        finally:
            runner.end()
    if runner.expectations:
        raise Failed(f"expect.json expects more lines: {runner.expectations[0]['line']!r}")
    print(f"{runner.done} passed, 0 failed")


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"README.md: {failure}")
