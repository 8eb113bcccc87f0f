//! EPCIS events: what one says is done, and what it holds is kept. The contract
//! does not read the content, which may be sealed; who reads it back compares it
//! with the lists of the message, whose digest stands beside it.

use crate::codes::*;
use crate::item::{Call, Thing, MAX_ITEMS};
use crate::message::Lists;
use crate::party::{self, IMPORTER, MAKER};
use crate::state::*;
use crate::text::{Digest, Id, Note};
use crate::{make, pack};
use postern::{done, encode, ensure, reply, sha256, Abort, Bytes, Reply};

/// Bytes of an event, or of a document without its events: a state value has
/// 16,384, and so has the answer of a query that brings it back.
const MAX_CONTENT: usize = 15_000;

const OBSERVE: u8 = 0;
const MAKE: u8 = 1;
const DESTROY: u8 = 2;
const PACK: u8 = 3;
const UNPACK: u8 = 4;
const TRANSFORM: u8 = 5;

// What an event holds, and where it comes from.
struct Content {
    id: Digest,
    bytes: Bytes<'static>,
    sealed: bool,
    document: Option<Digest>,
}

/// Begins a document of so many events.
#[inline(never)]
pub fn document(call: &Call, id: Digest, header: Bytes<'static>, sealed: bool, count: u32) -> Reply {
    party::require(call, MAKER | IMPORTER, NOT_IMPORTER)?;
    ensure!(header.0.len() <= MAX_CONTENT, TOO_LARGE);
    ensure!(!DOCUMENTS.has(id.0), TAKEN_IN);
    let number = next(DOCUMENT_COUNT)?;
    DOCUMENTS.set(id.0, &Document { number, by: call.sender()?, time: call.time(), sealed, count, taken: 0 });
    HEADERS.set(id.0, &header);
    LISTED.set(&number, &id);
    tell("document-begun", &[&id, &count]);
    done()
}

/// Takes an event in, and gives its number. What was taken in before is not
/// done again, but may have a place in another document.
#[inline(never)]
pub fn take(call: &Call, content: Bytes<'static>, sealed: bool, effect: u8, lists: Lists, place: Option<(Digest, u32)>) -> Reply {
    ensure!(content.0.len() <= MAX_CONTENT, TOO_LARGE);
    let id = Digest::keep(&sha256(content.0));
    let number = match KNOWN.get(id.0)? {
        Some(_) if place.is_none() => return Err(TAKEN_IN),
        Some(number) => number,
        None => {
            let document = place.map(|place| place.0);
            take_new(call, Content { id, bytes: content, sealed, document }, effect, &lists)?
        }
    };
    if let Some((document, index)) = place {
        put(call, document, index, number)?;
    }
    reply(&number)
}

#[inline(never)]
fn take_new(call: &Call, content: Content, effect: u8, lists: &Lists) -> Result<u64, Abort> {
    let number = next(EVENT_COUNT)?;
    apply(&Call { event: Some(number), ..*call }, effect, lists)?;
    let event = Event {
        id: content.id,
        effect,
        by: call.sender()?,
        time: call.time(),
        transaction: call.transaction(),
        sealed: content.sealed,
        container: lists.container,
        items: (lists.items.len() + lists.inputs.len() + lists.outputs.len()) as u32,
        lists: Digest::keep(&sha256(encode(lists))),
        document: content.document,
    };
    EVENTS.set(&number, &event);
    CONTENTS.set(&number, &content.bytes);
    KNOWN.set(content.id.0, &number);
    tell("taken-in", &[&number, &content.id, &effect]);
    Ok(number)
}

// Gives an event its place in a document.
fn put(call: &Call, id: Digest, index: u32, number: u64) -> Result<(), Abort> {
    let mut document = DOCUMENTS.get(id.0)?.ok_or(NO_DOCUMENT)?;
    ensure!(call.by == Some(document.by) && (1..=document.count).contains(&index), NO_DOCUMENT);
    ensure!(!PLACES.has(&(*id.0, index)), TAKEN_IN);
    PLACES.set(&(*id.0, index), &number);
    document.taken += 1;
    DOCUMENTS.set(id.0, &document);
    Ok(())
}

// Does what an event says.
#[inline(never)]
fn apply(call: &Call, effect: u8, lists: &Lists) -> Result<(), Abort> {
    let Lists { container, items, inputs, outputs } = *lists;
    let has = (container.is_some(), !items.is_empty(), !inputs.is_empty(), !outputs.is_empty());
    match (effect, has) {
        (OBSERVE, (_, _, false, false)) => observe(call, lists)?,
        (MAKE, (false, false, false, true)) => {
            make::make(call, outputs, None, None)?;
        }
        (DESTROY, (false, false, true, false)) => make::destroy_all(call, &inputs, kind::DESTROYED)?,
        (PACK, (true, true, false, false)) => {
            pack::pack(call, container.ok_or(BAD_EVENT)?, items)?;
        }
        (UNPACK, (true, _, false, false)) => {
            pack::unpack(call, container.ok_or(BAD_EVENT)?, items)?;
        }
        (TRANSFORM, (false, false, true, true)) => {
            make::transform(call, inputs, outputs)?;
        }
        _ => return Err(BAD_EVENT),
    }
    Ok(())
}

// An event that is about no item is noted by those who may bring items in.
fn observe(call: &Call, lists: &Lists) -> Result<(), Abort> {
    if lists.items.is_empty() && lists.container.is_none() {
        party::require(call, MAKER | IMPORTER, NOT_IMPORTER)?;
    }
    ensure!(lists.items.len() <= MAX_ITEMS, TOO_MANY);
    if let Some(container) = lists.container {
        make::observe(call, container)?;
    }
    for id in lists.items.iter() {
        make::observe(call, id?)?;
    }
    Ok(())
}

/// Attaches a report, of a temperature for example: its holder does, or a
/// device of the holder's.
#[inline(never)]
pub fn attach(call: &Call, item: Id, report: Digest, breach: bool, note: Option<Note>) -> Reply {
    let mut thing = Thing::load(item.0)?;
    let holder = thing.outermost()?.holder;
    let device = call.env.device().map(|device| device.owner());
    ensure!(call.by == Some(holder) || device.as_ref() == Some(holder.0), NOT_HOLDER);
    thing.require_there()?;
    let mut step = call.step(if breach { kind::BREACH } else { kind::EVIDENCE });
    step.hash = Some(report);
    step.note = note;
    tell("attached", &[&item, &breach, &report]);
    thing.note(&step);
    done()
}
