//! Reads the golden files of persisted formats, which lie under `tests/vectors`.

use std::fs;
use std::path::Path;

/// The byte strings of a golden file. Each begins with a line of `#` that names it; what follows
/// are bytes in hexadecimal.
pub(crate) fn read(file: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    let text = fs::read_to_string(directory.join(file)).unwrap();
    let mut vectors = vec![];
    for line in text.lines() {
        if line.starts_with('#') {
            vectors.push(vec![]);
            continue;
        }
        let vector: &mut Vec<u8> = vectors.last_mut().unwrap();
        let bytes = line.split_whitespace();
        vector.extend(bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    vectors
}
