//! A figure, its control and its goal: what they are, and whether the goal is met.

use serde_json::{Map, Value, json};

/// The middle of several rounds, and how far they were apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Nothing of nothing.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let median = *values.get(values.len().checked_sub(1)? / 2)?;
        Some(Self { least: values[0], median, most: values[values.len() - 1] })
    }

    fn json(self) -> Value {
        json!({ "least": self.least, "median": self.median, "most": self.most })
    }

    fn text(self) -> String {
        if self.least == self.most {
            return short(self.median);
        }
        format!("{} [{}..{}]", short(self.median), short(self.least), short(self.most))
    }
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// As a goal is written: a third is 0.333.
fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// What is wanted of a figure: of its ratio to the control, or of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// At least so many times the control.
    RatioAtLeast(f64),
    /// At most so many times the control.
    RatioAtMost(f64),
    /// At most so much.
    AtMost(f64),
    /// At least so much.
    AtLeast(f64),
}

impl Goal {
    fn text(self) -> String {
        match self {
            Self::RatioAtLeast(times) => format!(">= {} x", thousandths(times)),
            Self::RatioAtMost(times) => format!("<= {} x", thousandths(times)),
            Self::AtMost(value) => format!("<= {}", short(value)),
            Self::AtLeast(value) => format!(">= {}", short(value)),
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) part: &'static str,
    pub(crate) case: String,
    /// What is counted, with its unit.
    pub(crate) what: &'static str,
    pub(crate) value: Spread,
    /// What it is held against.
    control: Option<(String, Spread)>,
    /// Of each round's figure to the control of the same round.
    ratio: Option<Spread>,
    goal: Option<Goal>,
    pub(crate) note: String,
}

impl Figure {
    /// A figure by itself. Nothing when no round gave one.
    pub(crate) fn of(
        part: &'static str,
        case: impl Into<String>,
        what: &'static str,
        rounds: Vec<f64>,
    ) -> Option<Self> {
        Some(Self {
            part,
            case: case.into(),
            what,
            value: Spread::of(rounds)?,
            control: None,
            ratio: None,
            goal: None,
            note: String::new(),
        })
    }

    /// A figure beside its control: pairs of the same round.
    pub(crate) fn beside(
        part: &'static str,
        case: impl Into<String>,
        what: &'static str,
        control: impl Into<String>,
        rounds: &[(f64, f64)],
    ) -> Option<Self> {
        let mut figure = Self::of(part, case, what, rounds.iter().map(|pair| pair.0).collect())?;
        let controls = Spread::of(rounds.iter().map(|pair| pair.1).collect())?;
        figure.control = Some((control.into(), controls));
        figure.ratio = Spread::of(rounds.iter().map(|(value, control)| value / control).collect());
        Some(figure)
    }

    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Whether the median meets the goal. Nothing without one.
    fn is_met(&self) -> Option<bool> {
        let ratio = self.ratio.map(|ratio| ratio.median);
        Some(match self.goal? {
            Goal::RatioAtLeast(times) => ratio? >= times,
            Goal::RatioAtMost(times) => ratio? <= times,
            Goal::AtMost(most) => self.value.median <= most,
            Goal::AtLeast(least) => self.value.median >= least,
        })
    }

    pub(crate) fn json(&self) -> Value {
        let mut map = Map::new();
        map.insert("part".to_owned(), json!(self.part));
        map.insert("case".to_owned(), json!(self.case));
        map.insert("what".to_owned(), json!(self.what));
        map.insert("value".to_owned(), self.value.json());
        if let Some((name, control)) = &self.control {
            map.insert("control_name".to_owned(), json!(name));
            map.insert("control".to_owned(), control.json());
        }
        if let Some(ratio) = self.ratio {
            map.insert("ratio".to_owned(), ratio.json());
        }
        if let Some(goal) = self.goal {
            map.insert("goal".to_owned(), json!(goal.text()));
            map.insert("met".to_owned(), json!(self.is_met()));
        }
        if !self.note.is_empty() {
            map.insert("note".to_owned(), json!(self.note));
        }
        Value::Object(map)
    }

    pub(crate) fn text(&self) -> String {
        let control = self
            .control
            .as_ref()
            .map_or_else(String::new, |(name, control)| format!("{} ({name})", control.text()));
        let verdict = match self.is_met() {
            None => "",
            Some(true) => "met",
            Some(false) => "MISSED",
        };
        let line = row(&[
            self.part,
            &self.case,
            self.what,
            &self.value.text(),
            &control,
            &self.ratio.map_or_else(String::new, Spread::text),
            &self.goal.map_or_else(String::new, Goal::text),
            verdict,
            &self.note,
        ]);
        line.trim_end().to_owned()
    }
}

/// The head of the table.
pub(crate) fn head() -> String {
    row(&["part", "case", "what", "figure", "control", "ratio", "goal", "", ""])
        .trim_end()
        .to_owned()
}

fn row(cells: &[&str; 9]) -> String {
    let [part, case, what, figure, control, ratio, goal, met, note] = cells;
    format!(
        "{part:<9} {case:<28} {what:<14} {figure:<22} {control:<40} {ratio:<22} {goal:<9} \
         {met:<6} {note}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_one_that_happened() {
        let spread = Spread::of(vec![3.0, 1.0, f64::NAN, 2.0, 4.0]).unwrap();
        assert_eq!(spread, Spread { least: 1.0, median: 2.0, most: 4.0 });
        assert_eq!(Spread::of(Vec::new()), None);
        assert_eq!(Spread::of(vec![f64::INFINITY]), None);
    }

    #[test]
    fn a_goal_is_held_against_the_ratio_of_each_round() {
        let rounds = [(70.0, 100.0), (150.0, 200.0), (20.0, 100.0)];
        let figure = Figure::beside("groups", "64 KiB", "MB/s", "raw", &rounds).unwrap();
        assert_eq!(figure.ratio.unwrap(), Spread { least: 0.2, median: 0.7, most: 0.75 });
        assert_eq!(figure.is_met(), None);
        assert_eq!(figure.clone().goal(Goal::RatioAtLeast(0.7)).is_met(), Some(true));
        assert_eq!(figure.clone().goal(Goal::RatioAtLeast(0.8)).is_met(), Some(false));
        assert_eq!(figure.clone().goal(Goal::RatioAtMost(0.7)).is_met(), Some(true));
        assert_eq!(figure.clone().goal(Goal::AtMost(69.0)).is_met(), Some(false));
        assert_eq!(figure.clone().goal(Goal::AtLeast(69.0)).is_met(), Some(true));
        assert_eq!(Goal::RatioAtLeast(1.0 / 3.0).text(), ">= 0.333 x");
        let json = figure.goal(Goal::RatioAtLeast(0.8)).json();
        assert_eq!((&json["met"], &json["goal"]), (&json!(false), &json!(">= 0.8 x")));
    }

    #[test]
    fn figures_keep_the_digits_that_matter() {
        for (value, text) in
            [(1234.5, "1234"), (12.34, "12.3"), (1.234, "1.23"), (0.01234, "0.012")]
        {
            assert_eq!(short(value), text);
        }
    }
}
