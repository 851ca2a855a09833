//! Where in a compacted batch the records stand that are left: at the front of its payload, for
//! each, as a varint, how many are gone before it.

/// The positions of the records that compaction has left in a batch, in order.
#[derive(Clone, Debug)]
pub struct Positions<'a> {
    rest: &'a [u8],
    next: u32,
    left: u32,
}

impl<'a> Positions<'a> {
    pub(super) fn new(front: &'a [u8], records: u32) -> Self {
        Self { rest: front, next: 0, left: records }
    }
}

impl Iterator for Positions<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        let (mut gone, mut shift) = (0_u32, 0);
        loop {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            gone |= u32::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if *byte < 0x80 {
                break;
            }
        }
        let position = self.next.checked_add(gone)?;
        self.next = position.checked_add(1)?;
        Some(position)
    }
}

/// The stored form of positions, which rise.
pub(crate) fn encode_positions(positions: impl Iterator<Item = u32>) -> Vec<u8> {
    let (mut out, mut next) = (Vec::new(), 0);
    for position in positions {
        let mut gone = position - next;
        while gone >= 0x80 {
            out.push((gone & 0x7f) as u8 | 0x80);
            gone >>= 7;
        }
        out.push(gone as u8);
        next = position + 1;
    }
    out
}
