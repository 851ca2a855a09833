//! The 32-bit xxHash with seed 0: the checksum of LZ4 frames.

const P1: u32 = 0x9e37_79b1;
const P2: u32 = 0x85eb_ca77;
const P3: u32 = 0xc2b2_ae3d;
const P4: u32 = 0x27d4_eb2f;
const P5: u32 = 0x1656_67b1;

/// The hash of `data`.
pub(crate) fn xxh32(data: &[u8]) -> u32 {
    let (stripes, tail) = data.as_chunks::<16>();
    let mut hash = if stripes.is_empty() { P5 } else { merged_lanes(stripes) };
    // The algorithm takes the length modulo 2^32.
    hash = hash.wrapping_add(data.len() as u32);
    let (words, tail) = tail.as_chunks::<4>();
    for word in words {
        let word = u32::from_le_bytes(*word).wrapping_mul(P3);
        hash = hash.wrapping_add(word).rotate_left(17).wrapping_mul(P4);
    }
    for &byte in tail {
        let byte = u32::from(byte).wrapping_mul(P5);
        hash = hash.wrapping_add(byte).rotate_left(11).wrapping_mul(P1);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 13)).wrapping_mul(P3);
    hash ^ (hash >> 16)
}

fn merged_lanes(stripes: &[[u8; 16]]) -> u32 {
    let mut lanes = [P1.wrapping_add(P2), P2, 0, 0_u32.wrapping_sub(P1)];
    for stripe in stripes {
        let (words, _) = stripe.as_chunks::<4>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            let word = u32::from_le_bytes(*word).wrapping_mul(P2);
            *lane = lane.wrapping_add(word).rotate_left(13).wrapping_mul(P1);
        }
    }
    let turns = [1, 7, 12, 18];
    lanes.iter().zip(turns).fold(0, |sum, (lane, turn)| sum.wrapping_add(lane.rotate_left(turn)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        assert_eq!(xxh32(b""), 0x02cc_5d05);
        assert_eq!(xxh32(b"abc"), 0x32d1_53ff);
        assert_eq!(xxh32(b"Nobody inspects the spammish repetition"), 0xe229_3b2f);
    }
}
