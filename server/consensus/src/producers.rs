//! What a partition knows of idempotent producers: a pure table, carried by the partition's log.
//!
//! A batch with a sequence is noted when it is applied, on every replica, so that a new leader
//! knows what the old one knew; the table stands in rows of the group, and goes along with
//! snapshots, so that it outlives the segments in which the batches were. What the leader has
//! proposed and what is not yet applied lies over it ([`Ahead`]), and is forgotten with the lead.
//!
//! The rules are those of Kafka (KIP-98, KIP-360), with two differences. A producer that is not
//! known and does not begin at 0 is refused, as nobody can say what of it came before. And a number
//! that is used again for other records is refused, rather than answered as if they had been
//! appended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ropewalk_core::codec::{DecodeError, Reader, Writer};
use ropewalk_core::sequence::REMEMBERED_BATCHES;
use ropewalk_core::{BatchHeader, Offset, ProducerId, ProducerSequence, Timestamp};
use ropewalk_storage::own_rows::{
    PRODUCER_KEY, PRODUCERS_THROUGH_KEY, Row, producers_index, producers_row,
};

use crate::proposal::ProposeError;

const VERSION: u8 = 1;
const WHAT: &str = "producer state";

/// How many producers a partition knows, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBounds {
    /// So many at most, at least 1; the one that has been idle longest goes first, unless it has
    /// appended within [`PRODUCER_RETRY_WINDOW`](ropewalk_core::limits::PRODUCER_RETRY_WINDOW):
    /// then there is no room.
    pub max: usize,
    /// One that has appended nothing for so long is forgotten, within five minutes more.
    pub expiry: Duration,
}

impl Default for ProducerBounds {
    /// A thousand of them, for a day.
    fn default() -> Self {
        Self { max: 1_000, expiry: Duration::from_secs(24 * 60 * 60) }
    }
}

/// A batch that would be known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) first: u32,
    pub(crate) record_count: u32,
    pub(crate) payload_crc: u32,
    pub(crate) base_offset: Offset,
    pub(crate) append_time: Timestamp,
    pub(crate) leader_epoch: u64,
    pub(crate) index: u64,
}

/// What is known of a producer: its epoch, and its last batches, oldest first; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    epoch: u32,
    recent: Vec<Remembered>,
}

impl Remembered {
    fn of(header: &BatchHeader, sequence: ProducerSequence) -> Self {
        Self {
            first: sequence.first,
            record_count: header.record_count,
            payload_crc: header.produced_crc(),
            base_offset: header.base_offset,
            append_time: header.append_time,
            leader_epoch: header.leader_epoch,
            index: header.index,
        }
    }

    fn next(&self) -> u32 {
        self.first.wrapping_add(self.record_count)
    }
}

impl Producer {
    fn begin(epoch: u32, batch: Remembered) -> Self {
        Self { epoch, recent: vec![batch] }
    }

    fn last(&self) -> &Remembered {
        self.recent.last().expect("a producer is known by a batch")
    }

    fn note(&mut self, epoch: u32, batch: Remembered) {
        if epoch != self.epoch {
            *self = Self::begin(epoch, batch);
            return;
        }
        if self.recent.len() == REMEMBERED_BATCHES {
            self.recent.remove(0);
        }
        self.recent.push(batch);
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::versioned(VERSION);
        out.u32(self.epoch);
        for batch in &self.recent {
            out.u32(batch.first).u32(batch.record_count).u32(batch.payload_crc);
            out.u64(batch.base_offset.0).i64(batch.append_time.0);
            out.u64(batch.leader_epoch).u64(batch.index);
        }
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::versioned(bytes, VERSION, WHAT)?;
        let mut producer = Self { epoch: reader.u32()?, recent: Vec::new() };
        while !reader.is_done() {
            producer.recent.push(Remembered {
                first: reader.u32()?,
                record_count: reader.u32()?,
                payload_crc: reader.u32()?,
                base_offset: Offset(reader.u64()?),
                append_time: Timestamp(reader.i64()?),
                leader_epoch: reader.u64()?,
                index: reader.u64()?,
            });
        }
        let count = producer.recent.len();
        if (1..=REMEMBERED_BATCHES).contains(&count) { Ok(producer) } else { Err(reader.error()) }
    }
}

/// Whether a batch is new, or one that is there already. `known` is what is known of its producer.
///
/// # Errors
/// `ProducerFenced` for an older epoch than the newest that is known; `SequenceGap` for any number
/// but the next one, unless it is that of one of the last batches.
pub(crate) fn check(
    known: Option<&Producer>,
    sequence: ProducerSequence,
    record_count: u32,
    payload_crc: u32,
) -> Result<Option<Remembered>, ProposeError> {
    let actual = sequence.first;
    let known = known.filter(|known| known.epoch >= sequence.epoch);
    let Some(known) = known else {
        let expected = 0;
        return match actual {
            0 => Ok(None),
            _ => Err(ProposeError::SequenceGap { expected, actual }),
        };
    };
    if known.epoch > sequence.epoch {
        let (expected, actual) = (known.epoch, sequence.epoch);
        return Err(ProposeError::ProducerFenced { expected, actual });
    }
    let expected = known.last().next();
    if actual == expected {
        return Ok(None);
    }
    let same = known.recent.iter().find(|batch| {
        (batch.first, batch.record_count, batch.payload_crc) == (actual, record_count, payload_crc)
    });
    same.copied().map(Some).ok_or(ProposeError::SequenceGap { expected, actual })
}

/// The producers of a partition, as of what is applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerTable {
    producers: BTreeMap<ProducerId, Producer>,
    /// The same, by the index of the last batch of each: the one that has been idle longest first.
    by_age: BTreeSet<(u64, ProducerId)>,
    /// The table holds what the entries up to this index did: those of a snapshot may be later than
    /// its log.
    through: u64,
}

impl ProducerTable {
    pub(crate) fn len(&self) -> usize {
        self.producers.len()
    }

    /// The index of the last entry that changed it.
    pub(crate) fn through(&self) -> u64 {
        self.through
    }

    pub(crate) fn get(&self, producer: ProducerId) -> Option<&Producer> {
        self.producers.get(&producer)
    }

    /// A batch takes effect. Returns the rows that change.
    pub(crate) fn apply(&mut self, header: &BatchHeader) -> Vec<Row> {
        let Some(sequence) = header.sequence.filter(|_| header.index > self.through) else {
            return Vec::new();
        };
        let (id, batch) = (sequence.producer, Remembered::of(header, sequence));
        let known = match self.producers.get_mut(&id) {
            Some(known) => {
                self.by_age.remove(&(known.last().index, id));
                known.note(sequence.epoch, batch);
                known
            }
            None => self.producers.entry(id).or_insert(Producer::begin(sequence.epoch, batch)),
        };
        let row = (key_of(id), Some(known.encode()));
        self.by_age.insert((header.index, id));
        vec![row, self.stands_at(header.index)]
    }

    /// The entry at `index` lets producers go, each unless it has appended something since.
    pub(crate) fn expire(&mut self, index: u64, gone: &[(ProducerId, u64)]) -> Vec<Row> {
        if index <= self.through {
            return Vec::new();
        }
        let mut rows = Vec::new();
        for (id, last) in gone {
            if self.by_age.remove(&(*last, *id)) {
                self.producers.remove(id);
                rows.push((key_of(*id), None));
            }
        }
        rows.push(self.stands_at(index));
        rows
    }

    fn stands_at(&mut self, index: u64) -> Row {
        self.through = index;
        producers_row(index)
    }

    /// The producers that have been idle longest, with the index of the last batch of each, and
    /// when that was.
    pub(crate) fn oldest(&self) -> impl Iterator<Item = (ProducerId, u64, Timestamp)> {
        self.by_age.iter().filter_map(|(index, id)| {
            Some((*id, *index, self.producers.get(id)?.last().append_time))
        })
    }

    /// Becomes what these rows hold; others among them are passed over.
    pub(crate) fn restore(&mut self, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<(), DecodeError> {
        *self = Self { through: producers_index(rows)?.unwrap_or(0), ..Self::default() };
        for (key, value) in rows.iter().filter(|(key, _)| key != PRODUCERS_THROUGH_KEY) {
            if let Some(id) = key.strip_prefix(PRODUCER_KEY) {
                let id = id.try_into().map_err(|_| DecodeError(WHAT))?;
                let id = ProducerId(u64::from_be_bytes(id));
                let producer = Producer::decode(value)?;
                self.by_age.insert((producer.last().index, id));
                self.producers.insert(id, producer);
            }
        }
        Ok(())
    }

    /// The keys of its rows.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Vec<u8>> {
        let producers = self.producers.keys().map(|id| key_of(*id));
        producers.chain((self.through > 0).then(|| PRODUCERS_THROUGH_KEY.to_vec()))
    }
}

fn key_of(id: ProducerId) -> Vec<u8> {
    [PRODUCER_KEY, &id.0.to_be_bytes()].concat()
}

/// What a leader has proposed and what is not applied yet, over the table.
#[derive(Default)]
pub(crate) struct Ahead(BTreeMap<ProducerId, Producer>);

impl Ahead {
    /// What is known of a producer, all included.
    pub(crate) fn get<'a>(
        &'a self,
        table: &'a ProducerTable,
        producer: ProducerId,
    ) -> Option<&'a Producer> {
        self.0.get(&producer).or_else(|| table.get(producer))
    }

    /// How many producers are here that the table does not have.
    pub(crate) fn added(&self, table: &ProducerTable) -> usize {
        self.0.keys().filter(|id| table.get(**id).is_none()).count()
    }

    /// How many producers are here.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn has(&self, producer: ProducerId) -> bool {
        self.0.contains_key(&producer)
    }

    /// A batch was proposed.
    pub(crate) fn note(
        &mut self,
        table: &ProducerTable,
        id: ProducerId,
        epoch: u32,
        batch: Remembered,
    ) {
        match self.0.get_mut(&id) {
            Some(known) => known.note(epoch, batch),
            None => {
                let producer = match table.get(id).cloned() {
                    Some(mut known) => {
                        known.note(epoch, batch);
                        known
                    }
                    None => Producer::begin(epoch, batch),
                };
                self.0.insert(id, producer);
            }
        }
    }

    /// The batch of a producer at `index` was applied: what the table has need not be here.
    pub(crate) fn applied(&mut self, id: ProducerId, index: u64) {
        if self.0.get(&id).is_some_and(|known| known.last().index <= index) {
            self.0.remove(&id);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ProducerId = ProducerId(7);

    fn batch(first: u32, record_count: u32, index: u64) -> Remembered {
        Remembered {
            first,
            record_count,
            payload_crc: first ^ 0x5555,
            base_offset: Offset(index * 10),
            append_time: Timestamp(index as i64),
            leader_epoch: 6,
            index,
        }
    }

    fn asked(known: &Producer, epoch: u32, first: u32, count: u32) -> Result<Option<u64>, String> {
        let sequence = ProducerSequence { producer: ID, epoch, first };
        let known = check(Some(known), sequence, count, first ^ 0x5555);
        let offset = known.map(|again| again.map(|batch| batch.base_offset.0));
        offset.map_err(|error| error.to_string())
    }

    #[test]
    fn the_last_five_batches_are_known_again_and_only_the_next_is_new() {
        let mut known = Producer::begin(3, batch(0, 2, 6));
        for step in 1..7 {
            known.note(3, batch(step * 2, 2, 6 + u64::from(step)));
        }
        let gap = |actual| Err(format!("the next sequence of the producer is 14, not {actual}"));
        assert_eq!(asked(&known, 3, 14, 9), Ok(None), "the next one");
        for (first, offset) in [(4, 80), (6, 90), (8, 100), (10, 110), (12, 120)] {
            assert_eq!(asked(&known, 3, first, 2), Ok(Some(offset)));
        }
        assert_eq!(asked(&known, 3, 2, 2), gap(2), "too old to be known again");
        assert_eq!(asked(&known, 3, 12, 1), gap(12), "other records under a number that is taken");
        assert_eq!(asked(&known, 3, 15, 1), gap(15), "a batch before it is missing");
        let other = ProducerSequence { producer: ID, epoch: 3, first: 12 };
        assert!(check(Some(&known), other, 2, 0).is_err(), "the same count, and other bytes");
    }

    #[test]
    fn a_new_epoch_begins_at_0_and_ends_the_one_before() {
        let mut known = Producer::begin(3, batch(0, 2, 6));
        assert_eq!(asked(&known, 4, 0, 1), Ok(None));
        let gap = "the next sequence of the producer is 0, not 2".to_owned();
        assert_eq!(asked(&known, 4, 2, 1), Err(gap.clone()));
        known.note(4, batch(0, 1, 7));
        let over = "epoch 3 of the producer is over: epoch 4 has begun".to_owned();
        assert_eq!(asked(&known, 3, 2, 1), Err(over));
        let unknown = ProducerSequence { producer: ID, epoch: 0, first: 2 };
        assert_eq!(check(None, unknown, 1, 0).unwrap_err().to_string(), gap);
        assert_eq!(check(None, ProducerSequence { first: 0, ..unknown }, 1, 0), Ok(None));
    }

    #[test]
    fn numbers_go_around_after_the_last() {
        let known = Producer::begin(0, batch(u32::MAX - 1, 3, 6));
        assert_eq!(asked(&known, 0, 1, 5), Ok(None));
        assert_eq!(asked(&known, 0, u32::MAX - 1, 3), Ok(Some(60)));
    }

    fn header(producer: u64, first: u32, index: u64) -> BatchHeader {
        let sequence = ProducerSequence { producer: ProducerId(producer), epoch: 1, first };
        BatchHeader {
            compression: ropewalk_core::Compression::None,
            timestamp_type: ropewalk_core::TimestampType::Append,
            record_count: 1,
            payload_bytes: 0,
            payload_crc: 0,
            append_time: Timestamp(index as i64),
            max_timestamp: Timestamp(0),
            base_offset: Offset(index),
            leader_epoch: 6,
            index,
            sequence: Some(sequence),
            remains: None,
            shortest_ttl: None,
        }
    }

    #[test]
    fn the_rows_hold_the_table_and_what_they_hold_is_not_applied_again() {
        let mut table = ProducerTable::default();
        let mut stored = BTreeMap::new();
        let mut keep = |rows: Vec<Row>| {
            for (key, value) in rows {
                match value {
                    Some(value) => stored.insert(key, value),
                    None => stored.remove(&key),
                };
            }
        };
        for (producer, first, index) in [(1, 0, 6), (2, 0, 7), (1, 1, 8), (3, 0, 9)] {
            keep(table.apply(&header(producer, first, index)));
        }
        let oldest: Vec<_> = table.oldest().map(|(id, index, _)| (id.0, index)).collect();
        assert_eq!(oldest, [(2, 7), (1, 8), (3, 9)]);
        // The second has appended something since it was found to be idle.
        keep(table.expire(10, &[(ProducerId(2), 7), (ProducerId(1), 6)]));
        let rows: Vec<_> = stored.into_iter().collect();
        let mut restored = ProducerTable::default();
        restored.restore(&rows).unwrap();
        assert_eq!(restored, table);
        assert_eq!(restored.keys().count(), rows.len());
        // A log that begins before the rows do is applied anew.
        assert_eq!(restored.apply(&header(2, 0, 7)), []);
        assert_eq!(restored, table);
    }
}
