//! What can be asked. Lists are what lies under a prefix of the state, handed
//! out as it is: entries of a page are not decoded. Pages end where the answer
//! would grow beyond what the host admits.

use crate::codes::*;
use crate::item::{last_offer, Thing};
use crate::message::Question;
use crate::pack::inside;
use crate::recall::standing;
use crate::state::*;
use crate::text::{Digest, Id};
use postern::cbor::Writer;
use postern::{ensure, record, reply, Context, Raw, Reply, Scan};

/// How many entries a page may have.
const MAX_LIMIT: u32 = 64;
/// Bytes of a page's entries. The host admits 16,384 with the head.
const MAX_PAGE: usize = 16_000;
/// Bytes of the longest entry: a recall, with three ids and four digests.
const MAX_ENTRY: usize = 1_000;

record! {
    /// An item as a query gives it.
    pub struct View {
        1 => pub item: Raw<'static>,
        /// Who holds it now.
        2 => pub holder: Digest,
        /// The outermost container, where it is packed.
        3 => pub outermost: Option<Id>,
        /// A recall that it is under.
        4 => pub recall: Option<u64>,
        5 => pub offer: Option<Offer>,
        6 => pub arrival: Option<Raw<'static>>,
    }
}

// What the last part of the keys of a list is.
#[derive(Clone, Copy, PartialEq)]
enum Tail {
    Text,
    Number,
    Digest,
}

// A list: what lies under a prefix of one or two parts. Each entry is the last
// part of its key, or that with the value behind it.
struct Shelf {
    prefix: &'static [u8],
    tail: Tail,
    values: bool,
}

impl Shelf {
    fn page(&self, after: &[u8], limit: u32) -> Reply {
        ensure!((1..=MAX_LIMIT).contains(&limit), TOO_MANY);
        let mut entries = Writer::new(MAX_PAGE);
        let mut count = 0;
        let mut rows = Scan::new(self.prefix, join(&[self.prefix, after]));
        while count < limit as usize && entries.room() >= MAX_ENTRY {
            let (key, value) = match rows.next() {
                Some(row) => row,
                None => break,
            };
            let tail = key.get(self.prefix.len()..).unwrap_or(&[]);
            if tail != after {
                self.add(&mut entries, tail, value);
                count += 1;
            }
        }
        let mut w = Writer::new(MAX_PAGE + 3);
        w.array(count).raw(entries.finish()?);
        Ok(w.finish()?)
    }

    fn add(&self, w: &mut Writer, tail: &[u8], value: &[u8]) {
        if self.values {
            w.array(2);
        }
        match self.tail {
            Tail::Text => w.text_bytes(tail),
            Tail::Number => w.uint(tail.iter().fold(0, |n, &c| n << 8 | c as u64)),
            Tail::Digest => w.bytes(tail),
        };
        if self.values {
            w.raw(value);
        }
    }
}

// Bytes one behind another.
fn join(parts: &[&[u8]]) -> &'static [u8] {
    let buf = postern::buffer(parts.iter().map(|part| part.len()).sum());
    let mut at = 0;
    for part in parts {
        buf[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    buf
}

fn texts(prefix: &'static [u8], after: &str, limit: u32, values: bool) -> Reply {
    Shelf { prefix, tail: Tail::Text, values }.page(after.as_bytes(), limit)
}

fn numbers(prefix: &'static [u8], after: &[u8], limit: u32) -> Reply {
    Shelf { prefix, tail: Tail::Number, values: true }.page(after, limit)
}

pub fn query(c: &Context) -> Reply {
    match c.parse_message()? {
        Question::Item { item } => view(item),
        Question::Chain { item, after, limit } => numbers(join(&[b"s/", item.0.as_bytes(), &[0, 0]]), &after.to_be_bytes(), limit),
        Question::Inside { container, after, limit } => texts(join(&[b"c/", &inside(container.0)]), after, limit, false),
        Question::Held { account, after, limit } => texts(join(&[b"h/", account.0]), after, limit, false),
        Question::Offers { account, after, limit } => texts(join(&[b"t/", account.0]), after, limit, true),
        Question::Recalls { after, limit } => numbers(b"r/", &after.to_be_bytes(), limit),
        Question::Alarms { after, limit } => texts(b"z/", after, limit, true),
        Question::Expected { after, limit } => texts(b"x/", after, limit, true),
        Question::Parties { after, limit } => {
            let after: &[u8] = after.as_ref().map_or(&[], |after| after.0);
            Shelf { prefix: b"p/", tail: Tail::Digest, values: true }.page(after, limit)
        }
        Question::Event { id } => event(id),
        Question::Events { after, limit } => numbers(b"e/", &after.to_be_bytes(), limit),
        Question::Content { event } => stored(join(&[b"E/", &event.to_be_bytes()])),
        Question::Document { document } => stored(join(&[b"d/", document.0])),
        Question::Documents { after, limit } => numbers(b"n/", &after.to_be_bytes(), limit),
        Question::Header { document } => stored(join(&[b"D/", document.0])),
        Question::Places { document, after, limit } => numbers(join(&[b"g/", document.0]), &after.to_be_bytes(), limit),
    }
}

// An entry of the state as it is, null where there is none.
fn stored(key: &[u8]) -> Reply {
    reply(&postern::state_get(key).map(Raw))
}

fn view(item: Id) -> Reply {
    let raw = match postern::state_get(join(&[b"i/", item.0.as_bytes()])) {
        None => return reply(&None::<u64>),
        Some(raw) => raw,
    };
    let thing = Thing::load(item.0)?;
    let outermost = thing.outermost()?;
    reply(&View {
        item: Raw(raw),
        holder: outermost.holder,
        outermost: thing.item.parent.map(|_| id(outermost.id)),
        recall: standing(&thing)?,
        offer: Some(last_offer(thing.id)?).filter(|offer| offer.open.is_some()),
        arrival: postern::state_get(join(&[b"x/", item.0.as_bytes()])).map(Raw),
    })
}

fn event(id: Digest) -> Reply {
    let number: u64 = match KNOWN.get(id.0)? {
        None => return reply(&None::<u64>),
        Some(number) => number,
    };
    reply(&(number, postern::state_get(join(&[b"e/", &number.to_be_bytes()])).map(Raw)))
}
