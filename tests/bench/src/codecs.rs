//! What the codecs are worth on batches of log lines: how small they get, and at what rate.
//!
//! One thread, no broker: this is what a producer and a consumer pay. The lines are made up from a
//! number, as access logs are: few hosts, paths and agents, of which some are frequent, and numbers
//! that never repeat.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use ropewalk::Compression;
use ropewalk_core::compress::{compress_at, decompress};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::records::{Noise, encode};
use crate::wire::Failure;

/// Sizes of batches, in bytes of records.
const BATCHES: [usize; 3] = [4 << 10, 64 << 10, 512 << 10];
/// The bytes of records that each round goes through.
const CORPUS: usize = 16 << 20;
/// How often each case is run, in turn with the others.
const ROUNDS: usize = 5;

/// What `ropewalk-bench codecs` takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct CodecOptions {
    /// Keep the figures as JSON in this file
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
}

/// A codec at a level, on batches of one size.
#[derive(Debug)]
struct Case {
    codec: Compression,
    level: Option<i32>,
    batch: usize,
    packed: usize,
    plain: usize,
    packing: Vec<f64>,
    unpacking: Vec<f64>,
}

/// Measures all of them and prints a table.
pub(crate) fn run(options: &CodecOptions) -> Result<(), Failure> {
    if cfg!(debug_assertions) {
        eprintln!("built without optimization: these figures say nothing");
    }
    let mut cases = Vec::new();
    for batch in BATCHES {
        for (codec, level) in chosen() {
            let (packing, unpacking) = (Vec::new(), Vec::new());
            cases.push(Case { codec, level, batch, packed: 0, plain: 0, packing, unpacking });
        }
    }
    let corpora = BATCHES.map(|size| (size, corpus(size)));
    for _ in 0..ROUNDS {
        for case in &mut cases {
            let (_, sets) =
                corpora.iter().find(|(size, _)| *size == case.batch).ok_or("no such corpus")?;
            case.measure(sets)?;
        }
    }
    println!("codec      batch     ratio   compress  decompress");
    println!("           KiB               MB/s      MB/s");
    for case in &cases {
        println!("{}", case.line());
    }
    if let Some(file) = &options.json {
        let rows: Vec<Value> = cases.iter().map(Case::json).collect();
        std::fs::write(file, serde_json::to_vec_pretty(&json!({ "codecs": rows }))?)?;
    }
    Ok(())
}

/// Every codec at its own level, and those with levels at a fast and at a small one too.
fn chosen() -> Vec<(Compression, Option<i32>)> {
    vec![
        (Compression::Snappy, None),
        (Compression::Lz4, None),
        (Compression::Gzip, Some(1)),
        (Compression::Gzip, None),
        (Compression::Zstd, Some(1)),
        (Compression::Zstd, None),
        (Compression::Zstd, Some(9)),
    ]
}

/// Record sets of about a size, all different.
fn corpus(size: usize) -> Vec<Bytes> {
    let mut lines = Lines::new();
    let mut sets = Vec::new();
    let mut bytes = 0;
    while bytes < CORPUS {
        let mut batch = Vec::new();
        let mut taken = 0;
        while taken < size {
            let line = lines.next();
            taken += line.len();
            batch.push(line.into());
        }
        let set = encode(batch.into_iter());
        bytes += set.len();
        sets.push(set);
    }
    sets
}

/// A record set of so many lines.
pub(crate) fn lines(count: usize) -> Bytes {
    let mut lines = Lines::new();
    encode((0..count).map(|_| lines.next().into()))
}

/// Lines of an access log.
struct Lines {
    noise: Noise,
    millis: u64,
}

impl Lines {
    fn new() -> Self {
        Self { noise: Noise(0x5851_f42d_4c95_7f2d), millis: 1_767_225_600_000 }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.noise.next() % bound
    }

    /// Some much more often than others.
    fn frequent(&mut self, bound: u64) -> u64 {
        let (first, second) = (self.below(bound), self.below(bound));
        first * second / bound
    }

    fn next(&mut self) -> String {
        const METHODS: [&str; 4] = ["GET", "POST", "GET", "PUT"];
        const PATHS: [&str; 6] =
            ["/api/orders", "/api/customers", "/health", "/static/app.js", "/login", "/api/search"];
        const AGENTS: [&str; 4] = [
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15",
            "curl/8.14.1",
            "kube-probe/1.34",
        ];
        let time = self.millis + self.below(40);
        self.millis = time;
        let host = self.frequent(40);
        let client = [self.frequent(4), self.frequent(256), self.below(256)];
        let method = METHODS[self.below(4) as usize];
        let path = PATHS[self.frequent(6) as usize];
        let id = self.frequent(100_000);
        let status = [200, 200, 200, 201, 304, 404, 500][self.frequent(7) as usize];
        let (bytes, micros) = (self.frequent(50_000), self.frequent(900_000));
        let (trace, agent) = (self.noise.next(), AGENTS[self.frequent(4) as usize]);
        format!(
            "{{\"time\":{time},\"host\":\"web-{host:02}\",\"client\":\"10.{}.{}.{}\",\
             \"request\":\"{method} {path}/{id}\",\"status\":{status},\"bytes\":{bytes},\
             \"micros\":{micros},\"trace\":\"{trace:016x}\",\"agent\":\"{agent}\"}}",
            client[0], client[1], client[2],
        )
    }
}

impl Case {
    fn measure(&mut self, sets: &[Bytes]) -> Result<(), Failure> {
        self.plain = sets.iter().map(Bytes::len).sum();
        let began = Instant::now();
        let packed: Vec<_> =
            sets.iter().map(|set| compress_at(self.codec, self.level, set)).collect();
        self.packing.push(rate(self.plain, began.elapsed()));
        self.packed = packed.iter().map(Vec::len).sum();
        let began = Instant::now();
        for (packed, set) in packed.iter().zip(sets) {
            let plain = decompress(self.codec, packed, set.len())?;
            if plain.len() != set.len() {
                return Err(format!("{} gave {} bytes", self.codec, plain.len()).into());
            }
        }
        self.unpacking.push(rate(self.plain, began.elapsed()));
        Ok(())
    }

    fn name(&self) -> String {
        match self.level {
            Some(level) => format!("{}:{level}", self.codec),
            None => self.codec.to_string(),
        }
    }

    fn ratio(&self) -> f64 {
        self.plain as f64 / self.packed as f64
    }

    fn line(&self) -> String {
        format!(
            "{:<9} {:>6} {:>9.2} {:>10.0} {:>11.0}",
            self.name(),
            self.batch >> 10,
            self.ratio(),
            median(&self.packing),
            median(&self.unpacking)
        )
    }

    fn json(&self) -> Value {
        json!({
            "codec": self.name(),
            "batch_bytes": self.batch,
            "ratio": self.ratio(),
            "compress_mb_per_second": median(&self.packing),
            "decompress_mb_per_second": median(&self.unpacking),
        })
    }
}

/// Megabytes a second, of bytes that are not compressed.
fn rate(bytes: usize, took: Duration) -> f64 {
    bytes as f64 / 1e6 / took.as_secs_f64()
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
