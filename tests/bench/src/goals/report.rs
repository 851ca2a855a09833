//! What was measured: printed as it comes, and kept for a JSON document.

use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::figure::{Figure, head};
use crate::wire::Failure;

/// Figures as they come.
#[derive(Debug)]
pub(crate) struct Report {
    json: Option<PathBuf>,
    environment: Value,
    figures: Vec<Value>,
    series: Vec<Value>,
}

impl Report {
    pub(crate) fn new(json: Option<PathBuf>) -> Self {
        Self { json, environment: Value::Null, figures: Vec::new(), series: Vec::new() }
    }

    pub(crate) fn environment(&mut self, facts: &[(&str, String)]) {
        for (name, value) in facts {
            println!("{name}: {value}");
        }
        println!("\n{}", head());
        let facts = facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
        self.environment = Value::Object(facts.collect::<Map<_, _>>());
    }

    /// Takes a figure, if there is one.
    pub(crate) fn figure(&mut self, figure: Option<Figure>) {
        if let Some(figure) = figure {
            println!("{}", figure.text());
            self.figures.push(figure.json());
        }
    }

    /// Takes points for a plot.
    pub(crate) fn series(
        &mut self,
        part: &str,
        name: &str,
        axes: [&str; 2],
        points: &[(f64, f64)],
    ) {
        self.series.push(json!({ "part": part, "name": name, "axes": axes, "points": points }));
    }

    /// Writes all that there is so far, if it is wanted.
    pub(crate) fn save(&self) -> Result<(), Failure> {
        let Some(path) = &self.json else { return Ok(()) };
        let document = json!({
            "environment": self.environment,
            "figures": self.figures,
            "series": self.series,
        });
        let text = serde_json::to_string_pretty(&document)?;
        let written = fs::write(path, text + "\n");
        Ok(written.map_err(|error| format!("cannot write {}: {error}", path.display()))?)
    }
}
