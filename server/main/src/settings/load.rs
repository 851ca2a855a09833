//! Reads the sources of settings, one over the other, and says everything that is wrong with them.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use toml::{Table, Value};

use super::Settings;
use super::flags;
use super::table::{SETTINGS, Setting, find};

/// Begins the names of the variables that are read.
const PREFIX: &str = "ROPEWALK_";
/// Names the file where no flag does.
const CONFIG_VARIABLE: &str = "ROPEWALK_CONFIG";
/// Read by consensus, and only in a build for tests that are to find bugs.
const PLANT_VARIABLE: &str = "ROPEWALK_PLANT";
/// Variables that are not settings of a broker: the client commands' and the tests'.
const OTHER_VARIABLES: [&str; 3] = [CONFIG_VARIABLE, "ROPEWALK_SERVER", "ROPEWALK_BIN"];
/// How alike two names must be, of 1, for one to be taken for a slip of the other.
const ALIKE: f64 = 0.7;

/// What is wrong with the settings: everything, so that it can be put right at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SettingsError {
    problems: Vec<String>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// The defaults.
    pub(crate) fn defaults() -> Self {
        let mut settings = Self::default();
        for setting in SETTINGS {
            let set = setting.field.set(&mut settings, setting.default);
            set.expect("a default is a good value: the tests load them");
        }
        settings
    }

    /// The settings for these flags and variables, and the file that they name.
    pub(crate) fn load(
        matches: &ArgMatches,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let mut loader = Loader { settings: Self::defaults(), problems: Vec::new() };
        let variables = ours(variables, &mut loader.problems);
        let named = variables.iter().find(|(name, _)| name == CONFIG_VARIABLE);
        if let Some(path) = flags::config_file(matches) {
            loader.file(&path, "--config");
        } else if let Some((_, path)) = named.filter(|(_, path)| !path.is_empty()) {
            loader.file(Path::new(path), CONFIG_VARIABLE);
        }
        for (name, value) in &variables {
            loader.variable(name, value);
        }
        for setting in SETTINGS {
            if let Some(value) = flags::value(matches, setting) {
                loader.set(setting, &value, || format!("--{} {value}", setting.flag));
            }
        }
        loader.finish()
    }
}

/// The variables that may be ours, as text, in the order of their names.
fn ours(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<String>,
) -> Vec<(String, String)> {
    let mut ours = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        match value.into_string() {
            Ok(value) => ours.push((name.to_owned(), value)),
            Err(_) => problems.push(format!("{name}: expected text in UTF-8")),
        }
    }
    ours.sort();
    ours
}

struct Loader {
    settings: Settings,
    problems: Vec<String>,
}

impl Loader {
    fn set(&mut self, setting: &Setting, value: &str, source: impl FnOnce() -> String) {
        if let Err(expected) = setting.field.set(&mut self.settings, value) {
            self.problems.push(format!("{}: expected {expected}", source()));
        }
    }

    fn variable(&mut self, name: &str, value: &str) {
        let names_bug = cfg!(feature = "planted") && name == PLANT_VARIABLE;
        if OTHER_VARIABLES.contains(&name) || is_service_link(name) || names_bug {
            return;
        }
        match SETTINGS.iter().find(|setting| setting.variable() == name) {
            Some(setting) => self.set(setting, value, || format!("{name}={value}")),
            None => {
                let known: Vec<_> = SETTINGS.iter().map(Setting::variable).collect();
                let hint = nearest(name, known.iter().map(String::as_str), "unset it");
                self.problems.push(format!("{name}: there is no such setting; {hint}"));
            }
        }
    }

    fn file(&mut self, path: &Path, named_by: &str) {
        let file = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let problem = format!(
                    "{file}, named by {named_by}, cannot be read: {error}; name a TOML file, or \
                     leave {named_by} out to run with the defaults"
                );
                return self.problems.push(problem);
            }
        };
        match text.parse::<Table>() {
            Ok(table) => self.table(&table, path.to_path_buf()),
            Err(error) => self.problems.push(format!("{file} is not TOML: {error}")),
        }
    }

    fn table(&mut self, table: &Table, path: PathBuf) {
        let file = path.display();
        for (section, value) in table {
            let known = || SETTINGS.iter().map(|setting| setting.parts().0);
            if !known().any(|known| known == section) {
                let hint = nearest(section, known(), "remove it");
                self.problems.push(format!("{file}: there is no section [{section}]; {hint}"));
                continue;
            }
            let Some(entries) = value.as_table() else {
                let problem = format!("{file}: {section}: expected a section, [{section}]");
                self.problems.push(problem);
                continue;
            };
            for (name, value) in entries {
                self.entry(&path, &format!("{section}.{name}"), value);
            }
        }
    }

    fn entry(&mut self, path: &Path, key: &str, value: &Value) {
        let file = path.display();
        let Some(setting) = find(key) else {
            let hint = nearest(key, SETTINGS.iter().map(|setting| setting.key), "remove it");
            return self.problems.push(format!("{file}: there is no setting {key}; {hint}"));
        };
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => value.to_string(),
            Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
                let problem = format!("{file}: {key} = {value}: expected a single value");
                return self.problems.push(problem);
            }
        };
        self.set(setting, &text, || format!("{file}: {key} = {value}"));
    }

    fn finish(mut self) -> Result<Settings, SettingsError> {
        let server = &self.settings.server;
        if server.listen == server.admin_listen && !server.listen.ends_with(":0") {
            self.problems.push(format!(
                "server.listen and server.admin_listen are both {}: expected two different \
                 addresses; change one with --listen or --admin-listen",
                server.listen
            ));
        }
        if self.problems.is_empty() {
            Ok(self.settings)
        } else {
            Err(SettingsError { problems: self.problems })
        }
    }
}

/// Whether Kubernetes sets a variable of this form in every pod beside a service whose name begins
/// with `ropewalk`.
fn is_service_link(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    !name.contains("__")
        && (name.ends_with("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || name.ends_with("_PORT")
            || name
                .split_once("_PORT_")
                .is_some_and(|(_, rest)| rest.starts_with(|first: char| first.is_ascii_digit())))
}

/// What to do about an unknown name.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>, otherwise: &str) -> String {
    known
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(
            || format!("{otherwise} (ropewalk serve --help lists all)"),
            |(_, known)| format!("did you mean {known}?"),
        )
}

#[cfg(test)]
mod tests;
