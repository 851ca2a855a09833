//! What a subscription stands for: the topics that it names, and those that its patterns match.

use std::collections::BTreeMap;

use regex::bytes::{Regex, RegexBuilder};
use ropewalk_cluster::Metadata;
use ropewalk_core::{limits, names};
use ropewalk_groups::{Resolution, Selection};

/// The most compiled patterns that are kept.
const MAX_KEPT: usize = 256;

/// Compiles a pattern that matches whole names of topics.
///
/// # Errors
/// What is wrong with it, for whoever wrote it.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    // Names are ASCII, and a small pattern can compile to something large.
    let compile = |pattern: &str| {
        RegexBuilder::new(pattern)
            .unicode(false)
            .size_limit(limits::MAX_COMPILED_PATTERN_BYTES)
            .dfa_size_limit(limits::MAX_COMPILED_PATTERN_BYTES)
            .build()
    };
    // Alone first: what is not one expression by itself could close the group around it.
    let whole = compile(pattern).and_then(|_| compile(&format!("^(?:{pattern})$")));
    whole.map_err(|error| error.to_string())
}

/// Whether a pattern matches a topic. It never matches the broker's own.
#[must_use]
pub fn matches(pattern: &Regex, topic: &str) -> bool {
    !names::is_internal(topic) && pattern.is_match(topic.as_bytes())
}

/// Patterns that were compiled before.
#[derive(Default)]
pub(crate) struct Patterns(BTreeMap<String, Option<Regex>>);

impl Patterns {
    /// What selections stand for by these metadata.
    pub(crate) fn resolve<'a>(
        &mut self,
        selections: impl Iterator<Item = &'a Selection>,
        metadata: &Metadata,
    ) -> Resolution {
        let mut resolution = Resolution { as_of: metadata.index, ..Resolution::default() };
        let mut topics = BTreeMap::new();
        for selection in selections {
            let mut ids = Vec::new();
            let mut take = |topic: &ropewalk_cluster::Topic| {
                ids.push(topic.id);
                topics.insert(topic.id, topic.partition_count());
            };
            match selection {
                Selection::Name(name) => {
                    if let Some(topic) = metadata.topic(name) {
                        take(topic);
                    }
                }
                Selection::Pattern(text) => {
                    if let Some(pattern) = self.compiled(text) {
                        let all = metadata.topics.values();
                        all.filter(|topic| matches(pattern, &topic.name)).for_each(|t| take(t));
                    }
                }
            }
            resolution.selected.push((selection.clone(), ids));
        }
        resolution.topics = topics.into_iter().collect();
        resolution
    }

    fn compiled(&mut self, text: &str) -> Option<&Regex> {
        if self.0.len() >= MAX_KEPT && !self.0.contains_key(text) {
            self.0.clear();
        }
        // One that does not compile matches nothing: whoever joins with it is refused before.
        self.0.entry(text.to_owned()).or_insert_with(|| compile(text).ok()).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names_and_not_the_brokers_own() {
        let pattern = compile("logs|__.*").unwrap();
        assert!(matches(&pattern, "logs"));
        assert!(!matches(&pattern, "logs2") && !matches(&pattern, "__own"));
        for refused in ["(", "a)|(?:b", r"(a{200}){200}"] {
            assert!(compile(refused).is_err(), "{refused}");
        }
    }
}
