use std::time::Duration;

use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use ropewalk_broker::metrics::{
    AppendDurability, DEFINITIONS, DeliverySource, Kind, Metrics, PeerLane, TrimCause,
};
use ropewalk_core::NodeId;

use super::*;
use crate::telemetry::Scrape;

/// One metric of a text, with all its samples.
#[derive(Debug, Default)]
struct Parsed {
    help: String,
    kind: String,
    samples: Vec<Sample>,
}

/// The suffix after the metric's name, the labels, and the value.
type Sample = (String, Vec<(String, String)>, f64);

/// Reads a text strictly: HELP, TYPE and samples of each metric in this order and together, every
/// line well-formed. Panics where it is not.
fn parse(text: &str) -> BTreeMap<String, Parsed> {
    let mut all: BTreeMap<String, Parsed> = BTreeMap::new();
    let mut current = String::new();
    assert!(text.ends_with('\n'), "the last line has no end");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("help after the name");
            assert!(!all.contains_key(name), "{name} is there twice");
            current = name.to_owned();
            all.entry(current.clone()).or_default().help = help.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type after the name");
            assert_eq!(name, current, "TYPE follows HELP");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            all.get_mut(name).expect("HELP came first").kind = kind.to_owned();
        } else {
            let parsed = all.get_mut(&current).expect("HELP came first");
            let rest = line.strip_prefix(&current).expect("samples follow their TYPE");
            parsed.samples.push(parse_sample(rest));
        }
    }
    all
}

fn parse_sample(rest: &str) -> Sample {
    let end = rest.find(['{', ' ']).expect("a value after the name");
    let (suffix, mut rest) = rest.split_at(end);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        let mut inner = inner;
        while !inner.starts_with('}') {
            let (name, tail) = inner.split_once("=\"").expect("a label has a value");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "label {name}");
            let (value, tail) = parse_value(tail);
            labels.push((name.to_owned(), value));
            inner = tail.strip_prefix(',').unwrap_or(tail);
        }
        rest = &inner[1..];
    }
    let number = rest.strip_prefix(' ').expect("one space before the value");
    (suffix.to_owned(), labels, number.parse().expect("a number"))
}

/// The value up to its closing quote, and what follows that.
fn parse_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().expect("something is escaped").1 {
                'n' => value.push('\n'),
                c @ ('\\' | '"') => value.push(c),
                c => panic!("\\{c} is no escape"),
            },
            c => value.push(c),
        }
    }
    panic!("{text}: the quote is not closed");
}

/// A histogram's buckets only grow, the last one is the count, and there is a sum.
fn check_histogram(name: &str, parsed: &Parsed, bounds: usize) {
    let without_le = |labels: &[(String, String)]| {
        labels.iter().filter(|(name, _)| name != "le").cloned().collect::<Vec<_>>()
    };
    let mut series: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (suffix, labels, value) in &parsed.samples {
        series.entry(without_le(labels)).or_default().push((suffix.as_str(), labels, *value));
    }
    for samples in series.values() {
        let buckets: Vec<_> = samples.iter().filter(|sample| sample.0 == "_bucket").collect();
        assert_eq!(buckets.len(), bounds + 1, "{name}: buckets are missing");
        assert!(buckets.is_sorted_by(|a, b| a.2 <= b.2), "{name}: buckets are cumulative");
        let last = buckets.last().expect("there are buckets");
        assert!(last.1.contains(&("le".to_owned(), "+Inf".to_owned())), "{name}");
        let rest = &samples[bounds + 1..];
        assert!(matches!(rest, [("_sum", ..), ("_count", ..)]), "{name}: {rest:?}");
        assert!((rest[1].2 - last.2).abs() < f64::EPSILON, "{name}: the count is the last bucket");
    }
}

fn record_everything(metrics: &Metrics) {
    metrics.produced(3, 300);
    metrics.append_acknowledged(AppendDurability::Quorum, Duration::from_micros(700));
    metrics.append_acknowledged(AppendDurability::None, Duration::from_secs(60));
    metrics.produce_failed("RECORD_TOO_LARGE");
    metrics.delivered(DeliverySource::Tail, 3, 300);
    metrics.rpc_finished("ProducerService/Produce", "OK", Duration::from_millis(2));
    metrics.synced(Duration::from_micros(200), 4_096, 2);
    metrics.trimmed(TrimCause::Age, 10);
    metrics.register_append_budget(64 << 20, || 7);
    metrics.register_partitions_led(|| 16);
    metrics.register_storage_size(|| 1 << 40);
    let lane = |peer, lane, is_connected| PeerLane {
        peer: NodeId(peer),
        lane,
        is_connected,
        sent: 5,
        sent_bytes: 500,
        dropped: 2,
        queued_bytes: 100,
    };
    let lanes = move || vec![lane(2, "bulk", true), lane(3, "control", false)];
    metrics.register_peers(lanes, || 9, || 1);
}

#[test]
fn every_metric_is_there_and_well_formed() {
    let scrape = Scrape::default();
    let provider = SdkMeterProvider::builder().with_reader(scrape.clone()).build();
    let metrics = Metrics::new(&provider.meter("ropewalk"));
    record_everything(&metrics);
    let subscription = metrics.subscription_opened();
    let text = scrape.text().expect("it reads");
    let mut parsed = parse(&text);
    for definition in DEFINITIONS {
        let name = definition.prometheus_name();
        let found = parsed.remove(&name).unwrap_or_else(|| panic!("{name} is missing:\n{text}"));
        assert_eq!(found.help, definition.help);
        assert!(!found.samples.is_empty(), "{name} has no samples");
        let kind = match definition.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(bounds) => {
                check_histogram(&name, &found, bounds.len());
                "histogram"
            }
        };
        assert_eq!(found.kind, kind, "{name}");
        for (_, labels, _) in &found.samples {
            let mut names: Vec<_> = labels.iter().map(|(name, _)| name.as_str()).collect();
            names.retain(|name| *name != "le");
            let mut expected = definition.labels.to_vec();
            expected.sort_unstable();
            assert_eq!(names, expected, "{name}");
        }
    }
    assert!(parsed.is_empty(), "without a definition: {:?}", parsed.keys());
    assert!(text.contains("\nropewalk_produced_records_total 3\n"), "{text}");
    assert!(text.contains("\nropewalk_active_subscriptions 1\n"), "{text}");
    assert!(text.contains("\nropewalk_sync_duration_seconds_bucket{le=\"0.00025\"} 1\n"), "{text}");
    assert!(text.contains("\nropewalk_peer_connected{lane=\"bulk\",peer=\"2\"} 1\n"), "{text}");
    assert!(text.contains("\nropewalk_peer_connected{lane=\"control\",peer=\"3\"} 0\n"), "{text}");
    assert!(text.contains("\nropewalk_peer_dropped_messages_total{lane=\"bulk\",peer=\"2\"} 2\n"));
    drop(subscription);
    let text = scrape.text().expect("it reads");
    assert!(text.contains("\nropewalk_active_subscriptions 0\n"), "{text}");
}

#[test]
fn labels_and_help_are_escaped_and_names_replaced() {
    let scrape = Scrape::default();
    let provider = SdkMeterProvider::builder().with_reader(scrape.clone()).build();
    let meter = provider.meter("test");
    let gauge = meter.u64_gauge("a.b-c").with_description("back\\slash\nline").build();
    gauge.record(2, &[KeyValue::new("z", "last"), KeyValue::new("a", "q\"b\\n\n")]);
    gauge.record(1, &[KeyValue::new("a", "first")]);
    let text = scrape.text().expect("it reads");
    let expected = "# HELP a_b_c back\\\\slash\\nline\n# TYPE a_b_c gauge\n\
                    a_b_c{a=\"first\"} 1\na_b_c{a=\"q\\\"b\\\\n\\n\",z=\"last\"} 2\n";
    assert_eq!(text, expected);
    assert_eq!(parse(&text)["a_b_c"].samples[1].1[0].1, "q\"b\\n\n");
}

#[test]
fn the_page_lists_every_metric() {
    let mut table = "| metric | type | labels | |\n|-|-|-|-|\n".to_owned();
    for definition in DEFINITIONS {
        let kind = match definition.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let labels: Vec<_> = definition.labels.iter().map(|label| format!("`{label}`")).collect();
        table.push_str(&format!(
            "| `{}` | {kind} | {} | {} |\n",
            definition.prometheus_name(),
            labels.join(", "),
            definition.help
        ));
    }
    crate::docs::check_part("observability.md", "metrics", &table);
}
