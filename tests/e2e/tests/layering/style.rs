//! The measures of the house style: files, functions, lines, and words that must not be.

use std::fs;
use std::path::{Path, PathBuf};

const MAX_FILE_LINES: usize = 600;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_COLUMNS: usize = 100;
/// What must not stand in a library, and why.
const BANNED: [(&str, &str); 3] = [
    (".unwrap()", "an expect names the invariant, or an error is returned"),
    (concat!("to", "do!("), "what is not done is not there yet"),
    (concat!("unimpl", "emented!("), "what is not done is not there yet"),
];
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const SOURCES: [&str; 4] = ["proto", "server", "sdk-rust", "tests"];

/// Whether a whole file is a test's by its place: it may unwrap.
fn is_test_file(path: &Path) -> bool {
    let mut parts = path.iter().filter_map(|part| part.to_str());
    parts.any(|part| matches!(part, "tests" | "examples"))
}

/// The files of the modules that a file declares for tests only, without their endings.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let is_root = ["lib.rs", "main.rs", "mod.rs"].iter().any(|root| path.ends_with(root));
    let directory = if is_root { path.with_file_name("") } else { path.with_extension("") };
    let lines: Vec<&str> = text.lines().collect();
    let declared = lines.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]");
    let names = declared.filter_map(|pair| {
        let item = pair[1].trim().trim_start_matches("pub(crate) ");
        item.strip_prefix("mod ")?.strip_suffix(';')
    });
    names.map(|name| directory.join(name)).collect()
}

/// Everything that a source does not keep to, in words.
fn faults(path: &Path, text: &str, mut is_test: bool) -> Vec<String> {
    let mut found = Vec::new();
    let at = |line: usize, what: &str| format!("{}:{}: {what}", path.display(), line + 1);
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() >= MAX_FILE_LINES {
        found.push(at(lines.len(), &format!("the file has {} lines", lines.len())));
    }
    let mut function: Option<(usize, usize)> = None;
    for (number, line) in lines.iter().enumerate() {
        if line.chars().count() > MAX_COLUMNS && !is_unbreakable(line) {
            found.push(at(number, &format!("{} columns", line.chars().count())));
        }
        // Tests stand last in a file.
        is_test |= line.trim() == "#[cfg(test)]" && is_followed_by_tests(&lines, number);
        let code = line.split("//").next().unwrap_or_default();
        for (banned, why) in BANNED.iter().filter(|_| !is_test) {
            if code.contains(banned) {
                found.push(at(number, &format!("{banned}: {why}")));
            }
        }
        let indent = line.len() - line.trim_start().len();
        match function {
            // As rustfmt lays it out, a function ends with a brace in the column of its head.
            Some((start, column)) if indent == column && line.trim_start().starts_with('}') => {
                let length = number - start + 1;
                if length >= MAX_FUNCTION_LINES {
                    found.push(at(start, &format!("the function has {length} lines")));
                }
                function = None;
            }
            None if is_head(line) => function = Some((number, indent)),
            // A head without a body of its own lines.
            Some((start, column)) if indent == column && start != number && is_head(line) => {
                function = Some((number, column));
            }
            _ => {}
        }
        if function.is_some_and(|(start, _)| start == number)
            && line.trim_end().ends_with(['}', ';'])
        {
            function = None;
        }
    }
    found
}

fn is_head(line: &str) -> bool {
    let words =
        line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
    let words = words.trim_start_matches("pub ").trim_start_matches("const ");
    words.trim_start_matches("async ").starts_with("fn ")
}

fn is_followed_by_tests(lines: &[&str], at: usize) -> bool {
    let item = lines[at + 1..].iter().find(|line| !line.trim_start().starts_with("#["));
    item.is_some_and(|line| line.trim_start().starts_with("mod ") && line.ends_with('{'))
}

/// A link or a literal cannot be broken.
fn is_unbreakable(line: &str) -> bool {
    line.contains("://")
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !["target", "node_modules"].contains(&name) && !name.starts_with('.') {
            rust_files(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn sources_keep_to_the_house_style() {
    let root = Path::new(ROOT).canonicalize().unwrap();
    let mut files = Vec::new();
    for directory in SOURCES {
        rust_files(&root.join(directory), &mut files);
    }
    assert!(files.len() > 100, "the sources are where they were");
    let sources: Vec<_> = files
        .iter()
        .map(|file| (file.strip_prefix(&root).unwrap(), fs::read_to_string(file).unwrap()))
        .collect();
    let for_tests: Vec<_> =
        sources.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let is_test = |path: &Path| {
        let module = path.with_extension("");
        is_test_file(path) || for_tests.iter().any(|test| module.starts_with(test))
    };
    let faults: Vec<String> =
        sources.iter().flat_map(|(path, text)| faults(path, text, is_test(path))).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The measures see what they are there for.
#[test]
fn a_source_that_does_not_keep_to_it_is_found() {
    let of = |text: &str| faults(Path::new("x/src/x.rs"), text, false).len();
    let body = |lines: usize| "        call();\n".repeat(lines);
    let function =
        |lines: usize| format!("    pub(crate) async fn f() {{\n{}    }}\n", body(lines));
    assert_eq!(of(&function(67)), 0);
    assert_eq!(of(&function(68)), 1);
    assert_eq!(of(&format!("{}{}", function(60), function(60))), 0);
    assert_eq!(of(&format!("    fn a() {{}}\n    fn b();\n{}", function(67))), 0);
    assert_eq!(of(&"// a line\n".repeat(599)), 0);
    assert_eq!(of(&"// a line\n".repeat(600)), 1);
    assert_eq!(of(&format!("// {}\n", "ö".repeat(97))), 0);
    assert_eq!(of(&format!("// {}\n", "ö".repeat(98))), 1);
    for (banned, _) in BANNED {
        let line = format!("    let x = y{banned};\n");
        assert_eq!(of(&line), 1, "{banned}");
        assert_eq!(of(&format!("// as in {banned}\n")), 0);
        assert_eq!(of(&format!("#[cfg(test)]\nmod tests {{\n{line}}}\n")), 0);
        assert_eq!(of(&format!("#[cfg(test)]\nmod tests;\n{line}")), 1);
        assert!(faults(Path::new("x/src/tests.rs"), &line, true).is_empty());
    }
    let declares = "mod a;\n#[cfg(test)]\nmod b;\n";
    assert_eq!(test_modules(Path::new("x/src/lib.rs"), declares), [PathBuf::from("x/src/b")]);
    assert_eq!(test_modules(Path::new("x/src/c.rs"), declares), [PathBuf::from("x/src/c/b")]);
    assert!(is_test_file(Path::new("tests/e2e/tests/x.rs")));
    assert!(!is_test_file(Path::new("server/x/src/x.rs")));
}
