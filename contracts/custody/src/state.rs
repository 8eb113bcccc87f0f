//! What lies on the ledger.
//!
//! ```text
//! c/ hash of a container, item      what is packed in it
//! d/ document                       an EPCIS document
//! D/ document                       its content without the events
//! e/ number                         an event that was taken in
//! E/ number                         its content
//! g/ document, place                number of the event in this place
//! h/ account, item                  what an account holds, outermost
//! i/ item                           an item
//! k/ hash of an event               its number
//! l/ hash of what is recalled       number of the recall in force
//! n/ number                         a document, in order of arrival
//! o/ item                           its offer, or the number of the last
//! p/ account                        a party
//! r/ number                         a recall
//! s/ item, number                   a step in an item's life
//! t/ account, item                  what is offered to an account
//! u/ time, item                     when to look after an arrival
//! w/ time                           timers that were set
//! x/ item                           an arrival that is expected
//! z/ item                           an arrival that is late or missing
//! events, recalls, documents        the last number of each
//! ```
//!
//! No value holds a list that grows with use.

use crate::text::{Amount, Class, Digest, Id, Lot, Name, Note, Start, Unit};
use postern::{record, Bytes, Hash, List, Map, Raw};

record! {
    /// A party that the owner named.
    pub struct Party {
        1 => pub rights: u8,
        /// What the ids of what it makes begin with; any where there is none.
        2 => pub prefixes: List<'static, Start>,
    }
}

record! {
    /// An item or, with a quantity, a batch. While it is packed, whoever holds
    /// the outermost container holds it, and `holder` is who packed it.
    pub struct Item {
        /// Who made it here; who only brought it in made nothing.
        1 => pub maker: Option<Digest>,
        2 => pub holder: Digest,
        /// When it was made or brought in.
        3 => pub since: i64,
        /// How many steps its life has so far.
        4 => pub steps: u32,
        /// SHA-256 over the head before and the last step's encoding; before
        /// the first, of the id.
        5 => pub head: Digest,
        6 => pub attributes: Option<Digest>,
        7 => pub certificate: Option<Digest>,
        8 => pub class: Option<Class>,
        9 => pub lot: Option<Lot>,
        10 => pub quantity: Option<Amount>,
        11 => pub unit: Option<Unit>,
        12 => pub parent: Option<Id>,
        /// How many items lie directly in it.
        13 => pub children: Option<u32>,
        /// At most so many levels lie in it.
        14 => pub levels: Option<u8>,
        /// The kind of the step that ended it.
        15 => pub ended: Option<u8>,
    }
}

record! {
    /// A step in an item's life.
    pub struct Step {
        1 => pub kind: u8,
        2 => pub time: i64,
        /// Who signed it; nobody signed a timer's.
        3 => pub by: Option<Digest>,
        4 => pub transaction: Option<Digest>,
        /// The giver of a hand-off, or who should receive.
        5 => pub other: Option<Digest>,
        /// The container, the batch split, or the place.
        6 => pub place: Option<Id>,
        /// Terms, attributes, or a report.
        7 => pub hash: Option<Digest>,
        /// The transaction of the offer that was accepted.
        8 => pub offer: Option<Digest>,
        /// The number of the event that said so.
        9 => pub event: Option<u64>,
        10 => pub quantity: Option<Amount>,
        11 => pub note: Option<Note>,
    }
}

/// Kinds of steps.
pub mod kind {
    pub const MADE: u8 = 0;
    pub const BROUGHT_IN: u8 = 1;
    pub const OBSERVED: u8 = 2;
    pub const HANDED_OVER: u8 = 3;
    pub const REFUSED: u8 = 4;
    pub const PACKED: u8 = 5;
    pub const UNPACKED: u8 = 6;
    pub const SPLIT: u8 = 7;
    pub const PART: u8 = 8;
    pub const EVIDENCE: u8 = 9;
    pub const BREACH: u8 = 10;
    pub const LATE: u8 = 11;
    pub const MISSING: u8 = 12;
    pub const ARRIVED: u8 = 13;
    pub const WITHDRAWN: u8 = 14;
    pub const RECALLED: u8 = 15;
    pub const LIFTED: u8 = 16;
    pub const DESTROYED: u8 = 17;
    pub const USED: u8 = 18;
    pub const PRODUCED: u8 = 19;
    pub const EXPECTED: u8 = 20;
}

record! {
    /// An offer; where it is closed only its number is left.
    pub struct Offer {
        1 => pub number: u32,
        2 => pub open: Option<Open>,
    }
}

record! {
    /// What an open offer says.
    pub struct Open {
        1 => pub to: Digest,
        /// The first time at which it cannot be accepted any more.
        2 => pub expiry: i64,
        3 => pub terms: Option<Digest>,
        4 => pub transaction: Option<Digest>,
    }
}

record! {
    /// An arrival that somebody waits for.
    pub struct Arrival {
        1 => pub by: Digest,
        2 => pub receiver: Digest,
        3 => pub place: Id,
        /// It is late at this time, and missing at that.
        4 => pub due: i64,
        5 => pub missing: i64,
        /// 0 waiting, 1 late, 2 missing.
        6 => pub stage: u8,
    }
}

record! {
    /// A recall of an item, a lot, or a class.
    pub struct Recall {
        1 => pub by: Digest,
        2 => pub time: i64,
        /// Whose items it is about; everybody's where an authority recalls.
        3 => pub maker: Option<Digest>,
        4 => pub item: Option<Id>,
        5 => pub class: Option<Class>,
        6 => pub lot: Option<Lot>,
        7 => pub reason: Note,
        8 => pub report: Option<Digest>,
        9 => pub lifted: Option<i64>,
        10 => pub lifted_by: Option<Digest>,
    }
}

record! {
    /// An event that was taken in.
    pub struct Event {
        1 => pub id: Digest,
        2 => pub effect: u8,
        3 => pub by: Digest,
        4 => pub time: i64,
        5 => pub transaction: Option<Digest>,
        6 => pub sealed: bool,
        7 => pub container: Option<Id>,
        /// How many items it was about, and SHA-256 of the message's lists.
        8 => pub items: u32,
        9 => pub lists: Digest,
        /// The document that it came with.
        10 => pub document: Option<Digest>,
    }
}

record! {
    /// A document whose events are taken in one by one.
    pub struct Document {
        1 => pub number: u64,
        2 => pub by: Digest,
        3 => pub time: i64,
        4 => pub sealed: bool,
        5 => pub count: u32,
        /// How many of its events are there.
        6 => pub taken: u32,
    }
}

pub const CHILDREN: Map<(Hash, &'static str), ()> = Map::new("c/");
pub const DOCUMENTS: Map<Hash, Document> = Map::new("d/");
pub const HEADERS: Map<Hash, Bytes<'static>> = Map::new("D/");
pub const EVENTS: Map<u64, Event> = Map::new("e/");
pub const CONTENTS: Map<u64, Bytes<'static>> = Map::new("E/");
pub const PLACES: Map<(Hash, u32), u64> = Map::new("g/");
pub const HELD: Map<(Hash, &'static str), ()> = Map::new("h/");
pub const ITEMS: Map<&'static str, Item> = Map::new("i/");
pub const KNOWN: Map<Hash, u64> = Map::new("k/");
pub const IN_FORCE: Map<Hash, u64> = Map::new("l/");
pub const LISTED: Map<u64, Digest> = Map::new("n/");
pub const OFFERS: Map<&'static str, Offer> = Map::new("o/");
pub const PARTIES: Map<Hash, Party> = Map::new("p/");
pub const RECALLS: Map<u64, Recall> = Map::new("r/");
pub const STEPS: Map<(&'static str, u32), Raw<'static>> = Map::new("s/");
pub const OFFERED: Map<(Hash, &'static str), Offer> = Map::new("t/");
pub const DUE: Map<(i64, &'static str), ()> = Map::new("u/");
pub const TIMERS: Map<i64, ()> = Map::new("w/");
pub const ARRIVALS: Map<&'static str, Arrival> = Map::new("x/");
pub const ALARMS: Map<&'static str, Arrival> = Map::new("z/");

/// Counts up and gives the new number, which begins with 1.
pub fn next(counter: postern::Item<u64>) -> Result<u64, postern::Abort> {
    let number = counter.get()?.unwrap_or(0) + 1;
    counter.set(&number);
    Ok(number)
}

pub const EVENT_COUNT: postern::Item<u64> = postern::Item::new("events");
pub const RECALL_COUNT: postern::Item<u64> = postern::Item::new("recalls");
pub const DOCUMENT_COUNT: postern::Item<u64> = postern::Item::new("documents");

/// A name that is known to be good, such as one that was read from a key.
pub fn id(text: &'static str) -> Id {
    Name(text)
}

/// Emits an event whose data is an array.
#[inline(never)]
pub fn tell(topic: &str, data: &[&dyn postern::Encode]) {
    postern::emit(topic, postern::encode(data));
}

/// Lists an item under who holds it; only what is outermost is listed.
#[inline(never)]
pub fn hold(account: Digest, id: &'static str) {
    HELD.set(&(*account.0, id), &());
}

/// Takes an item off the list of an account.
#[inline(never)]
pub fn let_go(account: Digest, id: &'static str) {
    HELD.delete(&(*account.0, id));
}

/// Takes an offer off the list of an account.
#[inline(never)]
pub fn unlist(taker: Digest, id: &'static str) {
    OFFERED.delete(&(*taker.0, id));
}
