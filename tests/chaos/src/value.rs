//! Values that say who wrote them, and whether they are whole.
//!
//! `CLIENT-COUNTER ` in decimal, a payload of any bytes, and the CRC-32C of all that before it. No
//! value is ever sent twice on purpose.

use bytes::{BufMut, Bytes, BytesMut};

use crate::history::Client;
use crate::rng::Rng;

/// What a value says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId {
    /// Who sent it.
    pub client: Client,
    /// Its number among the values of this client.
    pub counter: u64,
}

impl std::fmt::Display for ValueId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.client, self.counter)
    }
}

/// A value with a payload of this many bytes.
#[must_use]
pub fn encode(id: ValueId, payload: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(payload + 64);
    out.put_slice(format!("{id} ").as_bytes());
    let end = out.len() + payload;
    let mut rng = Rng::part(u64::from(id.client), id.counter);
    while out.len() < end {
        let bytes = rng.number().to_le_bytes();
        out.put_slice(&bytes[..bytes.len().min(end - out.len())]);
    }
    let crc = crc32c::crc32c(&out);
    out.put_u32(crc);
    out.freeze()
}

/// Who wrote a value; nothing when it is not as it was written.
#[must_use]
pub fn decode(value: &[u8]) -> Option<ValueId> {
    let (body, crc) = value.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_be_bytes(*crc) {
        return None;
    }
    let head = body.splitn(2, |byte| *byte == b' ').next()?;
    let (client, counter) = std::str::from_utf8(head).ok()?.split_once('-')?;
    Some(ValueId { client: client.parse().ok()?, counter: counter.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_value_is_found() {
        let id = ValueId { client: 12, counter: 34 };
        for payload in [0, 1, 7, 100, 5_000] {
            let value = encode(id, payload);
            assert_eq!(decode(&value), Some(id));
            for at in (0..value.len()).step_by(1 + payload / 50) {
                let mut bad = value.to_vec();
                bad[at] ^= 0x10;
                assert_eq!(decode(&bad), None, "byte {at}");
            }
            assert_eq!(decode(&value[..value.len() - 1]), None);
        }
        assert_eq!(decode(b""), None);
    }
}
