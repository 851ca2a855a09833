//! The commands with which people use groups.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use ropewalk_harness::ropewalk_binary;
use tokio::task::block_in_place;

use crate::Node;
use crate::support::{cli, eventually, json, try_cli};

#[tokio::test(flavor = "multi_thread")]
async fn people_read_in_a_group_and_look_at_it_and_reset_it() {
    let node = Node::start().await;
    let address = node.address();
    node.stubs().create("t", 1).await;
    for value in ["a", "b", "c", "d"] {
        cli(address, &["produce", "t", value]);
    }
    let consume = |count: &str| cli(address, &["consume", "t", "--group", "g", "-n", count]);
    assert_eq!(consume("2"), "a\nb\n");
    assert_eq!(consume("1"), "c\n");

    let list = json(&cli(address, &["group", "list", "--format", "json"]));
    assert_eq!(list[0]["group"], "g");
    let describe = || json(&cli(address, &["group", "describe", "g", "--format", "json"]));
    let described = describe();
    let offset = &described["offsets"][0];
    assert_eq!((&offset["committed"], &offset["lag"]), (&3.into(), &1.into()));
    let text = cli(address, &["group", "describe", "g"]);
    assert!(text.contains("COMMITTED") && text.contains("generation"), "{text}");

    // Whoever read last is about to leave.
    let await_nobody = async || {
        eventually("nobody reads", async || describe()["members"] == json("[]")).await;
    };
    let reset = async |args: &[&str]| {
        await_nobody().await;
        let all: Vec<_> =
            ["group", "reset", "g", "--format", "json"].iter().chain(args).copied().collect();
        let change = json(&cli(address, &all))["offsets"][0].clone();
        (change["from"].as_i64().unwrap(), change["to"].as_i64().unwrap())
    };
    assert_eq!(reset(&["--to", "earliest", "--dry-run"]).await, (3, 0));
    assert_eq!(reset(&["--shift", "-2"]).await, (3, 1));
    assert_eq!(consume("1"), "b\n");
    assert_eq!(reset(&["--to", "latest"]).await, (2, 4));
    assert_eq!(reset(&["--to", "@15m"]).await, (4, 0));
    assert_eq!(reset(&["--to", "-1", "--topic", "t", "-p", "0"]).await, (0, 3));
    assert_eq!(reset(&["--to", "9"]).await, (3, 4));
    // What is not there is said, and what is done instead; also when nothing is done yet.
    for (args, said) in [
        (["--to", "9", "--dry-run"], "t/0: 9 is beyond the end: 4, the latest, instead"),
        (["--shift", "-7", "--dry-run"], "t/0: -3 is before the first offset: 0, the earliest, "),
        (["--to", "9", "--format=text"], "t/0: 9 is beyond the end: 4, the latest, instead"),
    ] {
        let all: Vec<_> = ["group", "reset", "g"].iter().chain(&args).copied().collect();
        let (code, _, errors) = try_cli(address, &all);
        assert!(code == 0 && errors.contains(said), "{args:?}: {errors}");
    }
    assert_eq!(reset(&["--to", "2"]).await, (4, 2));
    assert_eq!(consume("2"), "c\nd\n");

    await_nobody().await;
    assert_eq!(cli(address, &["group", "delete", "g"]), "deleted g\n");
    let (code, _, errors) = try_cli(address, &["group", "describe", "g"]);
    assert!(code != 0 && errors.contains("GROUP_NOT_FOUND"), "{errors}");
}

/// As `kill`, a service manager and Kubernetes end programs.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_ended_commits_and_leaves() {
    let node = Node::start().await;
    let address = node.address();
    node.stubs().create("t", 1).await;
    cli(address, &["produce", "t", "a"]);
    let mut command = Command::new(ropewalk_binary().unwrap());
    command.args(["consume", "t", "--group", "g"]).env("ROPEWALK_SERVER", address);
    let mut reader = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut printed = BufReader::new(reader.stdout.take().unwrap());
    block_in_place(|| printed.read_line(&mut line)).unwrap();
    assert_eq!(line, "a\n");
    let ended = Command::new("kill").args(["-TERM", &reader.id().to_string()]).status().unwrap();
    assert!(ended.success());
    assert!(block_in_place(|| reader.wait()).unwrap().success());
    let described = json(&cli(address, &["group", "describe", "g", "--format", "json"]));
    assert_eq!(described["offsets"][0]["committed"], 1);
    let gone = async || node.stubs().group("g").await.members.is_empty();
    eventually("it has left", gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_told_what_is_gone_that_their_group_was_to_read() {
    let node = Node::start().await;
    let address = node.address();
    node.stubs().create("t", 1).await;
    for value in ["a", "b", "c", "d"] {
        cli(address, &["produce", "t", value]);
    }
    cli(address, &["records", "delete", "t", "--partition", "0", "--before", "2"]);
    let (code, out, errors) = try_cli(address, &["consume", "t", "--group", "g", "-n", "2"]);
    assert_eq!((code, out.as_str()), (0, "c\nd\n"));
    assert_eq!(errors, "");

    // What the group has committed is gone now.
    cli(address, &["produce", "t", "e"]);
    cli(address, &["produce", "t", "f"]);
    cli(address, &["records", "delete", "t", "--partition", "0", "--before", "5"]);
    let (code, out, errors) = try_cli(address, &["consume", "t", "--group", "g", "-n", "1"]);
    assert_eq!((code, out.as_str()), (0, "f\n"));
    assert!(errors.contains("partition 0: the records from 4 to 4 are gone"), "{errors}");
}
