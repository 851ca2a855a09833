//! The names that users give: of topics and of consumer groups.
//!
//! Only their form is judged here; whether a name is taken or known is for those who keep the
//! names.

use thiserror::Error;

use crate::limits::MAX_NAME_BYTES;

/// What the names of the broker's own topics begin with.
pub const INTERNAL_PREFIX: &str = "__";

/// A name that cannot be one. Each message says what to change.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// No name at all.
    #[error("the name of the {what} is empty: give 1 to {MAX_NAME_BYTES} characters")]
    Empty {
        /// What was to be named.
        what: &'static str,
    },
    /// Longer than any name.
    #[error(
        "the name of the {what} has {actual} bytes: shorten it to at most {MAX_NAME_BYTES} bytes"
    )]
    TooLong {
        /// What was to be named.
        what: &'static str,
        /// The length of the name in bytes.
        actual: usize,
    },
    /// A character that topics do not have in their names.
    #[error(
        "the topic name holds {character:?} at byte {at}: use only letters A-Z and a-z, digits, \
         '.', '_' and '-'"
    )]
    TopicCharacter {
        /// The first such character.
        character: char,
        /// Where it begins, in bytes.
        at: usize,
    },
    /// `.` and `..` mean places in paths and addresses.
    #[error("a topic cannot be named {name:?}: add a letter or a digit")]
    Dots {
        /// The name.
        name: String,
    },
    /// A name that only the broker gives.
    #[error(
        "the topic name {name:?} begins with \"__\", which is kept for the broker's own topics: \
         choose another beginning"
    )]
    Internal {
        /// The name.
        name: String,
    },
    /// A character that cannot be printed.
    #[error(
        "the name of the consumer group holds the control character {character:?} at byte {at}: \
         remove it"
    )]
    GroupCharacter {
        /// The first such character.
        character: char,
        /// Where it begins, in bytes.
        at: usize,
    },
}

/// Whether a topic can have this name. The broker's own names pass; see [`check_new_topic`].
pub fn check_topic(name: &str) -> Result<(), NameError> {
    check_length(name, "topic")?;
    let foreign =
        |c: &(usize, char)| !matches!(c.1, 'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' | '-');
    if let Some((at, character)) = name.char_indices().find(foreign) {
        return Err(NameError::TopicCharacter { character, at });
    }
    if name == "." || name == ".." {
        return Err(NameError::Dots { name: name.to_owned() });
    }
    Ok(())
}

/// Whether a user may create a topic of this name.
pub fn check_new_topic(name: &str) -> Result<(), NameError> {
    check_topic(name)?;
    if is_internal(name) {
        return Err(NameError::Internal { name: name.to_owned() });
    }
    Ok(())
}

/// Whether a topic of this name is the broker's own.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    name.starts_with(INTERNAL_PREFIX)
}

/// Whether a consumer group can have this name: any text without control characters, spaces
/// included, because tools derive group names from titles and paths.
pub fn check_group(name: &str) -> Result<(), NameError> {
    check_length(name, "consumer group")?;
    if let Some((at, character)) = name.char_indices().find(|(_, c)| c.is_control()) {
        return Err(NameError::GroupCharacter { character, at });
    }
    Ok(())
}

fn check_length(name: &str, what: &'static str) -> Result<(), NameError> {
    match name.len() {
        0 => Err(NameError::Empty { what }),
        1..=MAX_NAME_BYTES => Ok(()),
        actual => Err(NameError::TooLong { what, actual }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_topic_names_pass() {
        for name in ["orders", "eu.orders_v2", "A-1", "...", "_x", &"a".repeat(249)] {
            assert_eq!(check_new_topic(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_refused_topic_name_comes_with_advice() {
        let advice = |name: &str| check_new_topic(name).unwrap_err().to_string();
        assert!(advice("").ends_with("give 1 to 249 characters"));
        assert!(
            advice(&"a".repeat(250)).ends_with("has 250 bytes: shorten it to at most 249 bytes")
        );
        assert!(advice("a b").starts_with("the topic name holds ' ' at byte 1: use only letters"));
        assert!(advice("größe").starts_with("the topic name holds 'ö' at byte 2"));
        assert_eq!(advice(".."), "a topic cannot be named \"..\": add a letter or a digit");
        assert!(advice("__meta").ends_with("choose another beginning"));
    }

    #[test]
    fn the_brokers_own_topics_can_be_named_but_not_created() {
        assert_eq!(check_topic("__meta"), Ok(()));
        assert!(is_internal("__meta") && !is_internal("_meta"));
        assert!(matches!(check_new_topic("__meta"), Err(NameError::Internal { .. })));
    }

    #[test]
    fn a_group_name_is_any_printable_text() {
        for name in ["billing", "team A / größe", "__x", "."] {
            assert_eq!(check_group(name), Ok(()), "{name}");
        }
        assert_eq!(check_group(""), Err(NameError::Empty { what: "consumer group" }));
        assert!(matches!(
            check_group(&"ö".repeat(125)),
            Err(NameError::TooLong { actual: 250, .. })
        ));
        assert_eq!(check_group("a\nb"), Err(NameError::GroupCharacter { character: '\n', at: 1 }));
    }
}
