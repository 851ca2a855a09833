//! Changes inputs: bits, numbers, lengths, order. Everything follows from the seed.

/// No input is made longer than this.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// Numbers at which decoders go wrong.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    u64::MAX >> 1,
    u64::MAX,
];

/// Numbers that look random (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when there is none.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }

    /// A place in bytes; more often near the begin, where the heads are.
    fn place(&mut self, length: usize) -> usize {
        let near = self.below(3) > 0;
        self.below(if near { length.min(96) } else { length })
    }

    fn edge(&mut self) -> u64 {
        let edge = EDGES[self.below(EDGES.len())];
        edge.wrapping_add(self.below(5) as u64).wrapping_sub(2)
    }
}

/// Changes an input a few times; `other` is what it may be crossed with.
pub(crate) fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    for _ in 0..=rng.below(4) {
        mutate_once(bytes, other, rng);
    }
    bytes.truncate(MAX_BYTES);
}

fn mutate_once(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    if bytes.is_empty() {
        bytes.extend_from_slice(other);
        return;
    }
    let at = rng.place(bytes.len());
    match rng.below(9) {
        0 => bytes[at] ^= 1 << rng.below(8),
        1 => bytes[at] = rng.edge() as u8,
        2 => put_number(bytes, at, rng),
        3 => put_varint(bytes, at, rng),
        4 => bytes.truncate(at),
        5 => {
            let end = at + rng.below((bytes.len() - at).min(40));
            bytes.drain(at..end);
        }
        6 => {
            let end = at + rng.below((bytes.len() - at).min(200));
            let part = bytes[at..end].to_vec();
            let to = rng.place(bytes.len());
            bytes.splice(to..to, part);
        }
        7 => {
            let from = rng.below(other.len());
            let length = rng.below((other.len() - from).min(4_096) + 1);
            let end = (at + rng.below(length + 1)).min(bytes.len());
            bytes.splice(at..end, other[from..from + length].iter().copied());
        }
        _ => {
            let grown = rng.below(9);
            let byte = rng.next() as u8;
            bytes.splice(at..at, std::iter::repeat_n(byte, grown));
        }
    }
}

/// A number of fixed width over what is there: an edge, or the old one a little off.
fn put_number(bytes: &mut [u8], at: usize, rng: &mut Rng) {
    let width = [1, 2, 4, 8][rng.below(4)].min(bytes.len() - at);
    let mut old = [0; 8];
    old[..width].copy_from_slice(&bytes[at..at + width]);
    let number = match rng.below(3) {
        0 => u64::from_le_bytes(old).wrapping_add(rng.below(9) as u64).wrapping_sub(4),
        1 => bytes.len() as u64 - rng.below(bytes.len()) as u64,
        _ => rng.edge(),
    };
    let mut new = number.to_le_bytes();
    if rng.below(4) == 0 {
        new[..width].reverse();
    }
    bytes[at..at + width].copy_from_slice(&new[..width]);
}

/// A number of seven bits a byte in place of one or more bytes.
fn put_varint(bytes: &mut Vec<u8>, at: usize, rng: &mut Rng) {
    let mut number = rng.edge();
    let mut varint = Vec::new();
    while number >= 0x80 {
        varint.push(number as u8 | 0x80);
        number >>= 7;
    }
    varint.push(number as u8);
    let end = (at + 1 + rng.below(varint.len())).min(bytes.len());
    bytes.splice(at..end, varint);
}
