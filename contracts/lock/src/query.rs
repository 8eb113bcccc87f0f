//! What anybody may read. Lists come in pages.

use crate::codes::*;
use crate::hours::ZONES;
use crate::right::{Right, RIGHTS};
use crate::state::{Entry, Seat, BY_GUEST, ENTRIES, HEALTH, LOCKS};
use postern::cbor::Writer;
use postern::{choice, ensure, reply, Abort, Context, Encode, Hash, Reply, MAX_RESULT};

choice! {
    /// What queries may ask.
    pub enum Question {
        /// A lock.
        1 => Lock { lock: Hash },
        /// A guest's right, as it was given.
        2 => Right { lock: Hash, kind: u8, guest: Hash },
        /// The rights of a lock behind one.
        3 => Rights { lock: Hash, after: Option<(u8, Hash)>, limit: u8 },
        /// The entries of a lock behind one.
        4 => Entries { lock: Hash, after: Option<u64>, limit: u8 },
        /// The entries of one guest behind one.
        5 => EntriesOf { lock: Hash, guest: Hash, after: Option<u64>, limit: u8 },
        /// A lock's time zone.
        6 => Zone { lock: Hash },
        /// What a lock told last of itself.
        7 => Health { lock: Hash },
    }
}

/// Rows of a page: with four recipients, 32 entries are 10 KiB.
const MAX_ROWS: u8 = 64;
const MAX_ENTRIES: u8 = 32;

pub fn query(c: &Context) -> Reply {
    match c.parse_message()? {
        Question::Lock { lock } => reply(&LOCKS.get(&lock)?),
        Question::Right { lock, kind, guest } => reply(&RIGHTS.get(&(lock, kind, guest))?),
        Question::Rights { lock, after, limit } => rights(&lock, after, limit),
        Question::Entries { lock, after, limit } => entries(&lock, after, limit),
        Question::EntriesOf { lock, guest, after, limit } => entries_of(&lock, &guest, after, limit),
        Question::Zone { lock } => reply(&ZONES.get(&lock)?),
        Question::Health { lock } => reply(&HEALTH.get(&lock)?),
    }
}

fn rights(lock: &Hash, after: Option<(u8, Hash)>, limit: u8) -> Reply {
    ensure!((1..=MAX_ROWS).contains(&limit), BAD_PAGE);
    let (kind, guest) = after.unwrap_or((0, [0; 32]));
    let start: Seat = (*lock, kind, guest);
    let rows = RIGHTS.iter_from(&start).take_while(|row| row.map_or(true, |(seat, _)| seat.0 == *lock));
    let behind = rows.filter(|row| row.map_or(true, |(seat, _)| after != Some((seat.1, seat.2))));
    page(limit, behind.map(|row| row.map(|((_, kind, guest), right): (Seat, Right)| (kind, guest, right))))
}

fn entries(lock: &Hash, after: Option<u64>, limit: u8) -> Reply {
    ensure!((1..=MAX_ENTRIES).contains(&limit), BAD_PAGE);
    let rows = ENTRIES.iter_from(&(*lock, from(after)));
    let own = rows.take_while(|row| row.map_or(true, |(key, _)| key.0 == *lock));
    page(limit, own.map(|row| row.map(|((_, number), entry)| (number, entry))))
}

fn entries_of(lock: &Hash, guest: &Hash, after: Option<u64>, limit: u8) -> Reply {
    ensure!((1..=MAX_ENTRIES).contains(&limit), BAD_PAGE);
    let rows = BY_GUEST.iter_from(&(*lock, *guest, from(after)));
    let own = rows.take_while(|row| row.map_or(true, |(key, _)| key.0 == *lock && key.1 == *guest));
    let read = |row: Result<((Hash, Hash, u64), ()), Abort>| {
        let number = (row?.0).2;
        Ok((number, ENTRIES.load(&(*lock, number))?))
    };
    page::<(u64, Entry)>(limit, own.map(read))
}

fn from(after: Option<u64>) -> u64 {
    after.map_or(0, |number| number.saturating_add(1))
}

/// An array of at most so many rows.
fn page<T: Encode>(limit: u8, rows: impl Iterator<Item = Result<T, Abort>>) -> Reply {
    let mut body = Writer::new(MAX_RESULT);
    let mut count = 0;
    for row in rows.take(limit as usize) {
        row?.encode(&mut body);
        count += 1;
    }
    let body = body.finish()?;
    let mut w = Writer::new(body.len() + 3);
    w.array(count).raw(body);
    Ok(w.finish()?)
}
