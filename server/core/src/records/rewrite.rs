//! The two forms of a record's contents: bytes, as they are stored, and text, for people.
//!
//! A field's two forms differ in the number in the tag alone, and all these numbers are below 16,
//! so that they fit the first byte of the tag: the rewriting happens in place and no length
//! changes.

use super::wire::{
    Frame, HEADER_TEXT, HEADER_VALUE, HEADERS, KEY, KEY_TEXT, TEXT, TIMESTAMP, VALUE, Value,
    fields, frames,
};

/// The stored form of a payload: keys, values and header values that were given as text become
/// bytes, and on request the records lose their timestamps, because the append time counts. All
/// else stays, unknown fields included.
///
/// Without either need there is no reason to call this: the payload is its own stored form.
#[must_use]
pub fn normalize(payload: &[u8], drop_timestamps: bool) -> Vec<u8> {
    let mut out = if drop_timestamps { without(payload, &[TIMESTAMP]) } else { payload.to_vec() };
    let retags = retags(
        &out,
        |number, _| match number {
            KEY_TEXT => Some(KEY),
            TEXT => Some(VALUE),
            _ => None,
        },
        |number, _| (number == HEADER_TEXT).then_some(HEADER_VALUE),
    );
    apply(&retags, &mut out);
    out
}

/// The payload for a consumer that asked for text: each key, value and header value that is UTF-8
/// is given as text, and everything else as bytes.
#[must_use]
pub fn to_text(payload: &[u8]) -> Vec<u8> {
    let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
    let mut out = payload.to_vec();
    let retags = retags(
        payload,
        |number, bytes| match number {
            KEY if is_text(bytes) => Some(KEY_TEXT),
            VALUE if is_text(bytes) => Some(TEXT),
            _ => None,
        },
        |number, bytes| (number == HEADER_VALUE && is_text(bytes)).then_some(HEADER_TEXT),
    );
    apply(&retags, &mut out);
    out
}

/// The payload with no value in any of its records: those with a key are tombstones then.
#[must_use]
pub fn without_values(payload: &[u8]) -> Vec<u8> {
    without(payload, &[VALUE, TEXT])
}

/// A tag at this place that gets another field number.
struct Retag {
    at: usize,
    number: u32,
}

fn apply(retags: &[Retag], payload: &mut [u8]) {
    for retag in retags {
        // The wire type and the continuation bit stay.
        let kept = payload[retag.at] & 0x87;
        let number = u8::try_from(retag.number).expect("the field numbers here are below 16");
        payload[retag.at] = kept | (number << 3);
    }
}

/// Asks for each length-delimited field of each record, and of each header, whether it gets another
/// number.
fn retags(
    payload: &[u8],
    of_record: impl Fn(u32, &[u8]) -> Option<u32>,
    of_header: impl Fn(u32, &[u8]) -> Option<u32>,
) -> Vec<Retag> {
    let mut retags = Vec::new();
    let mut ask = |message: &[u8], start: usize, of: &dyn Fn(u32, &[u8]) -> Option<u32>| {
        for field in fields(message) {
            if let Value::Bytes(bytes) = field.value
                && let Some(number) = of(field.number, bytes)
            {
                retags.push(Retag { at: start + field.start, number });
            }
        }
    };
    for frame in frames(payload) {
        let start = frame.body_start();
        ask(frame.body, start, &of_record);
        for field in fields(frame.body) {
            if let (HEADERS, Value::Bytes(header)) = (field.number, field.value) {
                ask(header, start + field.end - header.len(), &of_header);
            }
        }
    }
    retags
}

/// The payload whose records have none of the fields with these numbers.
fn without(payload: &[u8], numbers: &[u32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len());
    let mut end = 0;
    for frame in frames(payload) {
        push_without(&frame, payload, numbers, &mut out);
        end = frame.end;
    }
    out.extend_from_slice(&payload[end..]);
    out
}

fn push_without(frame: &Frame<'_>, payload: &[u8], numbers: &[u32], out: &mut Vec<u8>) {
    let goes = || fields(frame.body).filter(|field| numbers.contains(&field.number));
    let dropped: usize = goes().map(|field| field.end - field.start).sum();
    if dropped == 0 {
        out.extend_from_slice(&payload[frame.start..frame.end]);
        return;
    }
    out.push(0x0a);
    push_varint(frame.body.len() - dropped, out);
    let mut kept = 0;
    for field in goes() {
        out.extend_from_slice(&frame.body[kept..field.start]);
        kept = field.end;
    }
    out.extend_from_slice(&frame.body[kept..]);
}

fn push_varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
