//! What anyone may ask.

use crate::codes::*;
use crate::fixed::Name;
use crate::device;
use crate::line::LINES;
use crate::release::envelope_key;
use postern::cbor::Writer;
use postern::{choice, ensure, reply, Abort, Bytes, Context, Id, Reply, Scan};

choice! {
    /// What `query` answers.
    pub enum Query {
        1 => Line { line: Name },
        2 => Lines { after: Option<Name>, limit: u8 },
        3 => Keys { line: Name, after: Option<Bytes<'static>>, limit: u8 },
        4 => Members { line: Name, after: Option<Id>, limit: u8 },
        5 => Fleet { line: Name, after: Option<Id>, limit: u8 },
        6 => Release { line: Name, sequence: u64 },
        7 => Releases { line: Name, after: Option<u64>, limit: u8 },
        8 => Envelope { line: Name, sequence: u64 },
        9 => Approvals { manifest: Id, after: Option<Id>, limit: u8 },
        10 => Plan { line: Name, sequence: u64 },
        11 => Tally { line: Name, sequence: u64 },
        12 => Next { line: Name, device: Id, have: Option<u64> },
        13 => Installed { device: Id, after: Option<Name>, limit: u8 },
        14 => History { device: Id, after: Option<u64>, limit: u8 },
    }
}

/// Entries of a page.
const MAX_PAGE: u8 = 64;
/// Bytes of a page: what no longer fits begins the next.
const PAGE: usize = postern::MAX_RESULT - 8;

/// Answers a question. A page holds entries [key, value].
pub fn query(c: &Context) -> Reply {
    let q = parse(c)?;
    match q {
        Query::Line { line } => reply(&LINES.get(&line.as_str())?),
        Query::Release { line, sequence } => stored("release/", line, sequence),
        Query::Plan { line, sequence } => stored("plan/", line, sequence),
        Query::Tally { line, sequence } => stored("tally/", line, sequence),
        Query::Envelope { line, sequence } => {
            reply(&postern::state_get(envelope_key(&(line.as_str(), sequence))).map(Bytes))
        }
        Query::Next { line, device, have } => reply(&device::next(line.as_str(), &device, have)?),
        other => list(other),
    }
}

#[inline(never)]
fn parse(c: &Context) -> Result<Query, Abort> {
    c.parse_message()
}

// An entry of a release's as it is stored, or null.
fn stored(map: &str, line: Name, sequence: u64) -> Reply {
    let key = joined(map, line.as_str().as_bytes(), ENDS, &sequence.to_be_bytes());
    Ok(postern::state_get(key).unwrap_or(NULL))
}

const NULL: &[u8] = &[0xf6];
/// What ends a text within a key.
const ENDS: &[u8] = &[0, 0];

// The state key of a map's entry, or the beginning of several.
#[inline(never)]
fn joined(map: &str, first: &[u8], end: &[u8], second: &[u8]) -> &'static [u8] {
    let parts = [map.as_bytes(), first, end, second];
    let key = postern::buffer(parts.iter().map(|p| p.len()).sum());
    let mut at = 0;
    for part in parts {
        key[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    key
}

// How the last part of a map's keys is shown.
#[derive(Clone, Copy)]
enum Last {
    Text,
    Bytes,
    Uint,
}

fn list(q: Query) -> Reply {
    let of = |map, line: Name, after, kind, limit| page(map, line.as_str().as_bytes(), ENDS, after, kind, limit);
    match q {
        Query::Lines { after, limit } => page("line/", &[], &[], after.map(text), Last::Text, limit),
        Query::Keys { line, after, limit } => of("key/", line, after.map(|k| k.0), Last::Bytes, limit),
        Query::Members { line, after, limit } => of("member/", line, after.map(hash), Last::Bytes, limit),
        Query::Fleet { line, after, limit } => of("fleet/", line, after.map(hash), Last::Bytes, limit),
        Query::Releases { line, after, limit } => of("release/", line, after.map(uint), Last::Uint, limit),
        Query::Approvals { manifest, after, limit } => {
            page("approval/", manifest.0, &[], after.map(hash), Last::Bytes, limit)
        }
        Query::Installed { device, after, limit } => {
            page("installed/", device.0, &[], after.map(text), Last::Text, limit)
        }
        Query::History { device, after, limit } => page("history/", device.0, &[], after.map(uint), Last::Uint, limit),
        _ => Err(postern::cbor::Error::Field.into()),
    }
}

fn text(name: Name) -> &'static [u8] {
    name.as_str().as_bytes()
}

fn hash(h: Id) -> &'static [u8] {
    h.0
}

#[inline(never)]
fn uint(n: u64) -> &'static [u8] {
    let kept = postern::buffer(8);
    kept.copy_from_slice(&n.to_be_bytes());
    kept
}

// The entries behind `after` whose key begins with `first` and its end: keys
// are the last part, values stand as they are stored.
#[inline(never)]
fn page(map: &str, first: &[u8], end: &[u8], after: Option<&'static [u8]>, kind: Last, limit: u8) -> Reply {
    ensure!(limit > 0 && limit <= MAX_PAGE, BAD_LIMIT);
    let prefix = joined(map, first, end, &[]);
    let start = joined(map, first, end, after.unwrap_or(&[]));
    let mut rows = Scan::new(prefix, start);
    let mut w = Writer::new(PAGE);
    let mut count = 0;
    while let Some((key, value)) = rows.next() {
        let last = &key[prefix.len()..];
        if Some(last) == after {
            continue;
        }
        if count == limit || w.room() < last.len() + value.len() + 16 {
            break;
        }
        w.array(2);
        shown(&mut w, last, kind).raw(value);
        count += 1;
    }
    whole(count, w.finish()?)
}

fn shown<'a>(w: &'a mut Writer, last: &[u8], kind: Last) -> &'a mut Writer {
    match kind {
        Last::Text => w.text(core::str::from_utf8(last).unwrap_or("")),
        Last::Bytes => w.bytes(last),
        Last::Uint => w.uint(last.iter().fold(0, |n, &c| n << 8 | c as u64)),
    }
}

fn whole(count: u8, items: &'static [u8]) -> Reply {
    let mut w = Writer::new(items.len() + 8);
    w.array(count as usize).raw(items);
    Ok(w.finish()?)
}
