//! Metrics in the text format of Prometheus, version 0.0.4.
//!
//! The order is that of names and labels, so that two texts can be compared.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, Histogram, Metric, MetricData, ResourceMetrics,
};

/// The lines of one metric.
struct Family {
    help: String,
    kind: &'static str,
    /// By their labels. A histogram's series has many lines.
    series: BTreeMap<String, String>,
}

/// Writes out all metrics.
pub(super) fn render(metrics: &ResourceMetrics) -> String {
    let mut families = BTreeMap::new();
    for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
        match metric.data() {
            AggregatedMetrics::F64(data) => add(&mut families, metric, data),
            AggregatedMetrics::U64(data) => add(&mut families, metric, data),
            AggregatedMetrics::I64(data) => add(&mut families, metric, data),
        }
    }
    let mut text = String::new();
    for (name, family) in &families {
        text.push_str(&format!("# HELP {name} {}\n", escape_help(&family.help)));
        text.push_str(&format!("# TYPE {name} {}\n", family.kind));
        text.extend(family.series.values().map(String::as_str));
    }
    text
}

fn add<T: Copy + Display>(
    families: &mut BTreeMap<String, Family>,
    metric: &Metric,
    data: &MetricData<T>,
) {
    let name = identifier(metric.name());
    let total = || {
        if name.ends_with("_total") { name.clone() } else { format!("{name}_total") }
    };
    let (name, kind) = match data {
        MetricData::Sum(sum) if sum.is_monotonic() => (total(), "counter"),
        MetricData::Sum(_) | MetricData::Gauge(_) => (name, "gauge"),
        MetricData::Histogram(_) => (name, "histogram"),
        // No view asks for them, and the format has none.
        MetricData::ExponentialHistogram(_) => return,
    };
    let help = metric.description().to_owned();
    let family = families.entry(name.clone()).or_insert_with(|| Family {
        help,
        kind,
        series: BTreeMap::new(),
    });
    let mut single = |labels: String, value: T| {
        let line = format!("{name}{} {value}\n", braced(&labels));
        family.series.insert(labels, line);
    };
    match data {
        MetricData::Gauge(gauge) => {
            gauge.data_points().for_each(|point| single(labels(point.attributes()), point.value()));
        }
        MetricData::Sum(sum) => {
            sum.data_points().for_each(|point| single(labels(point.attributes()), point.value()));
        }
        MetricData::Histogram(histogram) => add_histogram(family, &name, histogram),
        MetricData::ExponentialHistogram(_) => {}
    }
}

fn add_histogram<T: Copy + Display>(family: &mut Family, name: &str, histogram: &Histogram<T>) {
    for point in histogram.data_points() {
        let labels = labels(point.attributes());
        let comma = if labels.is_empty() { "" } else { "," };
        let mut lines = String::new();
        let mut below = 0;
        let bounds = point.bounds().map(|bound| bound.to_string());
        let bounds = bounds.chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(point.bucket_counts()) {
            below += count;
            line(
                &mut lines,
                format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}"),
            );
        }
        line(&mut lines, format_args!("{name}_sum{} {}", braced(&labels), point.sum()));
        line(&mut lines, format_args!("{name}_count{} {}", braced(&labels), point.count()));
        family.series.insert(labels, lines);
    }
}

fn line(lines: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(lines, "{text}").expect("a String takes all that is written to it");
}

fn labels<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    let mut labels: Vec<_> = attributes
        .map(|pair| {
            let value = escape_label(&pair.value.to_string());
            format!("{}=\"{value}\"", identifier(pair.key.as_str()))
        })
        .collect();
    labels.sort_unstable();
    labels.join(",")
}

fn braced(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

/// A name with what Prometheus does not take in names replaced.
fn identifier(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut text: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        text.insert(0, '_');
    }
    text
}

fn escape_help(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

fn escape_label(text: &str) -> String {
    escape_help(text).replace('"', "\\\"")
}

#[cfg(test)]
mod tests;
