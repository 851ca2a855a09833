//! Which partition a key belongs to. The broker, every SDK and Kafka's Java client agree, bit for
//! bit, so that a key stays on its partition whoever places it.

use crate::ids::PartitionId;

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;

/// The 32-bit MurmurHash2 of `data` with the seed that Kafka's clients use.
#[must_use]
pub fn murmur2(data: &[u8]) -> i32 {
    // The algorithm is defined on 32-bit lengths; a key is far below that.
    let mut hash = SEED ^ (data.len() as u32);
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        k ^= k >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ k.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        let mut word = [0; 4];
        word[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u32::from_le_bytes(word)).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    (hash ^ (hash >> 15)).cast_signed()
}

/// The partition of a key in a topic of `count` partitions. A count of 0, which no topic has, is
/// taken for 1.
#[must_use]
pub fn partition_of(key: &[u8], count: u32) -> PartitionId {
    let positive = murmur2(key).cast_unsigned() & 0x7fff_ffff;
    PartitionId(positive % count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_kafkas_java_client() {
        let known: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key), hash, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn a_negative_hash_loses_its_sign_rather_than_being_negated() {
        let positive = (-973_932_308_i32).cast_unsigned() & 0x7fff_ffff;
        assert_eq!(partition_of(b"21", 7), PartitionId(positive % 7));
    }

    #[test]
    fn every_count_has_a_partition_for_every_key() {
        for count in [0, 1, 3, 10_000] {
            assert!(partition_of(b"", count).0 < count.max(1));
        }
    }
}
