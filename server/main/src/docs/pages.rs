//! What the pages that people read name is there: other pages and their headings, commands with
//! their flags, settings, options of the SDKs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ropewalk::Setting;

use crate::settings::is_known;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The pages under `docs/`, and those beside the code that lead to them.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).expect("docs/ is there");
    let docs = docs.map(|entry| entry.expect("docs/ can be read").path());
    let mut pages: Vec<_> = docs.filter(|path| path.extension() == Some("md".as_ref())).collect();
    let here = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"];
    for beside in here.into_iter().chain(["sdk-go/README.md", "sdk-go/MIGRATION.md"]) {
        pages.push(root().join(beside));
    }
    pages.sort();
    pages
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands in backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The targets of links that lead to a file of the repository.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target).filter(|target| !target.contains("://"))
}

/// The headings of a page, as a link names them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| line.strip_prefix('#'));
    let anchor = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// The lines that are to be typed, and the commands within the text. A line that ends with a
/// backslash goes on in the next one.
fn commands(page: &str) -> Vec<String> {
    let page = page.replace("\\\n", " ");
    let typed = page.lines().filter(|line| line.starts_with("    ") || line.starts_with("./"));
    let typed = typed.map(|line| line.trim().trim_start_matches("./"));
    let all = typed.chain(spans(&page)).filter(|text| text.starts_with("ropewalk "));
    all.map(str::to_owned).collect()
}

/// Why a command is none: the first word that the command line does not know. What stands for a
/// value in it is not looked at.
fn unknown_word(line: &str) -> Option<String> {
    let mut command = crate::root();
    command.build();
    let mut words = line.split_whitespace().skip(1).peekable();
    while let Some(word) = words.next_if(|word| command.find_subcommand(word).is_some()) {
        command = command.find_subcommand(word).cloned()?;
    }
    let takes_words = command.get_positionals().next().is_some();
    if let Some(word) = words.peek()
        && command.has_subcommands()
        && !takes_words
        && !word.starts_with('-')
    {
        return Some((*word).to_owned());
    }
    // What follows `--` is another program's.
    let words: Vec<_> = words.take_while(|word| *word != "--" && *word != "#").collect();
    for (at, word) in words.iter().enumerate() {
        let Some(flag) = word.strip_prefix("--") else { continue };
        let is_known = command.get_arguments().any(|known| known.get_long() == Some(flag));
        let assigned = words.get(at + 1).filter(|_| flag == "set");
        let setting = assigned.map(|value| value.split('=').next().unwrap_or_default());
        let is_setting = setting.is_none_or(|name| Setting::ALL.iter().any(|it| it.name() == name));
        if !is_known || !is_setting {
            return Some((*word).to_owned());
        }
    }
    None
}

/// A table's cells below each of its headings: heading, cell.
fn cells(page: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut headings = Vec::new();
    for line in page.lines() {
        let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix('|')) else {
            if !line.starts_with("|-") {
                headings.clear();
            }
            continue;
        };
        let row: Vec<_> = row.split('|').map(str::trim).collect();
        if headings.is_empty() {
            headings = row;
        } else {
            found.extend(headings.iter().copied().zip(row));
        }
    }
    found
}

/// All of the sources below a folder.
fn sources(folder: &str, extension: &str) -> String {
    let mut folders = vec![root().join(folder)];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension() == Some(extension.as_ref()) {
                text.push_str(&read(&path));
            }
        }
    }
    text
}

#[test]
fn links_lead_to_files_and_headings_that_are_there() {
    let mut seen = 0;
    for path in pages() {
        let page = read(&path);
        for link in links(&page) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = path.parent().expect("a page is in a folder");
            let target = if file.is_empty() { path.clone() } else { folder.join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
            let is_there = anchor.is_empty() || anchors(&read(&target)).contains(anchor);
            assert!(is_there, "{}: {link} names no heading", path.display());
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} links were found");
}

#[test]
fn the_readme_leads_to_every_page() {
    let readme = read(&root().join("README.md"));
    for page in pages().iter().filter(|page| page.parent() == Some(&root().join("docs"))) {
        let name = page.file_name().and_then(|name| name.to_str()).expect("a page has a name");
        let link = format!("](docs/{name})");
        assert!(readme.contains(&link), "README.md does not name docs/{name}");
    }
}

#[test]
fn commands_and_their_flags_are_there() {
    let mut seen = 0;
    for path in pages() {
        for command in commands(&read(&path)) {
            let unknown = unknown_word(&command);
            assert_eq!(unknown, None, "{}: {command}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} commands were found: is the form of the pages another one?");
}

#[test]
fn a_command_that_is_none_is_found() {
    for (line, word) in [
        ("ropewalk topic make orders", "make"),
        ("ropewalk topic create orders --retention 7d", "--retention"),
        ("ropewalk topic create orders --set retention_tim=7d", "--set"),
        ("ropewalk serve --node 1", "--node"),
    ] {
        assert_eq!(unknown_word(line).as_deref(), Some(word), "{line}");
    }
    assert_eq!(unknown_word("ropewalk dev --nodes 3 -- --what-is-this"), None);
    assert_eq!(unknown_word("ropewalk cluster transfer TOPIC PARTITION --to 3"), None);
}

/// What stands beside Kafka's settings is what there is.
#[test]
fn settings_beside_those_of_kafka_are_there() {
    let page = read(&root().join("docs/kafka.md"));
    let (go, rust) = (sources("sdk-go", "go"), sources("sdk-rust/src", "rs"));
    let mut seen = BTreeSet::new();
    for (heading, cell) in cells(&page) {
        for name in spans(cell) {
            let is_there = match heading {
                "broker setting" => is_known(name),
                "topic setting" => Setting::ALL.iter().any(|setting| setting.name() == name),
                "Go" => {
                    let function = |start: &str| go.contains(&format!("{start} {name}("));
                    function("\nfunc") || function(")")
                }
                "Rust" => {
                    rust.contains(&format!("pub fn {name}("))
                        || rust.contains(&format!("pub fn {name}<"))
                }
                _ => continue,
            };
            assert!(is_there, "docs/kafka.md names {name} as a {heading}, and there is none");
            seen.insert(heading);
        }
    }
    assert_eq!(seen.len(), 4, "of some kind there was nothing: {seen:?}");
}

/// The page of topics has each of their settings.
#[test]
fn every_setting_of_a_topic_is_told() {
    let page = read(&root().join("docs/topics.md"));
    let told: BTreeSet<_> =
        cells(&page).iter().filter(|(heading, _)| *heading == "setting").map(|c| c.1).collect();
    let told: BTreeSet<_> = told.iter().flat_map(|cell| spans(cell)).collect();
    let known: BTreeSet<_> = Setting::ALL.iter().map(|setting| setting.name()).collect();
    assert_eq!(told, known);
}
