//! Finds in what a client sends that it closes its HTTP/2 connection of its own accord: the GOAWAY
//! frame (RFC 9113, section 6.8), which a client that is killed, or cut off, does not send.
//!
//! Nothing else of the frames is looked at: hyper reads them.

use crate::server::PREFACE;

const HEADER: usize = 9;
const GOAWAY: u8 = 7;
/// A GOAWAY's payload begins with the last stream and the error code, which is 0 where there is
/// none: a client that closes a connection for an error may well come back.
const PAYLOAD: usize = 8;

/// Where in the bytes of a connection the next frame begins, and what is known of its beginning.
#[derive(Debug)]
pub(crate) struct Farewell {
    /// What is still to come of the preface or of a frame's payload.
    skip: usize,
    /// The header, and of a GOAWAY the payload.
    begun: [u8; HEADER + PAYLOAD],
    known: usize,
}

impl Farewell {
    pub(crate) fn new() -> Self {
        Self { skip: PREFACE.len(), begun: [0; HEADER + PAYLOAD], known: 0 }
    }

    /// Looks through the next bytes. Returns whether a farewell ends in them.
    pub(crate) fn is_in(&mut self, mut bytes: &[u8]) -> bool {
        let mut is_found = false;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return is_found;
            }
            let wanted = if self.known < HEADER { HEADER } else { HEADER + PAYLOAD };
            let taken = (wanted - self.known).min(bytes.len());
            let (begun, rest) = bytes.split_at(taken);
            self.begun[self.known..self.known + taken].copy_from_slice(begun);
            self.known += taken;
            bytes = rest;
            if self.known == wanted {
                is_found |= self.has_begun();
            }
        }
    }

    /// A header, or what comes behind it, is complete. Returns whether that is a farewell.
    fn has_begun(&mut self) -> bool {
        let [long, middle, short, kind, ..] = self.begun;
        let payload = u32::from_be_bytes([0, long, middle, short]) as usize;
        if self.known == HEADER && kind == GOAWAY && payload >= PAYLOAD {
            return false;
        }
        let is_farewell = self.known > HEADER && self.begun.ends_with(&[0; 4]);
        self.skip = payload - (self.known - HEADER);
        self.known = 0;
        is_farewell
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
        fn a_farewell_is_found_however_the_bytes_come(
            before in prop::collection::vec((0..7_u8, 0..600_usize), 0..6),
            ends in prop::option::of((0..2_u8, 0..20_usize)),
            after in 0..40_usize,
            pieces in prop::collection::vec(1..300_usize, 1..8),
        ) {
            let mut bytes = PREFACE.to_vec();
            before.iter().for_each(|(kind, payload)| bytes.extend(frame(*kind, *payload)));
            if let Some((error, debug_data)) = ends {
                let goaway = bytes.len();
                bytes.extend(frame(GOAWAY, PAYLOAD + debug_data));
                bytes[goaway + HEADER..][..PAYLOAD].copy_from_slice(&[0, 0, 0, 3, 0, 0, 0, error]);
            }
            bytes.extend(frame(0, after));
            let (mut farewell, mut is_found, mut rest) = (Farewell::new(), false, &bytes[..]);
            for piece in pieces.into_iter().cycle() {
                let (next, later) = rest.split_at(piece.min(rest.len()));
                is_found |= farewell.is_in(next);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(is_found, ends.is_some_and(|(error, _)| error == 0));
        }
    }
}
