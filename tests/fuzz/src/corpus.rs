//! The inputs that others are made from: `corpus/<target>/`, out of the golden files.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ropewalk_core::batch::{BatchDraft, BatchHeader, RecordTimes};
use ropewalk_core::{
    Compression, Offset, ProducerId, ProducerSequence, ShortestTtl, Timestamp, TimestampType,
};
use ropewalk_storage::fuzzing;

use crate::targets;

/// The most inputs of a target.
const MOST: usize = 24;

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The corpus of a target, in the order of its names.
pub(crate) fn read(target: &str) -> Result<Vec<Vec<u8>>, String> {
    let dir = here().join("corpus").join(target);
    let read = || -> io::Result<Vec<Vec<u8>>> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(&dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        paths.sort();
        paths.iter().map(fs::read).collect()
    };
    read().map_err(|error| format!("cannot read the corpus in {}: {error}", dir.display()))
}

/// Makes the corpus anew.
pub(crate) fn write() -> io::Result<()> {
    let mut seeds = Vec::new();
    for name in ["storage-v1", "storage-v1-crashed"] {
        let dir = here().join("../vectors").join(name);
        let redo = fs::read(dir.join("index/redo"))?;
        let journals = files(&dir.join("journal"), "journal")?;
        let segments = files(&dir.join("segments/1"), "segment")?;
        seeds.extend(fuzzing::seeds(&journals, &redo, &segments));
    }
    seeds.push(("stamp".to_owned(), fuzzing::stamp()));
    for batch in batches() {
        let header = BatchHeader::read(&batch).map_err(io::Error::other)?;
        seeds.push(("records".to_owned(), batch[header.stored_len()..].to_vec()));
        seeds.push(("batch".to_owned(), batch));
    }
    // Only what is decoded leads anywhere.
    let all = targets::all();
    seeds.retain(|(name, bytes)| {
        all.iter().any(|target| target.name == name && (target.check)(bytes))
    });
    fs::remove_dir_all(here().join("corpus")).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    let names: BTreeSet<String> = seeds.iter().map(|(name, _)| name.clone()).collect();
    for name in names {
        let dir = here().join("corpus").join(&name);
        fs::create_dir_all(&dir)?;
        let own: BTreeSet<&Vec<u8>> =
            seeds.iter().filter(|(of, _)| *of == name).map(|(_, bytes)| bytes).collect();
        let step = own.len().div_ceil(MOST).max(1);
        for bytes in own.iter().step_by(step) {
            fs::write(dir.join(format!("{:08x}", crc32c::crc32c(bytes))), bytes)?;
        }
    }
    Ok(())
}

fn files(dir: &Path, ending: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == ending) {
            found.push(fs::read(path)?);
        }
    }
    Ok(found)
}

fn batches() -> Vec<Vec<u8>> {
    // Keys, values, times, headers, times to live: as producers write them.
    let payloads: [&[u8]; 5] = [
        b"",
        b"\x0a\x06\x0a\x01a\x1a\x011\x0a\x07\x1a\x012\x32\x02\x08\x01",
        b"\x0a\x00",
        b"\x0a\x0c\x1a\x05value\x32\x03\x08\xff\x01\x0a\x09\x0a\x03key\x1a\x02\xff\x00",
        b"\x0a\x0a\x0a\x01a\x1a\x011\x3a\x02\x08\x05\x0a\x04\x1a\x02\xff\x00",
    ];
    let sequence = ProducerSequence { producer: ProducerId(19), epoch: 2, first: 300 };
    let draft = |(count, payload): (usize, &&[u8])| {
        let sequence = (count % 2 == 1).then_some(sequence);
        let count = u32::try_from(count).unwrap_or(0);
        let shortest_ttl = ShortestTtl::from_millis(5_000).filter(|_| payload.contains(&b'\x3a'));
        let times = RecordTimes { newest: Some(Timestamp(7)), untimed: true, shortest_ttl };
        let draft = BatchDraft::new(
            payload,
            count,
            Compression::None,
            TimestampType::Create,
            times,
            sequence,
        );
        draft.seal(Offset(5), 2, 9, Timestamp(1_700_000_000_000_000_000))
    };
    payloads.iter().enumerate().map(draft).collect()
}
