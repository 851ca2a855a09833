//! The command line against a real broker: what it prints where, and how it ends.

use std::process::{Command, Output, Stdio};

use ropewalk_harness::{Broker, ropewalk_binary};
use tokio::task::block_in_place;

/// Runs a command, with text on its standard input.
fn run(server: &str, input: &str, args: &[&str]) -> (i32, String, String) {
    let child = Command::new(ropewalk_binary().unwrap())
        .args(args)
        .env("ROPEWALK_SERVER", server)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn records_go_in_and_come_out_again() {
    let broker = Broker::start().await.unwrap();
    let run = |input: &str, args: &[&str]| {
        let (code, out, errors) = block_in_place(|| run(broker.address(), input, args));
        assert_eq!(code, 0, "{args:?}: {errors}");
        out
    };
    run("", &["topic", "create", "t", "--partitions", "3", "--set", "retention=1h"]);
    let produce = ["produce", "t", "--key-separator", ":", "--partition", "1", "--format", "json"];
    let acked = run("k1:v1\nk2:v2\n", &produce);
    assert_eq!(acked, "{\"partition\":1,\"offset\":0}\n{\"partition\":1,\"offset\":1}\n");
    run("", &["produce", "t", "--partition", "2", "a value"]);
    let again = "again and ".repeat(100);
    run("", &["topic", "update", "t", "--set", "compression=lz4"]);
    let described = run("", &["topic", "describe", "t"]);
    assert!(described.lines().any(|line| line.split_whitespace().eq(["compression", "lz4"])));
    run(&again, &["produce", "t", "--partition", "0", "--compression", "zstd:9"]);
    assert_eq!(run("", &["consume", "t", "-p", "0", "-n", "1"]), format!("{again}\n"));
    run("", &["produce", "t", "--partition", "0", "--ttl", "1h30m", "for a while"]);
    let one = run("", &["consume", "t", "-p", "0", "-o", "1", "-n", "1", "--format", "json"]);
    assert!(one.contains(r#""ttl":"5400s""#), "{one}");
    run("", &["records", "delete", "t", "--partition", "0", "--before", "end"]);
    let format = ["consume", "t", "--until", "caught-up", "-f", "%t/%p/%o %k=%v\\n"];
    let read = run("", &format);
    let mut lines: Vec<_> = read.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["t/1/0 k1=v1", "t/1/1 k2=v2", "t/2/0 =a value"]);
    let one = run("", &["consume", "t", "-o", "earliest", "-n", "1", "--format", "json"]);
    assert_eq!(one.lines().count(), 1);
    let topics: serde_json::Value =
        serde_json::from_str(&run("", &["topic", "list", "--format", "json"])).unwrap();
    assert_eq!(topics[0]["settings"]["retention"], "1h");
    run("", &["topic", "update", "t", "--partitions", "4", "--set", "segment_age=1d"]);
    run("", &["records", "delete", "t", "--partition", "1", "--before", "1"]);
    assert!(run("", &["offsets", "t"]).contains("1          1         2       1"));
    assert!(run("", &["cluster"]).contains(broker.address()));
    run("", &["health"]);
    run("", &["topic", "delete", "t"]);
    assert!(run("", &["completions", "bash"]).contains("_ropewalk()"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_says_what_went_wrong_and_the_message_what_to_do() {
    let broker = Broker::start().await.unwrap();
    for (args, code, hint) in [
        (&["topic", "describe", "none"][..], 4, "topic list"),
        (&["topic", "create", "not a name"], 1, "use only letters"),
        (&["topic", "create", "x", "--set", "retntion=1h"], 2, "retention"),
        (&["health", "--server", "127.0.0.1:1"], 3, "is a broker running"),
        (&["serve", "--data-dri", "x"], 2, "--data-dir"),
    ] {
        let (actual, out, errors) = block_in_place(|| run(broker.address(), "", args));
        assert_eq!((actual, out.as_str()), (code, ""), "{args:?}: {errors}");
        assert!(errors.contains(hint), "{args:?}: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_is_inspected_and_verified() {
    let data = tempfile::tempdir().unwrap();
    let mut broker = Broker::builder().data_dir(data.path()).start().await.unwrap();
    let server = broker.address().to_owned();
    let run = |args: &[&str]| block_in_place(|| run(&server, "", args));
    let dir = broker.data_dir().to_str().unwrap().to_owned();
    let verify = ["storage", "verify", dir.as_str(), "--output", "json"];
    run(&["topic", "create", "t", "--partitions", "2"]);
    for partition in ["0", "1"] {
        run(&["produce", "t", "--partition", partition, &"x".repeat(9_000)]);
    }
    let (code, out, errors) = run(&verify);
    assert_eq!((code, out.as_str()), (1, ""), "{errors}");
    assert!(errors.contains("in use by a broker: stop it first"), "{errors}");

    broker.kill9().await.unwrap();
    let (code, out, errors) = run(&verify);
    assert!(code == 0 || code == 5, "{out}{errors}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["damage"], 0);

    broker.restart().await.unwrap();
    broker.terminate().await.unwrap();
    let (code, out, errors) = run(&["storage", "verify", &dir]);
    assert!(code == 0 && out.contains("sound: every byte"), "{out}{errors}");
    let (code, out, errors) = run(&["storage", "inspect", &dir, "--format", "json"]);
    assert_eq!(code, 0, "{errors}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(report["logs"].as_array().unwrap().len() > 2, "{out}");
    let logs = report["logs"].as_array().unwrap();
    let segment = logs.iter().find_map(|log| log["segments"][0]["path"].as_str()).unwrap();
    let (code, out, errors) = run(&["storage", "inspect", &dir]);
    assert!(code == 0 && out.contains("index/sled"), "{out}{errors}");

    let mut bytes = std::fs::read(segment).unwrap();
    bytes[60] ^= 1;
    std::fs::write(segment, bytes).unwrap();
    let (code, out, errors) = run(&["storage", "verify", &dir]);
    let told = format!("damage: {segment} at byte 0: ");
    assert!(code == 6 && out.contains(&told), "{out}{errors}");
    let (code, _, errors) = run(&["storage", "verify", "/dev/null"]);
    assert!(code == 1 && errors.contains("no data directory"), "{errors}");
}
