//! What is printed: one row a figure, as a table or as JSON.

use serde_json::{Map, Value, json};

use crate::options::Format;
use crate::stats::{Percentiles, grouped, median_by};

/// One line of the output. What does not apply is left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    /// What tells this row from others of the scenario.
    pub(crate) case: String,
    pub(crate) partitions: Option<u32>,
    /// Bytes of a record's value.
    pub(crate) size: Option<usize>,
    pub(crate) records_per_second: Option<f64>,
    /// Millions of bytes of record values a second.
    pub(crate) megabytes_per_second: Option<f64>,
    pub(crate) latency: Option<Percentiles>,
    /// Whether the latency is what was asked for, and the rate was given.
    pub(crate) is_paced: bool,
    /// Cores that the broker kept busy.
    pub(crate) broker_cores: Option<f64>,
    /// Cores that this process kept busy.
    pub(crate) client_cores: Option<f64>,
    /// The most memory that the broker had, in bytes.
    pub(crate) rss: Option<u64>,
    pub(crate) note: String,
    /// Of how many runs this is the median, and the least and the most of them.
    pub(crate) runs: Option<(usize, f64, f64)>,
}

impl Row {
    pub(crate) fn new(scenario: &'static str, case: impl Into<String>) -> Self {
        Self { scenario, case: case.into(), ..Self::default() }
    }

    /// Throughput of records of this size.
    pub(crate) fn rate(mut self, records_per_second: f64, size: usize) -> Self {
        self.records_per_second = Some(records_per_second);
        self.megabytes_per_second = Some(records_per_second * size as f64 / 1e6);
        self
    }

    /// What runs of this are ordered by.
    fn primary(&self) -> f64 {
        let rate = self.records_per_second.or(self.megabytes_per_second);
        let median = self.latency.map(|latency| latency.p50);
        let figure = if self.is_paced { median } else { rate.or(median) };
        figure.unwrap_or_default()
    }

    /// The row in the middle of several runs of one case.
    pub(crate) fn median(rows: Vec<Self>) -> Option<Self> {
        let figures: Vec<f64> = rows.iter().map(Self::primary).collect();
        let mut row = median_by(rows, Self::primary)?;
        if figures.len() > 1 {
            let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
            let most = figures.iter().copied().fold(0.0, f64::max);
            row.runs = Some((figures.len(), least, most));
        }
        Some(row)
    }

    fn json(&self) -> Value {
        let mut map = Map::new();
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                map.insert(name.to_owned(), value);
            }
        };
        put("scenario", json!(self.scenario));
        put("case", json!(self.case));
        put("partitions", json!(self.partitions));
        put("record_bytes", json!(self.size));
        put("records_per_second", json!(self.records_per_second));
        put("megabytes_per_second", json!(self.megabytes_per_second));
        put("p50_ms", json!(self.latency.map(|latency| latency.p50)));
        put("p99_ms", json!(self.latency.map(|latency| latency.p99)));
        put("p999_ms", json!(self.latency.map(|latency| latency.p999)));
        put("broker_cores", json!(self.broker_cores));
        put("client_cores", json!(self.client_cores));
        put("broker_rss_bytes", json!(self.rss));
        if let Some((runs, least, most)) = self.runs {
            put("runs", json!(runs));
            put("least", json!(least));
            put("most", json!(most));
        }
        if !self.note.is_empty() {
            put("note", json!(self.note));
        }
        Value::Object(map)
    }

    fn text(&self) -> String {
        let count = |value: Option<u32>| value.map_or_else(String::new, |value| value.to_string());
        let fixed = |value: Option<f64>, digits| {
            value.map_or_else(String::new, |value| format!("{value:.digits$}"))
        };
        let size = self.size.map_or_else(String::new, |size| size.to_string());
        let rss = self.rss.map(|bytes| bytes as f64 / (1024.0 * 1024.0));
        let mut note = self.note.clone();
        if let Some((runs, least, most)) = self.runs {
            let unit = if self.is_paced { " ms" } else { "" };
            let spread = spread(runs, least, most) + unit;
            note = [note.as_str(), &spread]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("; ");
        }
        let line = format!(
            "{:<9} {:<27} {:>5} {:>6} {:>11} {:>7} {:>8} {:>8} {:>8} {:>7} {:>7} {:>5}  {note}",
            self.scenario,
            self.case,
            count(self.partitions),
            size,
            self.records_per_second.map_or_else(String::new, grouped),
            fixed(self.megabytes_per_second, 1),
            fixed(self.latency.map(|latency| latency.p50), 2),
            fixed(self.latency.map(|latency| latency.p99), 2),
            fixed(self.latency.map(|latency| latency.p999), 2),
            fixed(self.broker_cores, 2),
            fixed(self.client_cores, 2),
            fixed(rss, 0),
        );
        line.trim_end().to_owned()
    }
}

fn spread(runs: usize, least: f64, most: f64) -> String {
    if least >= 1000.0 {
        format!("{runs} runs, {} to {}", grouped(least), grouped(most))
    } else {
        format!("{runs} runs, {least:.2} to {most:.2}")
    }
}

/// Prints rows as they come.
#[derive(Debug)]
pub(crate) struct Report {
    format: Format,
}

impl Report {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// What was measured, and on what. A line of a table's head, or an object of its own.
    pub(crate) fn environment(&self, facts: &[(&str, String)]) {
        match self.format {
            Format::Text => {
                let facts: Vec<_> =
                    facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                println!("{}\n\n{}", facts.join("\n"), head());
            }
            Format::Json => {
                let facts = facts.iter().map(|(name, value)| {
                    let name = name.replace(' ', "_");
                    (name, json!(value))
                });
                println!("{}", json!({ "environment": facts.collect::<Map<_, _>>() }));
            }
        }
    }

    pub(crate) fn row(&self, row: &Row) {
        match self.format {
            Format::Text => println!("{}", row.text()),
            Format::Json => println!("{}", row.json()),
        }
    }
}

fn head() -> String {
    format!(
        "{:<9} {:<27} {:>5} {:>6} {:>11} {:>7} {:>8} {:>8} {:>8} {:>7} {:>7} {:>5}\n\
         {:<9} {:<27} {:>5} {:>6} {:>11} {:>7} {:>8} {:>8} {:>8} {:>7} {:>7} {:>5}",
        "scenario",
        "case",
        "parts",
        "bytes",
        "records/s",
        "MB/s",
        "p50",
        "p99",
        "p999",
        "broker",
        "client",
        "RSS",
        "",
        "",
        "",
        "",
        "",
        "",
        "ms",
        "ms",
        "ms",
        "cores",
        "cores",
        "MiB",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(rate: f64) -> Row {
        Row::new("tail", "1 subscriber").rate(rate, 100)
    }

    #[test]
    fn the_median_says_how_far_runs_were_apart() {
        let median = Row::median(vec![row(3e6), row(1e6), row(2e6)]).unwrap();
        assert_eq!(median.records_per_second, Some(2e6));
        assert_eq!(median.megabytes_per_second, Some(200.0));
        assert_eq!(median.runs, Some((3, 1e6, 3e6)));
        assert!(median.text().ends_with("3 runs, 1,000,000 to 3,000,000"));
    }

    #[test]
    fn json_leaves_out_what_does_not_apply() {
        let json = row(1.0).json();
        assert_eq!(json["records_per_second"], 1.0);
        assert!(json.get("p50_ms").is_none());
        assert!(json.get("note").is_none());
    }
}
