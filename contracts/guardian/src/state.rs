//! The contract's state. What is read or written in many places is so by one
//! function out of line: the module has 64 KiB.
//!
//! ```text
//! rules                          how long things take
//! next                           the number of the next case
//! case/   number                 a case
//! open/   device                 the case of it that is not closed
//! of/     owner | number         cases by owner
//! act/    number | act           what was done in a case, evidence included
//! seen/   number | sender | digest   evidence that was given
//! count/  number | sender        how often
//! circle/ owner                  guardians
//! mark/   mark                   whose hardware it is, or who listed it
//! marks/  device | mark          the same by device
//! due/    time | number          cases on which something is due
//! turn/   time | owner           circles that change
//! timer/  time                   a timer is set
//! ```

use crate::codes::*;
use postern::{record, Abort, Bytes, Checked, Id, Item, Map, Status};

pub const NEXT: Item<u64> = Item::new("next");
pub const CASES: Map<u64, Case> = Map::new("case/");
pub const OPEN: Map<Id, u64> = Map::new("open/");
pub const OF: Map<(Id, u64), ()> = Map::new("of/");
pub const ACTS: Map<(u64, u32), Act> = Map::new("act/");

/// Kinds of cases.
pub const STOLEN: u8 = 0;
pub const LOST: u8 = 1;

/// How a case stands. Up to RECOVERING it is not closed; the device is listed
/// from OPENED on.
pub const PROPOSED: u8 = 0;
pub const OPENED: u8 = 1;
pub const FOUND: u8 = 2;
pub const CONTESTED: u8 = 3;
pub const RECOVERING: u8 = 4;
pub const RECOVERED: u8 = 5;
pub const DISMISSED: u8 = 6;
pub const EXPIRED: u8 = 7;

record! {
    /// A case.
    pub struct Case {
        1 => pub device: Id,
        /// The device's owner when it began: who buys it has no say.
        2 => pub owner: Id,
        3 => pub kind: u8,
        4 => pub state: u8,
        /// Who began it.
        5 => pub opener: Id,
        /// Whether guardians or an authority did, so that the owner may contest.
        6 => pub by_others: bool,
        7 => pub at: i64,
        /// What the ledger says of the device since.
        8 => pub status: u8,
        /// Who says that it was found.
        9 => pub finder: Option<Id>,
        /// When something happens by itself.
        10 => pub due: Option<i64>,
        /// Which guardians agree, as bits, and in which revision of the circle.
        11 => pub votes: u8,
        12 => pub revision: u32,
        /// How many acts there are.
        13 => pub acts: u32,
    }
}

/// What was done, and the topic under which it is told.
#[derive(Clone, Copy)]
pub enum Deed {
    Proposed = 0,
    Opened = 1,
    Voted = 2,
    Evidence = 3,
    Sighted = 4,
    Found = 5,
    Confirmed = 6,
    Objected = 7,
    Contested = 8,
    Ruled = 9,
    Recognised = 10,
    Recovered = 11,
    Dismissed = 12,
    Expired = 13,
    Lapsed = 14,
}

const TOPICS: [&str; 15] = [
    "proposed", "opened", "voted", "evidence", "sighted", "found", "confirmed", "objected", "contested", "ruled",
    "recognised", "recovered", "dismissed", "expired", "lapsed",
];

record! {
    /// What was done in a case.
    pub struct Act {
        1 => pub at: i64,
        /// Who did it; absent where time did.
        2 => pub by: Option<Id>,
        3 => pub deed: u8,
        /// Salted: of evidence, of a reason.
        4 => pub digest: Option<Id>,
        /// Readable by whom the sender chose.
        5 => pub sealed: Option<Bytes<'static>>,
    }
}

record! {
    /// What every event of a case tells.
    pub struct Told {
        1 => pub case: u64,
        2 => pub device: Id,
        3 => pub act: u32,
        4 => pub by: Option<Id>,
        5 => pub sealed: Option<Bytes<'static>>,
    }
}

impl Case {
    /// The case of a number.
    #[inline(never)]
    pub fn load(number: u64) -> Result<Case, Abort> {
        CASES.get(&number)?.ok_or(UNKNOWN_CASE)
    }

    /// Writes it.
    #[inline(never)]
    pub fn save(&self, number: u64) {
        CASES.set(&number, self);
    }

    /// Whether it is over.
    pub fn is_closed(&self) -> bool {
        self.state > RECOVERING
    }

    /// Adds an act to the history and tells it.
    #[inline(never)]
    pub fn add(&mut self, number: u64, deed: Deed, act: Act) -> Result<(), Abort> {
        let act = Act { deed: deed as u8, ..act };
        ACTS.set(&(number, self.acts), &act);
        let told = Told { case: number, device: self.device, act: self.acts, by: act.by, sealed: act.sealed };
        postern::emit(TOPICS[deed as usize], postern::encode(&told));
        self.acts = self.acts.plus(1)?;
        Ok(())
    }

    /// Goes on to another state, in which nobody has voted yet.
    pub fn turn(&mut self, state: u8) {
        self.state = state;
        self.votes = 0;
    }
}

/// What an act has in any case.
pub fn act(at: i64, by: Option<Id>) -> Act {
    Act { at, by, deed: 0, digest: None, sealed: None }
}

/// What the ledger is to say of a device, the gravest first.
pub fn statuses(kind: u8) -> &'static [Status] {
    match kind {
        STOLEN => &[Status::Stolen, Status::Quarantined],
        _ => &[Status::Suspended],
    }
}
