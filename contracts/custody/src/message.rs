//! What transactions and queries say. Numbers never change their meaning;
//! schema.json names them.

use crate::text::{Amount, Class, Digest, Id, Lot, Note, Start, Suffix, Unit};
use postern::cbor::{Error, Reader, Writer};
use postern::{choice, record, Bytes, Decode, Encode, List};

record! {
    /// An item that is to be made; a batch where it has a quantity.
    pub struct New {
        1 => pub id: Id,
        2 => pub class: Option<Class>,
        3 => pub lot: Option<Lot>,
        4 => pub quantity: Option<Amount>,
        5 => pub unit: Option<Unit>,
    }
}

/// An item that is used up, [id, quantity or null]: all of it where there is
/// no quantity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Use {
    pub id: Id,
    pub quantity: Option<Amount>,
}

impl Encode for Use {
    fn encode(&self, w: &mut Writer) {
        (self.id, self.quantity).encode(w)
    }
}

impl Decode<'static> for Use {
    fn decode(r: &mut Reader<'static>) -> Result<Self, Error> {
        <(Id, Option<Amount>)>::decode(r).map(|(id, quantity)| Use { id, quantity })
    }
}

choice! {
    /// What transactions ask.
    pub enum Command {
        1 => SetParty { account: Digest, rights: u8, prefixes: List<'static, Start> },
        2 => Make { things: List<'static, New>, attributes: Option<Digest>, certificate: Option<Digest> },
        3 => Split { item: Id, parts: List<'static, (Suffix, Amount)> },
        4 => Destroy { item: Id, quantity: Option<Amount> },
        5 => Transform { inputs: List<'static, Use>, outputs: List<'static, New> },
        6 => Pack { container: Id, items: List<'static, Id> },
        7 => Unpack { container: Id, items: List<'static, Id> },
        8 => Offer { item: Id, to: Digest, expiry: i64, terms: Option<Digest> },
        9 => Accept { item: Id, offer: u32 },
        10 => Refuse { item: Id, offer: u32, reason: Note },
        11 => Cancel { item: Id },
        12 => Expect { item: Id, receiver: Digest, place: Id, due: i64, missing: i64 },
        13 => Arrive { item: Id },
        14 => Withdraw { item: Id },
        15 => Recall { item: Option<Id>, class: Option<Class>, lot: Option<Lot>, reason: Note, report: Option<Digest> },
        16 => Lift { recall: u64 },
        17 => Attach { item: Id, report: Digest, breach: bool, note: Option<Note> },
        18 => Document { document: Digest, header: Bytes<'static>, sealed: bool, count: u32 },
        19 => Take { content: Bytes<'static>, sealed: bool, effect: u8, lists: Lists, place: Option<(Digest, u32)> },
        20 => Check,
    }
}

record! {
    /// What an event does to which items.
    pub struct Lists {
        /// The container that is packed or unpacked, or was observed as well.
        1 => pub container: Option<Id>,
        /// What is observed, packed or unpacked.
        2 => pub items: List<'static, Id>,
        /// What is destroyed or used up.
        3 => pub inputs: List<'static, Use>,
        /// What is made.
        4 => pub outputs: List<'static, New>,
    }
}

choice! {
    /// What queries ask. Lists begin behind a name or number, and hold at most
    /// `limit` entries; fewer where they are long. The last page is empty.
    pub enum Question {
        1 => Item { item: Id },
        2 => Chain { item: Id, after: u32, limit: u32 },
        3 => Inside { container: Id, after: &'static str, limit: u32 },
        4 => Held { account: Digest, after: &'static str, limit: u32 },
        5 => Offers { account: Digest, after: &'static str, limit: u32 },
        6 => Recalls { after: u64, limit: u32 },
        7 => Alarms { after: &'static str, limit: u32 },
        8 => Expected { after: &'static str, limit: u32 },
        9 => Parties { after: Option<Digest>, limit: u32 },
        10 => Event { id: Digest },
        11 => Events { after: u64, limit: u32 },
        12 => Content { event: u64 },
        13 => Document { document: Digest },
        14 => Documents { after: u64, limit: u32 },
        15 => Header { document: Digest },
        16 => Places { document: Digest, after: u32, limit: u32 },
    }
}
