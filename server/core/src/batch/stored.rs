//! A batch as it lies in a log.

use std::borrow::Cow;

use super::*;

/// A batch as it lies in the log, shared by all who read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// What is known of it.
    pub header: BatchHeader,
    /// The producer's bytes.
    pub payload: Bytes,
}

impl StoredBatch {
    /// Takes a batch that was just sealed here, or whose checksum the caller has checked.
    pub fn trusted(stored: &Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::read(stored)?;
        Ok(Self { payload: stored.slice(header.stored_len()..), header })
    }

    /// Takes a batch that comes from a disk or a network, and checks every byte of it.
    pub fn checked(stored: &Bytes) -> Result<Self, BatchError> {
        let batch = Self::trusted(stored)?;
        batch.check_payload()?;
        Ok(batch)
    }

    /// The same, of a header and a payload that stand apart, so that neither has to be copied.
    pub fn from_parts(header: &[u8], payload: Bytes) -> Result<Self, BatchError> {
        let expected = BatchHeader::length_in(header)?;
        if header.len() != expected {
            return Err(BatchError::Length { expected, actual: header.len() });
        }
        let batch = Self { header: BatchHeader::read_before(header, payload.len())?, payload };
        batch.check_payload()?;
        Ok(batch)
    }

    /// The header in its stored form.
    #[must_use]
    pub fn header_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.header.stored_len()];
        self.header.write(&mut bytes);
        bytes
    }

    /// The records that are there, in the batch's codec.
    #[must_use]
    pub fn records(&self) -> Bytes {
        let positions = self.header.remains.map_or(0, |remains| remains.positions_bytes as usize);
        self.payload.slice(positions.min(self.payload.len())..)
    }

    /// The positions of the records that are there, from the batch's first offset; `None` while all
    /// are.
    #[must_use]
    pub fn positions(&self) -> Option<Positions<'_>> {
        let remains = self.header.remains?;
        let bytes = remains.positions_bytes as usize;
        let front = self.payload.get(..bytes).unwrap_or_default();
        Some(Positions::new(front, remains.records))
    }

    /// The same of each record that is there, also while all are.
    pub fn held(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match self.positions() {
            Some(positions) => Box::new(positions),
            None => Box::new(0..self.header.record_count),
        }
    }

    /// What is left of a batch: the records at these positions, packed by this codec. The rest of
    /// its header stays.
    pub(crate) fn of_left(
        header: &BatchHeader,
        positions: &[u32],
        compression: Compression,
        packed: &[u8],
    ) -> Self {
        let mut payload = encode_positions(positions.iter().copied());
        let places = (positions.len(), payload.len());
        payload.extend_from_slice(packed);
        Self::of_payload(header, places, compression, payload)
    }

    /// The same, of uncompressed records that are written straight to their place: memory holds
    /// nothing twice. `left` gives the same each time.
    pub(crate) fn of_written<'a, I: Iterator<Item = (u32, Cow<'a, [u8]>)>>(
        header: &BatchHeader,
        left: impl Fn() -> I,
    ) -> Self {
        let (mut count, mut bytes) = (0, 0);
        let positions = left().map(|(position, record)| {
            (count, bytes) = (count + 1, bytes + record.len());
            position
        });
        let front = encode_positions(positions);
        let places = (count, front.len());
        let mut payload = Vec::with_capacity(front.len() + bytes);
        payload.extend_from_slice(&front);
        left().for_each(|(_, record)| payload.extend_from_slice(&record));
        Self::of_payload(header, places, Compression::None, payload)
    }

    /// A batch of which so many records are left, behind so many bytes of their positions.
    fn of_payload(
        header: &BatchHeader,
        (records, positions_bytes): (usize, usize),
        compression: Compression,
        payload: Vec<u8>,
    ) -> Self {
        let length = |bytes: usize| u32::try_from(bytes).expect("a batch is far below 4 GiB");
        let remains = Remains {
            records: length(records),
            positions_bytes: length(positions_bytes),
            produced_crc: header.produced_crc(),
        };
        let header = BatchHeader {
            compression,
            payload_bytes: length(payload.len()),
            payload_crc: crc32c::crc32c(&payload),
            remains: Some(remains),
            ..*header
        };
        Self { header, payload: payload.into() }
    }

    /// The same batch with none of its records: its offsets stay.
    #[must_use]
    pub fn emptied(&self) -> Self {
        let remains =
            Remains { records: 0, positions_bytes: 0, produced_crc: self.header.produced_crc() };
        let header = BatchHeader {
            compression: Compression::None,
            payload_bytes: 0,
            payload_crc: crc32c::crc32c(&[]),
            remains: Some(remains),
            shortest_ttl: None,
            ..self.header
        };
        Self { header, payload: Bytes::new() }
    }

    /// Its stored form.
    #[must_use]
    pub fn stored(&self) -> Bytes {
        let mut bytes = self.header_bytes();
        bytes.extend_from_slice(&self.payload);
        bytes.into()
    }

    fn check_payload(&self) -> Result<(), BatchError> {
        if crc32c::crc32c(&self.payload) != self.header.payload_crc {
            return Err(BatchError::Checksum("batch payload"));
        }
        Ok(())
    }
}
