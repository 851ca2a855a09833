//! The ids of idempotent producers: a part of the state of a coordinator group.
//!
//! Each of the coordinator groups gives ids of its own, so that no two ever give the same one. A
//! producer with a name belongs to the group of its name, which knows the id for as long as there
//! is room for the name.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_consensus::machine::Row;
use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::sequence::EPOCHS_OF_A_HOLDER;
use ropewalk_core::{GroupId, ProducerId, limits};

const VERSION: u8 = 1;
const WHAT: &str = "producer id";
/// What the keys of the rows begin with.
pub(crate) const NAME_ROW: u8 = b'p';
pub(crate) const COUNT_ROW: u8 = b'c';

/// What a producer puts into its sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// Its id.
    pub id: ProducerId,
    /// The first of its epochs: which holder of the id it is.
    pub epoch: u32,
}

/// A producer with a name, and the index of the command that gave it its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    identity: ProducerIdentity,
    index: u64,
}

/// The ids that one coordinator group has given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerIds {
    given: u64,
    named: BTreeMap<String, Named>,
    /// The same, by index: the one that was asked for longest ago first.
    by_age: BTreeSet<(u64, String)>,
}

impl ProducerIds {
    /// The command at `index` asks for an id: a new one, or that of a name with the next epochs.
    /// `place` is the group's place among the coordinators. Returns the rows that change.
    pub(crate) fn init(
        &mut self,
        index: u64,
        place: usize,
        name: &str,
    ) -> (ProducerIdentity, Vec<Row>) {
        let mut rows = Vec::new();
        let known = self.named.get(name).copied();
        let next = known.and_then(|known| known.identity.epoch.checked_add(EPOCHS_OF_A_HOLDER));
        let identity = match known.zip(next) {
            Some((known, epoch)) => ProducerIdentity { id: known.identity.id, epoch },
            None => {
                self.given += 1;
                rows.push(count_row(self.given));
                ProducerIdentity { id: id_of(self.given, place), epoch: 0 }
            }
        };
        if name.is_empty() {
            return (identity, rows);
        }
        if let Some(known) = known {
            self.by_age.remove(&(known.index, name.to_owned()));
        } else if self.named.len() >= limits::MAX_NAMED_PRODUCERS
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.named.remove(&oldest);
            rows.push((name_key(&oldest), None));
        }
        let named = Named { identity, index };
        rows.push((name_key(name), Some(name_value(name, named))));
        self.put(name.to_owned(), named);
        (identity, rows)
    }

    fn put(&mut self, name: String, named: Named) {
        self.by_age.insert((named.index, name.clone()));
        self.named.insert(name, named);
    }

    /// Takes a row up, if it is one of these.
    pub(crate) fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<bool, DecodeError> {
        let kind = key.first().copied();
        if kind != Some(NAME_ROW) && kind != Some(COUNT_ROW) {
            return Ok(false);
        }
        let mut reader = Reader::versioned(value, VERSION, WHAT)?;
        if kind == Some(COUNT_ROW) {
            self.given = reader.u64()?;
        } else {
            let name = reader.string()?;
            let (id, epoch) = (ProducerId(reader.u64()?), reader.u32()?);
            let named = Named { identity: ProducerIdentity { id, epoch }, index: reader.u64()? };
            self.put(name, named);
        }
        reader.finish()?;
        Ok(true)
    }
}

/// Ids of different coordinators have different remainders; 0 is none.
fn id_of(given: u64, place: usize) -> ProducerId {
    ProducerId(given * GroupId::COORDINATORS.len() as u64 + place as u64)
}

fn count_row(given: u64) -> Row {
    (vec![COUNT_ROW], Some(Writer::versioned(VERSION).u64(given).finish()))
}

fn name_key(name: &str) -> Vec<u8> {
    [&[NAME_ROW], name.as_bytes()].concat()
}

fn name_value(name: &str, named: Named) -> Vec<u8> {
    let Named { identity, index } = named;
    let mut out = Writer::versioned(VERSION);
    out.bytes(name.as_bytes()).u64(identity.id.0).u32(identity.epoch).u64(index).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored(rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> ProducerIds {
        let mut ids = ProducerIds::default();
        for (key, value) in rows {
            assert!(ids.restore(key, value).unwrap());
        }
        ids
    }

    #[test]
    fn a_name_keeps_its_id_and_whoever_asks_gets_the_next_epochs() {
        let (mut ids, mut rows) = (ProducerIds::default(), BTreeMap::new());
        let mut init = |index, name: &str| {
            let (identity, changed) = ids.init(index, 3, name);
            for (key, value) in changed {
                match value {
                    Some(value) => rows.insert(key, value),
                    None => rows.remove(&key),
                };
            }
            // As after a restart.
            ids = restored(&rows);
            (identity.id.0, identity.epoch)
        };
        assert_eq!(init(1, "a"), (19, 0));
        assert_eq!(init(2, ""), (35, 0));
        assert_eq!(init(3, "a"), (19, 1 << 16));
        assert_eq!(init(4, ""), (51, 0), "no name is not a name");
        assert_eq!(init(5, "b"), (67, 0));
        assert_eq!(init(6, "a"), (19, 2 << 16));
    }

    #[test]
    fn the_name_that_was_asked_for_longest_ago_makes_room() {
        let mut ids = ProducerIds::default();
        let names = limits::MAX_NAMED_PRODUCERS as u64;
        for index in 0..names {
            ids.init(index, 0, &format!("name-{index}"));
        }
        ids.init(names, 0, "name-0");
        let (_, rows) = ids.init(names + 1, 0, "one more");
        assert!(rows.contains(&(name_key("name-1"), None)));
        assert_eq!(ids.init(names + 2, 0, "name-0").0.epoch, 2 * EPOCHS_OF_A_HOLDER);
        assert_eq!(ids.init(names + 3, 0, "name-1").0.epoch, 0, "it is new again");
        assert_eq!((ids.named.len(), ids.by_age.len()), (names as usize, names as usize));
    }
}
