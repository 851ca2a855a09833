//! The `ropewalk` binary.

mod admin;
#[cfg(test)]
mod docs;
mod listen;
mod serve;
mod settings;
mod telemetry;

use std::process::ExitCode;

use clap::Command;
use settings::{Settings, serve_command, wants_settings_printed, with_flags};

fn main() -> ExitCode {
    let root = Command::new("ropewalk")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A message service over gRPC; without a command, a broker is run")
        .args_conflicts_with_subcommands(true);
    let matches = with_flags(root).subcommand(serve_command()).get_matches();
    let matches = matches.subcommand_matches("serve").unwrap_or(&matches);
    let settings = match Settings::load(matches, std::env::vars_os()) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    if wants_settings_printed(matches) {
        print!("{}", settings.to_toml());
        return ExitCode::SUCCESS;
    }
    match serve::serve(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
