//! The settings written out: as TOML for a person who asks, and as the pages of `docs/settings.md`.

use super::Settings;
use super::table::SETTINGS;

impl Settings {
    /// These settings as a TOML file that gives them again. What is unset is a comment.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut current = "";
        for setting in SETTINGS {
            let (section, name) = setting.parts();
            if section != current {
                let gap = if current.is_empty() { "" } else { "\n" };
                text.push_str(&format!("{gap}[{section}]\n"));
                current = section;
            }
            match setting.field.literal(self) {
                Some(literal) => text.push_str(&format!("{name} = {literal}\n")),
                None => text.push_str(&format!("# {name} is not set\n")),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTRODUCTION: &str = "\
# Settings of `ropewalk serve`

<!-- Generated from the table of settings. After a change there:
     UPDATE_DOCS=1 cargo test -p ropewalk-server -->

The broker runs without any. A value is looked for in four places, and a later one goes over an
earlier one:

1. the default;
2. a TOML file, named by `--config FILE` or by the variable `ROPEWALK_CONFIG`;
3. the environment: `ROPEWALK_SECTION__NAME`;
4. the flag.

A name that is not below is refused, in the file and in the environment, with the nearest one that
is. `ropewalk serve --print-settings` prints what would be used, in the form of the file.

Times are whole numbers with a unit (`ms`, `s`, `m`, `h`, `d`), such as `250ms` or `1h30m`. Sizes
are whole numbers of bytes, or of `KiB`, `MiB`, `GiB` or `TiB`. An unset value may also be given as
an empty one.
";

    fn reference() -> String {
        let mut text = INTRODUCTION.to_owned();
        let mut current = "";
        for setting in SETTINGS {
            let (section, name) = setting.parts();
            if section != current {
                text.push_str(&format!(
                    "\n## `[{section}]`\n\n| key | flag and variable | default | |\n\
                     |-|-|-|-|\n"
                ));
                current = section;
            }
            let default = match setting.default {
                "" => "unset".to_owned(),
                default => format!("`{default}`"),
            };
            text.push_str(&format!(
                "| `{name}` | `--{} {}`<br>`{}` | {default} | {}. |\n",
                setting.flag,
                setting.value_name,
                setting.variable(),
                setting.help,
            ));
        }
        text
    }

    #[test]
    fn the_page_is_what_the_table_gives() {
        crate::docs::check_page("settings.md", &reference());
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        let text = Settings::defaults().to_toml();
        let table: toml::Table = text.parse().expect("it is TOML");
        for setting in SETTINGS.iter().filter(|setting| !setting.default.is_empty()) {
            let (section, name) = setting.parts();
            assert!(table[section].get(name).is_some(), "{} is missing", setting.key);
        }
        assert!(text.contains("# threads is not set"), "{text}");
    }
}
