#!/usr/bin/env python3
"""Draws the figures of `ropewalk-bench goals` and `cluster`, and of `peers.py`, each with --json.

    pip install matplotlib
    tests/bench/plots/plots.py goals.json [--peers peers.json] [--out docs] [--tables]
    tests/bench/plots/plots.py --cluster cluster.json [--cluster-peers peers3.json]
    tests/bench/plots/plots.py [goals.json] --codecs codecs.json

It writes docs/performance-*.svg, one for each subject that the figures have; --tables prints the
figures as tables for docs/performance.md. Codecs have their tables in docs/compression.md, which
--codecs writes, with what `goals` says of compressed batches, in their places there. The peers of a cluster are measured with --nodes 3; when
Ropewalk was measured beside them (--bench), the plot and the goals take its figures from there.
"""

import argparse
import json
import re
from itertools import cycle
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

BLUE, ORANGE, GREEN, GREY, RED = "#2563a8", "#d9822b", "#3a8f4f", "#8a8f98", "#b8443a"
SYNCED, DIRECT = "write+fdatasync", "O_DIRECT+O_DSYNC"


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("goals", nargs="*", help="documents of goals --json; later ones add parts")
    parser.add_argument("--peers", help="the document of peers.py --json")
    parser.add_argument("--cluster", action="append", default=[],
                        help="documents of cluster --json; later ones add parts")
    parser.add_argument("--cluster-peers", help="the document of peers.py --nodes 3 --json")
    parser.add_argument("--codecs", help="the document of codecs --json")
    parser.add_argument("--out", default="docs")
    parser.add_argument("--format", default="svg", choices=["svg", "png"])
    parser.add_argument("--tables", action="store_true")
    return parser.parse_args()


def read(chosen):
    figures, series = [], []
    for path in chosen.goals:
        document = json.loads(Path(path).read_text())
        figures += document["figures"]
        series += document["series"]
    peers = json.loads(Path(chosen.peers).read_text())["rows"] if chosen.peers else []
    return figures, series, peers


def read_cluster(chosen):
    """The figures of the cluster, those that were measured beside the peers, and the peers'."""
    figures = []
    for path in chosen.cluster:
        figures += json.loads(Path(path).read_text())["figures"]
    if not chosen.cluster_peers:
        return figures, figures, []
    document = json.loads(Path(chosen.cluster_peers).read_text())
    beside = document["ropewalk"]["figures"] if document["ropewalk"] else figures
    return figures, beside, document["rows"]


def style():
    plt.rcParams.update({
        "figure.figsize": (7.2, 4.2), "figure.dpi": 110, "font.size": 9.5,
        "axes.grid": True, "grid.color": "#e4e6ea", "axes.axisbelow": True,
        "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
        "svg.hashsalt": "ropewalk", "svg.fonttype": "none",
    })


def save(chosen, name):
    path = Path(chosen.out) / f"performance-{name}.{chosen.format}"
    plt.tight_layout()
    # Without a date, the same figures give the same file.
    plt.savefig(path, metadata={"Date": None} if chosen.format == "svg" else None)
    plt.close()
    print(path)


def groups(chosen, figures):
    """Rate against the size of a commit group, with both controls."""
    lines = {}

    def point(label, size, spread):
        lines.setdefault(label, {})[size] = spread

    for figure in figures:
        found = re.match(r"(\d+) KiB over (\d+)$", figure["case"])
        if figure["part"] != "groups" or figure["what"] != "MB/s" or not found:
            continue
        size, partitions = int(found.group(1)), found.group(2)
        point(f"store, {int(partitions):,} partitions", size, figure["value"])
        if figure["control_name"] in (SYNCED, DIRECT) and partitions == "16":
            point(f"raw {figure['control_name']}", size, figure["control"])
    if not lines:
        return
    looks = {
        f"raw {SYNCED}": (GREY, "o", "--"), f"raw {DIRECT}": (GREY, "s", ":"),
        "store, 16 partitions": (BLUE, "o", "-"), "store, 1,000 partitions": (ORANGE, "o", "-"),
    }
    for label, (color, marker, dash) in looks.items():
        if label in lines:
            curve(lines[label], label, color, marker, dash)
    sizes = sorted({size for line in lines.values() for size in line})
    plt.xscale("log", base=2)
    plt.xticks(sizes, [f"{size} KiB" if size < 1024 else f"{size // 1024} MiB" for size in sizes])
    plt.minorticks_off()
    plt.ylim(bottom=0)
    plt.ylabel("MB/s, each group durable before the next")
    plt.xlabel("commit group")
    plt.title("The store alone, beside the raw disk", loc="left")
    plt.legend()
    save(chosen, "groups")


def curve(line, label, color, marker, dash):
    sizes = sorted(line)
    middle = [line[size]["median"] for size in sizes]
    below = [line[size]["median"] - line[size]["least"] for size in sizes]
    above = [line[size]["most"] - line[size]["median"] for size in sizes]
    plt.errorbar(sizes, middle, yerr=[below, above], label=label, color=color, marker=marker,
                 linestyle=dash, capsize=3, markersize=4, elinewidth=0.8)


def latencies(chosen, series, part, name, title):
    """The share of records that took at most so long."""
    curves = [one for one in series if one["part"] == part and one["axes"] == ["share", "ms"]]
    if not curves:
        return
    raw = cycle([(GREY, "--"), (GREY, ":")])
    own = cycle([(BLUE, "-"), (ORANGE, "-"), (GREEN, "-"), (RED, "-")])
    for one in curves:
        color, dash = next(raw if one["name"].startswith("4 KiB") else own)
        shares, millis = zip(*one["points"])
        plt.plot(millis, shares, label=one["name"], color=color, linestyle=dash)
    plt.xscale("log")
    plt.xlabel("ms")
    plt.ylabel("share of records")
    plt.ylim(0, 1.01)
    plt.title(title, loc="left")
    plt.legend(loc="lower right")
    save(chosen, name)


def path(chosen, figures, peers):
    """Bars: each shape on disk and in memory, and the best of each peer."""
    bars = [figure for figure in figures if figure["part"] == "path" and figure["what"] == "MB/s"]
    if not bars:
        return
    plt.figure(figsize=(8.4, 4.6))
    for at, figure in enumerate(bars):
        for shift, key, label, color in [(-0.2, "value", "on disk", BLUE),
                                         (0.2, "control", "memory store", GREY)]:
            spread = figure[key]
            error = [[spread["median"] - spread["least"]], [spread["most"] - spread["median"]]]
            plt.bar(at + shift, spread["median"], 0.38, yerr=error, color=color, capsize=2,
                    error_kw={"elinewidth": 0.8}, label=label if at == 0 else None)
    labels = [figure["case"].replace(", ", "\n") for figure in bars]
    for peer, sync, label in peer_kinds():
        rates = [row["MB/s"] for row in peers if row["peer"] == peer and row["sync"] == sync
                 and row["what"] == "produce"]
        if rates:
            plt.bar(len(labels), max(rates), 0.5, color=ORANGE if sync != "default" else "#f0c592")
            labels.append(label)
    plt.xticks(range(len(labels)), labels, fontsize=7.5)
    plt.ylabel("MB/s of 1 KB records")
    plt.title("The whole path, client and broker on the same cores", loc="left")
    plt.legend()
    save(chosen, "path")


def peer_kinds():
    return [("kafka", "default", "Kafka\nno fsync"), ("kafka", "every", "Kafka\nfsync"),
            ("nats", "default", "NATS\nno fsync"), ("nats", "always", "NATS\nfsync")]


FULL_LOAD = "16 x 100, 16 in flight"


def find(figures, part, case, what):
    return next((figure for figure in figures
                 if (figure["part"], figure["case"], figure["what"]) == (part, case, what)), None)


def best(peers, peer, sync, what="produce"):
    """The most of a peer's cases."""
    return max((row["MB/s"] for row in peers if row["peer"] == peer and row["what"] == what
                and sync in (None, row["sync"])), default=None)


def one_at_a_time(peers, peer, sync):
    """The p50 and the p99 of a peer's single records."""
    return next(((row["p50 ms"], row["p99 ms"]) for row in peers if row["peer"] == peer
                 and row["what"] == "latency" and row["sync"] == sync), None)


def cluster(chosen, figures, peers):
    """Bars: three brokers, one, and the peers; rates at full load, and one record at a time."""
    rate = find(figures, "path", FULL_LOAD, "MB/s")
    if not rate:
        return
    _, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.4))
    own = [("value", "Ropewalk\n3 brokers", BLUE), ("control", "Ropewalk\n1 broker", GREY)]
    labels = []
    for key, label, color in own:
        error = [[rate[key]["median"] - rate[key]["least"]],
                 [rate[key]["most"] - rate[key]["median"]]]
        left.bar(len(labels), rate[key]["median"], 0.6, yerr=error, color=color, capsize=2,
                 error_kw={"elinewidth": 0.8})
        mark(left, len(labels), max(rate[key]["most"], rate[key]["median"]),
             number(rate[key]["median"]))
        labels.append(label)
    for peer, sync, label in peer_kinds():
        if best(peers, peer, sync) is not None:
            left.bar(len(labels), best(peers, peer, sync), 0.6, color=shade(sync))
            mark(left, len(labels), best(peers, peer, sync), number(best(peers, peer, sync)))
            labels.append(label)
    dress(left, labels, "MB/s of 1 KB records", "At full load, 3 replicas")

    labels = []
    middle, high = (find(figures, "single", "ProduceStream", what) for what in ("p50 ms", "p99 ms"))
    for key, label, color in own if middle and high else []:
        pair(right, len(labels), (middle[key]["median"], high[key]["median"]), color)
        labels.append(label)
    for peer, sync, label in peer_kinds():
        if found := one_at_a_time(peers, peer, sync):
            pair(right, len(labels), found, shade(sync))
            labels.append(label + ("\nend to end" if peer == "kafka" else ""))
    right.set_yscale("log")
    right.set_ylim(bottom=0.1)
    dress(right, labels, "ms: p50, and p99 behind it", "One record at a time")
    save(chosen, "cluster")


def shade(sync):
    return ORANGE if sync != "default" else "#f0c592"


def pair(axes, at, found, color):
    """The p50 as a bar, the p99 as a pale one behind it."""
    axes.bar(at, found[1], 0.6, color=color, alpha=0.35)
    axes.bar(at, found[0], 0.6, color=color)
    mark(axes, at, found[1], " / ".join(map(number, found)))


def mark(axes, at, height, text):
    axes.annotate(text, (at, height), (0, 3), textcoords="offset points", ha="center", fontsize=7)


def dress(axes, labels, unit, title):
    axes.set_xticks(range(len(labels)), labels, fontsize=7)
    axes.set_ylabel(unit)
    axes.set_title(title, loc="left")


def over_time(chosen, series, part, name, title):
    """What was seen every quarter of a second."""
    lines = [one for one in series if one["part"] == part and one["axes"][0] == "s"]
    if not lines:
        return
    for one, color in zip(lines, [BLUE, ORANGE, GREEN, RED, GREY, "#7a5ba6"]):
        if one["points"]:
            plt.plot(*zip(*one["points"]), label=one["name"], color=color, linewidth=1)
    plt.xlabel("s")
    plt.ylabel(lines[0]["axes"][1])
    plt.ylim(bottom=0)
    plt.title(title, loc="left")
    plt.legend(fontsize=8)
    save(chosen, name)


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def spread(value):
    if value is None:
        return ""
    if value["least"] == value["most"]:
        return number(value["median"])
    return f"{number(value['median'])} ({number(value['least'])} to {number(value['most'])})"


def tables(figures, peers, goals):
    print("\n| part | case | | figure | control | ratio | goal | |\n|-|-|-|-|-|-|-|-|")
    for figure in figures:
        control = spread(figure.get("control"))
        control = f"{control} {figure['control_name']}" if control else ""
        verdict = {True: "met", False: "**missed**", None: ""}[figure.get("met")]
        cells = [figure["part"], figure["case"], figure["what"], spread(figure["value"]), control,
                 spread(figure.get("ratio")), figure.get("goal", ""), verdict]
        print("| " + " | ".join(cells) + " |")
    if not peers:
        return
    print("\n| peer | sync | case | MB/s | p50 ms | p99 ms | RSS MiB |\n|-|-|-|-|-|-|-|")
    for row in peers:
        values = [row.get(key) for key in ("MB/s", "p50 ms", "p99 ms", "max RSS MiB")]
        cells = [row["peer"], row["sync"], row["case"]]
        cells += ["" if value is None else number(value) for value in values]
        print("| " + " | ".join(cells) + " |")
    goals(figures, peers)


def against(figures, peers):
    """The goals that are multiples of Kafka's figures."""
    print("\n| goal | figure | Kafka's best | ratio | |\n|-|-|-|-|-|")
    goals = [("path", "produce", 3, lambda case: "16 in flight" in case),
             ("read", "consume", 4, lambda case: case.startswith("cached"))]
    for part, what, times, takes in goals:
        kafka = best(peers, "kafka", None, what)
        for figure in figures:
            is_one = figure["part"] == part and figure["what"] == "MB/s" and takes(figure["case"])
            if is_one and kafka:
                ratio = figure["value"]["median"] / kafka
                cells = [f"{part}, {figure['case']}: at least {times} x",
                         spread(figure["value"]), number(kafka), f"{ratio:.2f}",
                         "met" if ratio >= times else "**missed**"]
                print("| " + " | ".join(cells) + " |")


def cluster_against(figures, peers):
    """The cluster's goals that are multiples of the peers' figures."""
    print("\n| goal | figure | peer | ratio | |\n|-|-|-|-|-|")
    rows = [("path", FULL_LOAD, "MB/s", "at least 3 x Kafka's best", best(peers, "kafka", None), 3),
            ("path", FULL_LOAD, "MB/s", "at least 4 x NATS's best, sync always",
             best(peers, "nats", "always"), 4)]
    nats = one_at_a_time(peers, "nats", "always")
    for at, what in enumerate(("p50 ms", "p99 ms")):
        rows.append(("single", "ProduceStream", what, "under half of NATS's, sync always",
                     nats and nats[at], 0.5))
    for part, case, what, goal, peer, times in rows:
        figure = find(figures, part, case, what)
        if not figure or not peer:
            continue
        ratio = figure["value"]["median"] / peer
        is_met = ratio >= times if times >= 1 else ratio < times
        cells = [f"{part}, {case}, {what}: {goal}", spread(figure["value"]), number(peer),
                 f"{ratio:.2f}", "met" if is_met else "**missed**"]
        print("| " + " | ".join(cells) + " |")


def codecs(chosen, figures):
    """How small and how fast each codec is, on batches of several sizes; as a plot and in tables."""
    if not chosen.codecs:
        return
    rows = json.loads(Path(chosen.codecs).read_text())["codecs"]
    sizes = sorted({row["batch_bytes"] for row in rows})
    _, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.4), sharey=True)
    for axes, key, what in [(left, "compress_mb_per_second", "compressed"),
                            (right, "decompress_mb_per_second", "decompressed")]:
        codec_points(axes, rows, sizes, key)
        axes.set_xscale("log")
        axes.margins(x=0.18)
        rates = [row[key] for row in rows]
        ticks = [tick for tick in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
                 if min(rates) * 0.8 < tick < max(rates) * 1.2]
        axes.set_xticks(ticks, [number(tick) for tick in ticks])
        axes.xaxis.set_minor_formatter(lambda rate, _: "")
        axes.set_ylim(0, 1.1 * max(row["ratio"] for row in rows))
        axes.set_xlabel(f"{what} by one core, MB/s of records")
    left.set_ylabel("times smaller")
    left.set_title("Codecs on log lines", loc="left")
    left.legend()
    save(chosen, "codecs")
    page = Path(chosen.out) / "compression.md"
    fill(page, "codecs", codec_table(rows, sizes))
    fill(page, "broker", broker_table(figures))


def codec_points(axes, rows, sizes, key):
    colors = {"snappy": GREY, "lz4": ORANGE, "gzip": RED, "zstd": BLUE}
    for size, marker, alpha in zip(sizes, "osD", (0.35, 0.6, 1.0)):
        for row in (row for row in rows if row["batch_bytes"] == size):
            color = colors[row["codec"].split(":")[0]]
            place = row[key], row["ratio"]
            axes.scatter(*place, color=color, marker=marker, alpha=alpha, s=42, linewidths=0)
            if size == sizes[-1]:
                axes.annotate(row["codec"], place, xytext=(6, 4), textcoords="offset points")
        axes.scatter([], [], color=GREY, marker=marker, alpha=alpha,
                     label=f"batches of {size >> 10} KiB")


def codec_table(rows, sizes):
    """A row for each codec and level: times smaller by size of batch, and rates at the largest."""
    by_codec = {}
    for row in rows:
        by_codec.setdefault(row["codec"], {})[row["batch_bytes"]] = row
    heads = ["codec"] + [f"ratio at {size >> 10} KiB" for size in sizes]
    heads += ["compress, MB/s", "decompress, MB/s"]
    lines = ["| " + " | ".join(heads) + " |", "|-" * len(heads) + "|"]
    for codec, of in by_codec.items():
        largest = of[sizes[-1]]
        cells = [f"{codec}, its default" if codec in ("gzip", "zstd") else codec]
        cells += [f"{of[size]['ratio']:.2f}" for size in sizes]
        cells += [number(largest[f"{what}_mb_per_second"]) for what in ("compress", "decompress")]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def broker_table(figures):
    """Compressed batches through a broker, beside plain ones of as many bytes."""
    lines = ["| batches | MB/s, as they are sent | plain, as large | ratio | goal |", "|-|-|-|-|-|"]
    for figure in figures:
        if figure["part"] == "producers" and "batches of" in figure["case"]:
            cells = [figure["case"], spread(figure["value"]), spread(figure["control"]),
                     spread(figure["ratio"]), "met" if figure["met"] else "**missed**"]
            lines.append("| " + " | ".join(cells) + " |")
    return lines if len(lines) > 2 else []


def fill(page, mark, lines):
    """Puts lines between the marks of a page; none leave it as it is."""
    if not lines:
        return
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    before, _, rest = page.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{page} has no place for its table: {begin.strip()} and {end}")
    page.write_text(before + begin + "\n".join(lines) + "\n" + end + after)
    print(page)


def main():
    chosen = options()
    figures, series, peers = read(chosen)
    style()
    groups(chosen, figures)
    path(chosen, figures, peers)
    latencies(chosen, series, "single", "single", "One 1 KB record at a time")
    latencies(chosen, series, "tail", "tail", "End to end at the tail, 1,000 records/s")
    over_time(chosen, series, "sustained", "sustained", "The store alone, over time")
    over_time(chosen, series, "memory", "memory", "The broker's memory")
    if chosen.tables and figures:
        tables(figures, peers, against)
    codecs(chosen, figures)
    of_cluster, beside, cluster_peers = read_cluster(chosen)
    cluster(chosen, beside, cluster_peers)
    if chosen.tables and (of_cluster or cluster_peers):
        tables(of_cluster, cluster_peers, lambda _, peers: cluster_against(beside, peers))


if __name__ == "__main__":
    main()
