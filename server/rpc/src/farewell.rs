//! Finds in what a client sends that it closes its HTTP/2 connection of its own accord: the GOAWAY
//! frame (RFC 9113, section 6.8), which a client that is killed, or cut off, does not send.
//!
//! Nothing else of the frames is looked at: hyper reads them.

/// The beginning of every connection, which is no frame.
const PREFACE: usize = 24;
const HEADER: usize = 9;
const GOAWAY: u8 = 7;

/// Where in the bytes of a connection the next frame begins, and what is known of its header.
#[derive(Debug)]
pub(crate) struct Farewell {
    /// What is still to come of the preface or of a frame's payload.
    skip: usize,
    header: [u8; HEADER],
    known: usize,
}

impl Farewell {
    pub(crate) fn new() -> Self {
        Self { skip: PREFACE, header: [0; HEADER], known: 0 }
    }

    /// Looks through the next bytes. Returns whether a GOAWAY begins in them.
    pub(crate) fn is_in(&mut self, mut bytes: &[u8]) -> bool {
        let mut is_found = false;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return is_found;
            }
            let taken = (HEADER - self.known).min(bytes.len());
            let (header, rest) = bytes.split_at(taken);
            self.header[self.known..self.known + taken].copy_from_slice(header);
            self.known += taken;
            bytes = rest;
            if self.known == HEADER {
                let [long, middle, short, kind, ..] = self.header;
                self.skip = u32::from_be_bytes([0, long, middle, short]) as usize;
                self.known = 0;
                is_found |= kind == GOAWAY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).expect("it is short").to_be_bytes();
        let mut bytes = [&length[1..], &[kind, 0], &1_u32.to_be_bytes()].concat();
        // What looks like the header of a GOAWAY within a payload is none.
        bytes.extend((0..payload).map(|at| if at % HEADER == 3 { GOAWAY } else { 0 }));
        bytes
    }

    proptest! {
        #[test]
        fn a_goaway_is_found_however_the_bytes_come(
            before in prop::collection::vec((0..7_u8, 0..600_usize), 0..6),
            ends in any::<bool>(),
            pieces in prop::collection::vec(1..300_usize, 1..8),
        ) {
            let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            before.iter().for_each(|(kind, payload)| bytes.extend(frame(*kind, *payload)));
            if ends {
                bytes.extend(frame(GOAWAY, 8));
            }
            let (mut farewell, mut is_found, mut rest) = (Farewell::new(), false, &bytes[..]);
            for piece in pieces.into_iter().cycle() {
                let (next, later) = rest.split_at(piece.min(rest.len()));
                is_found |= farewell.is_in(next);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(is_found, ends);
        }
    }
}
