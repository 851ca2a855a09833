//! `ropewalk storage inspect` and `ropewalk storage verify`.
//!
//! What the files mean is known in the store; here it is shown.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use ropewalk_storage::Result;
use ropewalk_storage::inspect::{self, Finding, Log, Progress as Done, Report, Severity};
use serde_json::{Value, json};

use super::args::{Format, StorageArgs};
use super::failure::Failure;
use super::output::{Table, document, line, stdout};
use super::progress::Progress;

/// The exit code when the broker will mend something at its next start.
const EXIT_REPAIRABLE: u8 = 5;
/// The exit code when something is damaged.
const EXIT_DAMAGED: u8 = 6;

type Look = fn(&Path, &mut dyn FnMut(Done)) -> Result<Report>;

pub(super) fn inspect(args: &StorageArgs) -> std::result::Result<(), Failure> {
    let report = run(args, "reading", inspect::inspect)?;
    if args.format == Format::Json {
        return document(&report_json(&report));
    }
    print_report(&report)?;
    if report.findings.is_empty() {
        return Ok(());
    }
    line("")?;
    print_findings(&report)?;
    line("\n`ropewalk storage verify` checks every byte")
}

pub(super) fn verify(args: &StorageArgs) -> std::result::Result<ExitCode, Failure> {
    let report = run(args, "checking", inspect::verify)?;
    match args.format {
        Format::Json => document(&json!({
            "path": report.path,
            "verdict": verdict(&report).0,
            "damage": report.count(Severity::Damage),
            "repairable": report.count(Severity::Repairable),
            "notes": report.count(Severity::Note),
            "findings": report.findings.iter().map(finding_json).collect::<Vec<_>>(),
            "totals": totals_json(&report),
        }))?,
        Format::Text => {
            print_totals(&report)?;
            line("")?;
            if !report.findings.is_empty() {
                print_findings(&report)?;
                line("")?;
            }
            line(verdict(&report).1)?;
        }
    }
    Ok(match report.worst() {
        Some(Severity::Damage) => ExitCode::from(EXIT_DAMAGED),
        Some(Severity::Repairable) => ExitCode::from(EXIT_REPAIRABLE),
        Some(Severity::Note) | None => ExitCode::SUCCESS,
    })
}

fn run(args: &StorageArgs, what: &'static str, look: Look) -> Result<Report> {
    let bar = Progress::of_bytes(what);
    look(&args.dir, &mut |progress| bar.set(progress.done, progress.total))
}

/// In one word, and in one line.
fn verdict(report: &Report) -> (&'static str, &'static str) {
    match report.worst() {
        Some(Severity::Damage) => {
            ("damaged", "damaged: bytes that count are gone or are not as they were written")
        }
        Some(Severity::Repairable) => {
            ("repairable", "nothing is lost: the broker mends what is listed at its next start")
        }
        Some(Severity::Note) | None => {
            ("sound", "sound: every byte that counts is as it was written")
        }
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Repairable => "repairable",
        Severity::Damage => "damage",
    }
}

fn print_findings(report: &Report) -> std::result::Result<(), Failure> {
    let mut findings: Vec<&Finding> = report.findings.iter().collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let mut out = stdout();
    for Finding { severity: kind, path, at, what } in findings {
        let place = at.map(|at| format!(" at byte {at}")).unwrap_or_default();
        writeln!(out, "{}: {}{place}: {what}", severity(*kind), path.display())?;
    }
    out.flush()?;
    Ok(())
}

fn finding_json(finding: &Finding) -> Value {
    json!({
        "severity": severity(finding.severity),
        "path": finding.path,
        "at": finding.at,
        "what": finding.what,
    })
}

/// A number, or nothing to be seen.
fn or_none<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn print_report(report: &Report) -> std::result::Result<(), Failure> {
    print_totals(report)?;
    line("")?;
    let mut files = Table::new([
        "JOURNAL FILE",
        "BYTES",
        "TURN",
        "FRAMES",
        "FRAME BYTES",
        "LSN",
        "NOT IN INDEX",
        "ACKED",
        "CHECKPOINT",
    ]);
    for file in &report.journal.files {
        files.row([
            name(&file.path),
            file.bytes.to_string(),
            file.turn.to_string(),
            file.frames.to_string(),
            file.frame_bytes.to_string(),
            or_none(file.lsns.map(|(first, last)| format!("{first}-{last}"))),
            file.newer.to_string(),
            file.acked.to_string(),
            file.checkpoint.to_string(),
        ]);
    }
    files.print()?;
    line("")?;
    let mut logs = Table::new([
        "GROUP",
        "LOG",
        "REPLICA",
        "START",
        "START OFFSET",
        "LAST",
        "END OFFSET",
        "COMMITTED",
        "UNDRAINED",
        "INLINE",
        "BYTES",
        "IN FILES",
        "BYTES",
        "ROWS",
        "FILES",
    ]);
    for log in &report.logs {
        logs.row([
            log.group.to_string(),
            log.number.to_string(),
            log.replica.0.to_string(),
            log.start_index.to_string(),
            log.start_offset.to_string(),
            or_none(log.last.map(|(index, _)| index)),
            or_none(log.last.map(|(_, offset)| offset)),
            log.committed.to_string(),
            log.undrained.to_string(),
            log.inline_chunks.to_string(),
            log.inline_bytes.to_string(),
            log.file_chunks.to_string(),
            log.file_bytes.to_string(),
            log.rows.to_string(),
            log.segments.len().to_string(),
        ]);
    }
    logs.print()?;
    print_segments(&report.logs)
}

fn print_segments(logs: &[Log]) -> std::result::Result<(), Failure> {
    if logs.iter().all(|log| log.segments.is_empty()) {
        return Ok(());
    }
    line("")?;
    let mut segments = Table::new(["GROUP", "LOG", "SEGMENT FILE", "BASE INDEX", "BYTES"]);
    for log in logs {
        for segment in &log.segments {
            segments.row([
                log.group.to_string(),
                log.number.to_string(),
                name(&segment.path),
                segment.base_index.to_string(),
                segment.bytes.to_string(),
            ]);
        }
    }
    segments.print()
}

/// What is told of a directory in either command.
fn totals(report: &Report) -> Vec<(&'static str, String)> {
    let identity = report.identity.as_ref();
    let journal: u64 = report.journal.files.iter().map(|file| file.bytes).sum();
    let mut totals = vec![
        ("directory", report.path.display().to_string()),
        ("node", or_none(identity.map(|identity| identity.node_id))),
        (
            "cluster",
            or_none(identity.and_then(|identity| Some(identity.cluster.as_ref()?.cluster_id))),
        ),
        ("number", or_none(report.directory.map(|number| format!("{number:016x}")))),
        ("journal", format!("{} files, {journal} bytes", report.journal.files.len())),
        ("acked frame", or_none(report.journal.acked)),
        ("frames to replay", report.journal.replayed_frames.to_string()),
        ("index/redo", format!("{} bytes", report.redo_bytes)),
    ];
    if let Some(index) = &report.index {
        totals.push(("checkpoint", index.checkpoint.to_string()));
        totals.push((
            "index",
            format!(
                "{} keys, {} frames, file {}, sequence {}, {} bytes pending, {} deleted logs",
                index.keys,
                index.frames,
                index.turn,
                index.sequence,
                index.pending_bytes,
                index.deleted_logs.len()
            ),
        ));
    }
    let store = format!(
        "{} files, {} bytes: a copy of the index; not read, as that would change it",
        report.store_files, report.store_bytes
    );
    totals.push(("index/sled", store));
    let segments = format!("{} files, {} bytes", report.segment_files, report.segment_bytes);
    totals.push(("segments", segments));
    totals.push(("logs", report.logs.len().to_string()));
    totals
}

fn print_totals(report: &Report) -> std::result::Result<(), Failure> {
    let totals = totals(report);
    let mut rows = totals.into_iter();
    let (name, value) = rows.next().unwrap_or_default();
    let mut table = Table::new([name, value.as_str()]);
    rows.for_each(|(name, value)| table.row([name.to_owned(), value]));
    table.print()
}

fn totals_json(report: &Report) -> Value {
    json!({
        "journal_files": report.journal.files.len(),
        "journal_bytes": report.journal.files.iter().map(|file| file.bytes).sum::<u64>(),
        "redo_bytes": report.redo_bytes,
        "store_files": report.store_files,
        "store_bytes": report.store_bytes,
        "segment_files": report.segment_files,
        "segment_bytes": report.segment_bytes,
        "logs": report.logs.len(),
    })
}

fn report_json(report: &Report) -> Value {
    let identity = report.identity.as_ref().map(|identity| {
        json!({
            "node_id": identity.node_id.0,
            "cluster_id": identity.cluster.as_ref().map(|cluster| cluster.cluster_id.to_string()),
        })
    });
    let index = report.index.as_ref().map(|index| {
        json!({
            "turn": index.turn,
            "sequence": index.sequence,
            "frames": index.frames,
            "base_bytes": index.base_bytes,
            "checkpoint": index.checkpoint,
            "keys": index.keys,
            "pending_bytes": index.pending_bytes,
            "deleted_logs": index.deleted_logs,
        })
    });
    json!({
        "path": report.path,
        "identity": identity,
        "directory": report.directory.map(|number| format!("{number:016x}")),
        "journal": journal_json(report),
        "index": index,
        "logs": report.logs.iter().map(log_json).collect::<Vec<_>>(),
        "totals": totals_json(report),
        "findings": report.findings.iter().map(finding_json).collect::<Vec<_>>(),
    })
}

fn journal_json(report: &Report) -> Value {
    let journal = &report.journal;
    let files = journal.files.iter().map(|file| {
        json!({
            "path": file.path,
            "bytes": file.bytes,
            "turn": file.turn,
            "frames": file.frames,
            "frame_bytes": file.frame_bytes,
            "first_lsn": file.lsns.map(|(first, _)| first),
            "last_lsn": file.lsns.map(|(_, last)| last),
            "not_in_index": file.newer,
            "acked": file.acked,
            "checkpoint": file.checkpoint,
        })
    });
    json!({
        "files": files.collect::<Vec<_>>(),
        "acked": journal.acked,
        "replayed_frames": journal.replayed_frames,
        "last_lsn": journal.last_lsn,
    })
}

fn log_json(log: &Log) -> Value {
    let segments = log.segments.iter().map(|segment| {
        json!({
            "path": segment.path,
            "base_index": segment.base_index,
            "bytes": segment.bytes,
        })
    });
    json!({
        "group": log.group.0,
        "log": log.number,
        "replica": log.replica.0,
        "start_index": log.start_index,
        "start_offset": log.start_offset.0,
        "last_index": log.last.map(|(index, _)| index),
        "end_offset": log.last.map(|(_, offset)| offset.0),
        "committed": log.committed,
        "undrained": log.undrained,
        "inline_chunks": log.inline_chunks,
        "inline_bytes": log.inline_bytes,
        "file_chunks": log.file_chunks,
        "file_bytes": log.file_bytes,
        "rows": log.rows,
        "segments": segments.collect::<Vec<_>>(),
    })
}
