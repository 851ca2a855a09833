//! Checks the pages under `docs/` that are generated, and writes them when asked; and what all
//! pages name: other pages, commands, settings.

mod pages;

use std::path::PathBuf;

/// The variable that has the pages written instead of checked.
const UPDATE: &str = "UPDATE_DOCS";

fn path(page: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page)
}

/// Fails unless the page is this text.
pub(crate) fn check_page(page: &str, text: &str) {
    let path = path(page);
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, text).expect("docs/ can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "docs/{page} is not what the code gives; run: {UPDATE}=1 cargo test -p ropewalk-server"
    );
}

/// Fails unless the page has this text between the lines `<!-- NAME -->` and `<!-- /NAME -->`.
pub(crate) fn check_part(page: &str, name: &str, text: &str) {
    let found = std::fs::read_to_string(path(page)).expect("the page exists");
    let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = found.split_once(&start).expect("the page has the first mark");
    let (_, after) = rest.split_once(&end).expect("the page has the second mark");
    check_page(page, &format!("{before}{start}{text}{end}{after}"));
}
