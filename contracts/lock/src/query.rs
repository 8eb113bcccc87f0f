//! What anybody may read. Lists come in pages.

use crate::codes::*;
use crate::hours::ZONES;
use crate::right::RIGHTS;
use crate::state::{BY_GUEST, ENTRIES, HEALTH, LOCKS};
use postern::{choice, ensure, reply, Abort, Context, Id, Reply, Rows};

choice! {
    /// What queries may ask.
    pub enum Question {
        /// A lock.
        1 => Lock { lock: Id },
        /// A guest's right, as it was given.
        2 => Right { lock: Id, kind: u8, guest: Id },
        /// The rights of a lock behind one.
        3 => Rights { lock: Id, after: Option<(u8, Id)>, limit: u8 },
        /// The entries of a lock behind one.
        4 => Entries { lock: Id, after: Option<u64>, limit: u8 },
        /// The entries of one guest behind one.
        5 => EntriesOf { lock: Id, guest: Id, after: Option<u64>, limit: u8 },
        /// A lock's time zone.
        6 => Zone { lock: Id },
        /// What a lock told last of itself.
        7 => Health { lock: Id },
    }
}

const MAX_ROWS: u8 = 64;

pub fn query(c: &Context) -> Reply {
    match c.parse_message()? {
        Question::Lock { lock } => reply(&LOCKS.get(&lock)?),
        Question::Right { lock, kind, guest } => reply(&RIGHTS.get(&(lock, kind, guest))?),
        Question::Rights { lock, after, limit } => rights(lock, after, page(limit)?),
        Question::Entries { lock, after, limit } => entries(lock, from(after), page(limit)?),
        Question::EntriesOf { lock, guest, after, limit } => entries_of(lock, guest, from(after), page(limit)?),
        Question::Zone { lock } => reply(&ZONES.get(&lock)?),
        Question::Health { lock } => reply(&HEALTH.get(&lock)?),
    }
}

fn page(limit: u8) -> Result<Rows, Abort> {
    ensure!((1..=MAX_ROWS).contains(&limit), BAD_PAGE);
    Ok(Rows::new(limit))
}

fn from(after: Option<u64>) -> u64 {
    after.map_or(0, |number| number.saturating_add(1))
}

fn rights(lock: Id, after: Option<(u8, Id)>, mut rows: Rows) -> Reply {
    let (kind, guest) = after.unwrap_or((0, Id(&[0; 32])));
    for entry in RIGHTS.iter_from(&(lock, kind, guest)) {
        let ((of, kind, guest), right) = entry?;
        let row = (kind, guest, right);
        if of != lock || after != Some((kind, guest)) && !rows.add(&row) {
            break;
        }
    }
    rows.reply()
}

fn entries(lock: Id, from: u64, mut rows: Rows) -> Reply {
    for entry in ENTRIES.iter_from(&(lock, from)) {
        let ((of, number), entry) = entry?;
        if of != lock || !rows.add(&(number, entry)) {
            break;
        }
    }
    rows.reply()
}

fn entries_of(lock: Id, guest: Id, from: u64, mut rows: Rows) -> Reply {
    for entry in BY_GUEST.iter_from(&(lock, guest, from)) {
        let ((of, who, number), ()) = entry?;
        if of != lock || who != guest || !rows.add(&(number, ENTRIES.load(&(lock, number))?)) {
            break;
        }
    }
    rows.reply()
}
