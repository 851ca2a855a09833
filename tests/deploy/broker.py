"""The binary: what it makes of settings, and a broker that runs."""

import contextlib
import ctypes
import os
import re
import socket
import subprocess
import tempfile

from deployed import Refused, run

BINARY = os.environ.get("ROPEWALK_BIN", "")

CLONE_NEWUTS, CLONE_NEWUSER = 0x04000000, 0x10000000
STOP_SECONDS = 30


def clean_environment(variables):
    """What a container has: nothing of this shell."""
    return {"PATH": os.environ["PATH"], **variables}


def on_host(name):
    """Makes a process believe that its machine is called so."""

    def enter():
        spaces = CLONE_NEWUTS if os.geteuid() == 0 else CLONE_NEWUTS | CLONE_NEWUSER
        if ctypes.CDLL(None, use_errno=True).unshare(spaces) != 0:
            raise OSError(ctypes.get_errno(), "a host name of its own: run this as root")
        socket.sethostname(name)

    return enter


def settings(variables, host):
    """The settings that a broker takes from variables, as {"section.name": "value"}."""
    printed = subprocess.run(
        [BINARY, "serve", "--print-settings"],
        env=clean_environment(variables),
        preexec_fn=on_host(host),
        capture_output=True,
        text=True,
    )
    if printed.returncode != 0:
        raise Refused(printed.stderr)
    section, found = "", {}
    for line in printed.stdout.splitlines():
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            section = heading[1]
        elif setting := re.fullmatch(r'(\w+) = "?(.*?)"?', line):
            found[f"{section}.{setting[1]}"] = setting[2]
    return found


def known_variables():
    return set(re.findall(r"\[env:\s+(ROPEWALK_\w+)", run(BINARY, "serve", "--help")))


@contextlib.contextmanager
def running():
    """A broker on free ports of loopback: its address, and that of its admin port."""
    with tempfile.TemporaryDirectory(prefix="ropewalk-deploy-") as data:
        arguments = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", f"--data-dir={data}"]
        process = subprocess.Popen(
            [BINARY, "serve", *arguments],
            env=clean_environment({}),
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            said = ""
            for line in process.stderr:
                said += line
                if ready := re.search(r"ready address=(\S+) admin=(\S+)", line):
                    yield ready[1], ready[2]
                    break
            else:
                raise Refused(f"the broker ended before it was ready:\n{said}")
        finally:
            process.terminate()
            process.communicate(timeout=STOP_SECONDS)
