//! Which partition a key belongs to: the same on every client, and on the broker.

const SEED: u32 = 0x9747_b28c;
const MIX: u32 = 0x5bd1_e995;

/// The 32-bit MurmurHash2 that Kafka's Java client places keys with.
fn murmur2(key: &[u8]) -> u32 {
    // Keys are far below 4 GiB: a record is at most a few MiB.
    let mut hash = SEED ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ (word ^ (word >> 24)).wrapping_mul(MIX);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
        hash = (hash ^ last).wrapping_mul(MIX);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

/// The partition, from 0, that records with this key go to in a topic of `partition_count`
/// partitions: murmur2 of the key, its sign bit cleared, modulo the count, as in Kafka's Java
/// client. A count below 1 is taken for 1.
///
/// ```
/// assert_eq!(ropewalk::partition_of(b"foobar", 1), 0);
/// assert!(ropewalk::partition_of(b"foobar", 12) < 12);
/// ```
#[must_use]
pub fn partition_of(key: &[u8], partition_count: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff).cast_signed() % partition_count.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_java_client() {
        let known: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn a_partition_is_always_below_the_count() {
        for count in [-1, 0, 1, 7, 10_000] {
            assert!((0..count.max(1)).contains(&partition_of(b"21", count)));
        }
    }
}
