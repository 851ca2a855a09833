"""Runs govulncheck on the Go module in the current folder, and judges what it finds.

    run.py GOVULNCHECK DATABASE

It fails for what the module's code can reach in a module that it requires, unless that is explained
here. What is in the standard library is told only: it is mended by the Go that builds a program, and
not by the module.
"""

import json
import subprocess
import sys

# Why what is found does not matter, and what would end it.
SERVERS = (
    "is in x/net's own HTTP/2 server or transport; gRPC has its own, and uses the framer alone. "
    "golang.org/x/net v0.60.0, which mends it, needs Go 1.26: take it with that"
)
EXPLAINED = {
    "GO-2026-6603": SERVERS,
    "GO-2026-6611": SERVERS,
    "GO-2026-6612": SERVERS,
    "GO-2026-6617": SERVERS,
}


def messages(text):
    """The JSON values of a stream, one after the other."""
    decoder, text, at = json.JSONDecoder(), text.strip(), 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        yield value
        while at < len(text) and text[at].isspace():
            at += 1


def main(govulncheck, database):
    command = [govulncheck, "-db", database, "-format", "json", "./..."]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"{run.stderr}govulncheck failed with status {run.returncode}")
    summaries, found, looked = {}, {}, False
    for message in messages(run.stdout):
        looked = looked or "SBOM" in message
        if "osv" in message:
            summaries[message["osv"]["id"]] = message["osv"].get("summary", "")
        finding = message.get("finding", {})
        # Without a function it is only that the module, or the package, is there.
        if finding and finding["trace"][0].get("function"):
            place = finding["trace"][0]
            key = (finding["osv"], place["module"])
            found[key] = (place["version"], finding.get("fixed_version", "no version"))
    if not looked:
        sys.exit("govulncheck looked at nothing: is the form of its output another one?")
    unexplained = 0
    for (name, module), (version, fixed) in sorted(found.items()):
        if module == "stdlib":
            why = "of the Go that is installed here, and not of the module"
        elif name in EXPLAINED:
            why = EXPLAINED[name]
        else:
            why, unexplained = "NOT EXPLAINED", unexplained + 1
        print(f"{name} {summaries.get(name, '')}: {module} {version}, mended in {fixed}: {why}")
    if unexplained:
        sys.exit(f"{unexplained} vulnerabilities are not explained")


if __name__ == "__main__":
    main(*sys.argv[1:])
