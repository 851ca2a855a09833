//! The flags of `ropewalk serve`, from the table.

use std::path::PathBuf;

use clap::builder::OsStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::table::{SETTINGS, Setting};

const CONFIG: &str = "config";
const PRINT: &str = "print-settings";

/// The command `serve`.
pub(crate) fn serve_command() -> Command {
    with_flags(Command::new("serve").about("Run a broker"))
}

/// Adds the flags of `ropewalk serve` to a command.
///
/// The values are taken as they come: `Settings::load` judges them, as it judges those of the other
/// sources, and in the same words.
pub(crate) fn with_flags(command: Command) -> Command {
    let config =
        Arg::new(CONFIG).long(CONFIG).value_name("FILE").value_parser(value_parser!(PathBuf)).help(
            "A TOML file with settings; variables and flags go over it [env: ROPEWALK_CONFIG]",
        );
    let print = Arg::new(PRINT)
        .long(PRINT)
        .action(ArgAction::SetTrue)
        .help("Print the settings that would be used, as TOML, and exit");
    command.arg(config).arg(print).args(SETTINGS.iter().map(flag))
}

fn flag(setting: &'static Setting) -> Arg {
    let variable = setting.variable();
    let help = match setting.default {
        "" => format!("{} [env: {variable}]", setting.help),
        default => format!("{} [default: {default}] [env: {variable}]", setting.help),
    };
    Arg::new(setting.key)
        .long(setting.flag)
        .value_name(setting.value_name)
        .value_parser(OsStringValueParser::new())
        .help_heading(heading(setting.parts().0))
        .help(help)
}

/// The heading of a section in the help.
fn heading(section: &'static str) -> &'static str {
    match section {
        "server" => "Server",
        "storage" => "Storage",
        "memory" => "Memory",
        "topics" => "Topics",
        "log" => "Log",
        "telemetry" => "Telemetry",
        other => other,
    }
}

/// Whether the settings are to be printed, instead of a broker started.
pub(crate) fn wants_settings_printed(matches: &ArgMatches) -> bool {
    matches.get_flag(PRINT)
}

/// The file that `--config` names.
pub(super) fn config_file(matches: &ArgMatches) -> Option<PathBuf> {
    matches.get_one(CONFIG).cloned()
}

/// What the flag of a setting was given. Bytes that are no UTF-8 are shown as such, and refused by
/// every setting that they would matter to.
pub(super) fn value(matches: &ArgMatches, setting: &Setting) -> Option<String> {
    let value = matches.get_one::<std::ffi::OsString>(setting.key)?;
    Some(value.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Command {
        let root = Command::new("ropewalk").args_conflicts_with_subcommands(true);
        with_flags(root).subcommand(serve_command()).subcommand(Command::new("topic"))
    }

    #[test]
    fn the_flags_work_with_and_without_the_command() {
        root().debug_assert();
        let matches = root().get_matches_from(["ropewalk", "--listen", "a:1"]);
        assert_eq!(value(&matches, &SETTINGS[0]).as_deref(), Some("a:1"));
        let matches = root().get_matches_from(["ropewalk", "serve", "--listen=a:1"]);
        let matches = matches.subcommand_matches("serve").expect("it was named");
        assert_eq!(value(matches, &SETTINGS[0]).as_deref(), Some("a:1"));
        assert!(root().try_get_matches_from(["ropewalk", "--listen", "a:1", "topic"]).is_err());
    }

    #[test]
    fn a_forgotten_value_does_not_eat_the_next_flag() {
        let words = ["ropewalk", "--data-dir", "--listen", "a:1"];
        assert!(root().try_get_matches_from(words).is_err());
    }
}
