//! Which crate may depend on which. The layers stand in a row, and each sees only what is left
//! of it.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// The server's crates, from the inside out; then the broker for other programs' tests.
const LAYERS: [&str; 9] = [
    "ropewalk-core",
    "ropewalk-storage",
    "ropewalk-consensus",
    "ropewalk-cluster",
    "ropewalk-groups",
    "ropewalk-broker",
    "ropewalk-rpc",
    "ropewalk-server",
    "ropewalk-testing",
];

/// Crates from outside, and who may name them. What is not here is free.
const KEPT_TO: &[(&str, &[&str])] = &[
    ("sled", &["ropewalk-storage"]),
    ("raft", &["ropewalk-storage", "ropewalk-consensus"]),
    ("protobuf", &["ropewalk-storage", "ropewalk-consensus"]),
    ("flate2", &["ropewalk-compress"]),
    ("lz4_flex", &["ropewalk-compress"]),
    ("snap", &["ropewalk-compress"]),
    ("zstd", &["ropewalk-compress"]),
    ("prost", OF_THE_WIRE),
    ("prost-types", OF_THE_WIRE),
    ("tonic", OF_THE_WIRE),
    ("tonic-prost", OF_THE_WIRE),
    ("tonic-types", OF_THE_WIRE),
    ("tonic-health", OF_THE_WIRE),
    ("tonic-reflection", OF_THE_WIRE),
    ("ropewalk-proto", OF_THE_WIRE),
    (
        "tokio",
        &[
            "ropewalk-cluster",
            "ropewalk-broker",
            "ropewalk-rpc",
            "ropewalk-server",
            "ropewalk-testing",
            "ropewalk",
        ],
    ),
    // The binary's commands are a client; the broker is none.
    ("ropewalk", &["ropewalk-server"]),
];
const OF_THE_WIRE: &[&str] = &["ropewalk-proto", "ropewalk-rpc", "ropewalk-server", "ropewalk"];

/// Crates that are tests and may see everything.
const TESTS: [&str; 6] = [
    "ropewalk-harness",
    "ropewalk-e2e",
    "ropewalk-bench",
    "ropewalk-chaos",
    "ropewalk-fuzz",
    "ropewalk-sim",
];

fn is_core_or_foreign(name: &str) -> bool {
    name == "ropewalk-core" || !LAYERS.contains(&name)
}

/// Which crate names which, dependencies of tests left out.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Every edge that must not be, in words.
fn forbidden(graph: &Graph) -> Vec<String> {
    let layer = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let mut found = Vec::new();
    for (from, dependencies) in graph {
        if TESTS.contains(&from.as_str()) {
            continue;
        }
        for to in dependencies {
            let is_inward = match (layer(from), layer(to)) {
                (Some(from), Some(to)) => to < from,
                // The client and the contract know no layer.
                (None, Some(_)) => false,
                (_, None) => true,
            };
            // The state of consumer groups is pure, and knows no log that carries it.
            let is_inward = is_inward && (from != "ropewalk-groups" || is_core_or_foreign(to));
            let kept_to = KEPT_TO.iter().find(|(kept, _)| kept == to);
            let is_kept = kept_to.is_none_or(|(_, to)| to.contains(&from.as_str()));
            if !is_inward || !is_kept || TESTS.contains(&to.as_str()) {
                found.push(format!("{from} depends on {to}"));
            }
        }
    }
    found
}

fn of_the_workspace() -> Graph {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .unwrap();
    let packages = metadata.workspace_packages().into_iter();
    packages
        .map(|package| {
            let normal = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
            (package.name.to_string(), normal.map(|d| d.name.clone()).collect())
        })
        .collect()
}

#[test]
fn no_crate_depends_on_what_stands_outside_it() {
    let graph = of_the_workspace();
    for layer in LAYERS {
        assert!(graph.contains_key(layer), "{layer} is gone: the rules know it by its old name");
    }
    assert_eq!(forbidden(&graph), Vec::<String>::new());
}

/// The rules see what they are there for.
#[test]
fn an_edge_that_must_not_be_is_found() {
    let edges = |edges: &[(&str, &[&str])]| -> Graph {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        edges.iter().map(|(from, to)| ((*from).to_owned(), owned(to))).collect()
    };
    let fine = edges(&[
        ("ropewalk-core", &["bytes"]),
        ("ropewalk-storage", &["ropewalk-core", "sled", "raft"]),
        ("ropewalk-broker", &["ropewalk-consensus", "ropewalk-core", "tokio"]),
        ("ropewalk-server", &["ropewalk", "ropewalk-rpc", "tokio"]),
        ("ropewalk", &["ropewalk-proto", "tonic"]),
        ("ropewalk-e2e", &["ropewalk", "sled", "ropewalk-storage"]),
    ]);
    assert_eq!(forbidden(&fine), Vec::<String>::new());
    for (from, to) in [
        ("ropewalk-core", "ropewalk-storage"),
        ("ropewalk-core", "tokio"),
        ("ropewalk-storage", "ropewalk-consensus"),
        ("ropewalk-storage", "tokio"),
        ("ropewalk-consensus", "ropewalk-cluster"),
        ("ropewalk-consensus", "sled"),
        ("ropewalk-cluster", "raft"),
        ("ropewalk-groups", "ropewalk-consensus"),
        ("ropewalk-groups", "ropewalk-cluster"),
        ("ropewalk-groups", "tokio"),
        ("ropewalk-cluster", "ropewalk-groups"),
        ("ropewalk-broker", "ropewalk-rpc"),
        ("ropewalk-broker", "prost"),
        ("ropewalk-broker", "ropewalk-proto"),
        ("ropewalk-rpc", "sled"),
        ("ropewalk-rpc", "ropewalk"),
        ("ropewalk-server", "ropewalk-harness"),
        ("ropewalk-server", "ropewalk-testing"),
        ("ropewalk", "ropewalk-core"),
        ("ropewalk-proto", "ropewalk-core"),
    ] {
        let found = forbidden(&edges(&[(from, &[to])]));
        assert_eq!(found, [format!("{from} depends on {to}")]);
    }
}
