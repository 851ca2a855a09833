use std::io::Write;

use clap::Command;

use super::*;
use crate::settings::{StorageEngine, with_flags};

fn matches(flags: &[&str]) -> ArgMatches {
    let command = with_flags(Command::new("serve").no_binary_name(true));
    command.try_get_matches_from(flags).expect("flags that exist")
}

fn load(flags: &[&str], variables: &[(&str, &str)]) -> Result<Settings, String> {
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    Settings::load(&matches(flags), variables).map_err(|error| error.to_string())
}

fn load_file(text: &str) -> Result<Settings, String> {
    let file = file(text);
    let path = file.path().display().to_string();
    load(&["--config", &path], &[]).map_err(|error| error.replace(&path, "FILE"))
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("room for a few bytes");
    file
}

#[test]
fn without_any_source_the_defaults_hold() {
    let settings = load(&[], &[("PATH", "/bin"), ("ROPEWALKER_X", "1")]).expect("defaults");
    assert_eq!(settings, Settings::defaults());
    assert_eq!(settings.server.listen, "127.0.0.1:9092");
    assert_eq!(settings.memory.append_budget, 32 << 20);
    assert_eq!(settings.telemetry.otlp_endpoint, None);
}

#[test]
fn a_later_source_goes_over_an_earlier_one() {
    let file = file("[server]\nlisten = '127.0.0.1:1'\nnode_id = 1\n[topics]\nauto_create = false");
    let path = file.path().to_str().expect("UTF-8");
    let variables = [
        ("ROPEWALK_CONFIG", path),
        ("ROPEWALK_SERVER__LISTEN", "127.0.0.1:2"),
        ("ROPEWALK_SERVER__NODE_ID", "2"),
    ];
    let settings = load(&["--node-id", "3", "--storage", "memory"], &variables).expect("good");
    assert!(!settings.topics.auto_create);
    assert_eq!(settings.server.listen, "127.0.0.1:2");
    assert_eq!(settings.server.node_id, 3);
    assert_eq!(settings.storage.engine, StorageEngine::Memory);
}

#[test]
fn every_setting_can_come_from_every_source() {
    let defaults = Settings::defaults();
    let text = defaults.to_toml();
    assert_eq!(load_file(&text).as_ref(), Ok(&defaults));
    for setting in SETTINGS {
        let flag = format!("--{}", setting.flag);
        assert_eq!(load(&[&flag, setting.default], &[]).as_ref(), Ok(&defaults));
        let variable = setting.variable();
        assert_eq!(load(&[], &[(&variable, setting.default)]).as_ref(), Ok(&defaults));
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let error = load_file("[server]\nlissten = 'a:1'\n[strage]\n[x]\n").expect_err("unknown");
    let expected = "FILE: there is no setting server.lissten; did you mean server.listen?\n\
                    FILE: there is no section [strage]; did you mean storage?\n\
                    FILE: there is no section [x]; remove it (ropewalk serve --help lists all)";
    assert_eq!(error, expected);
    let error = load(&[], &[("ROPEWALK_SERVER_LISTEN", "a:1")]).expect_err("one _ only");
    let expected = "ROPEWALK_SERVER_LISTEN: there is no such setting; \
                    did you mean ROPEWALK_SERVER__LISTEN?";
    assert_eq!(error, expected);
}

#[test]
fn a_bad_value_is_named_with_its_source_and_what_was_expected() {
    let error = load_file("[server]\nlisten = 5\nnode_id = [1]\n").expect_err("bad");
    let expected = "FILE: server.listen = 5: expected HOST:PORT, such as 127.0.0.1:9092 or \
                    [::1]:9092\nFILE: server.node_id = [1]: expected a single value";
    assert_eq!(error, expected);
    let error = load(&["--drain-timeout", "10s"], &[("ROPEWALK_SERVER__NODE_ID", "0")]);
    let expected = "ROPEWALK_SERVER__NODE_ID=0: expected a whole number between 1 and \
                    4294967295, or `hostname`\n\
                    --drain-timeout 10s: expected between 0s and 9s";
    assert_eq!(error.expect_err("bad"), expected);
    let error = load(&["--storage", "tape"], &[]).expect_err("bad");
    assert_eq!(error, "--storage tape: expected disk or memory");
}

#[test]
fn a_file_that_is_none_is_refused() {
    let error = load(&["--config", "/nowhere.toml"], &[]).expect_err("no file");
    assert!(error.starts_with("/nowhere.toml, named by --config, cannot be read: "), "{error}");
    let error = load_file("server = 5\n[log\n").expect_err("no TOML");
    assert!(error.starts_with("FILE is not TOML: "), "{error}");
    let error = load_file("server = 5\n").expect_err("no section");
    assert_eq!(error, "FILE: server: expected a section, [server]");
}

#[test]
fn variables_of_others_are_let_be() {
    let variables = [
        ("ROPEWALK_SERVER", "localhost:9092"),
        ("ROPEWALK_BIN", "/usr/bin/ropewalk"),
        ("ROPEWALK_CONFIG", ""),
        ("ROPEWALK_PORT", "tcp://10.0.0.1:9092"),
        ("ROPEWALK_PORT_9092_TCP_ADDR", "10.0.0.1"),
        ("ROPEWALK_SERVICE_HOST", "10.0.0.1"),
        ("ROPEWALK_HEADLESS_SERVICE_PORT_GRPC", "9092"),
    ];
    assert_eq!(load(&[], &variables), Ok(Settings::defaults()));
}

#[test]
fn one_address_does_not_serve_two_ports() {
    let both = ["--listen", "127.0.0.1:7", "--admin-listen", "127.0.0.1:7"];
    assert!(load(&both, &[]).expect_err("a clash").contains("two different addresses"));
    load(&["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"], &[]).expect("no clash");
}
