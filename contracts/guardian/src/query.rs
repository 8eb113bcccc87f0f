//! What anybody may read. Lists come in pages.

use crate::circle::CIRCLES;
use crate::codes::*;
use crate::mark::{self, BY_DEVICE, MAX_MARKS};
use crate::rules;
use crate::state::*;
use postern::cbor::Writer;
use postern::{choice, ensure, reply, Abort, Context, Device, Encode, Hash, Reply, MAX_RESULT};

choice! {
    /// What queries may ask.
    pub enum Question {
        /// A case.
        1 => Case { case: u64 },
        /// The number of a device's case that is not closed.
        2 => CaseOf { device: Hash },
        /// Whether hardware is listed.
        3 => Listed { mark: Hash },
        /// Whether a device is listed, under its key, a mark or its serial.
        4 => Check { device: Hash },
        /// Cases behind one.
        5 => Cases { after: Option<u64>, limit: u8 },
        /// An owner's cases behind one.
        6 => CasesOf { owner: Hash, after: Option<u64>, limit: u8 },
        /// What was done in a case, behind one act.
        7 => Acts { case: u64, after: Option<u32>, limit: u8 },
        /// An owner's guardians.
        8 => Circle { owner: Hash },
        /// A device's marks.
        9 => MarksOf { device: Hash },
        /// How long things take.
        10 => Rules,
    }
}

const MAX_ROWS: u8 = 64;
/// An act may hold a KiB.
const MAX_ACTS: u8 = 12;

pub fn query(c: &Context) -> Reply {
    match c.parse_message()? {
        Question::Case { case } => reply(&CASES.get(&case)?),
        Question::CaseOf { device } => reply(&OPEN.get(&device)?),
        Question::Listed { mark } => reply(&mark::listing(&mark)?),
        Question::Check { device } => reply(&check(&device)?),
        Question::Cases { after, limit } => cases(after, limit),
        Question::CasesOf { owner, after, limit } => cases_of(&owner, after, limit),
        Question::Acts { case, after, limit } => acts(case, after, limit),
        Question::Circle { owner } => reply(&CIRCLES.get(&owner)?),
        Question::MarksOf { device } => {
            page(MAX_MARKS, BY_DEVICE.iter_of(&device).map(|row| row.map(|((_, mark), ())| mark)))
        }
        Question::Rules => reply(&rules::get()?),
    }
}

fn check(device: &Hash) -> Result<Option<mark::Listing>, Abort> {
    if let Some(listing) = mark::of_device(device)? {
        return Ok(Some(listing));
    }
    match Device::get(device) {
        Some(record) => mark::serial(&record),
        None => Ok(None),
    }
}

fn cases(after: Option<u64>, limit: u8) -> Reply {
    ensure!((1..=MAX_ROWS).contains(&limit), BAD_PAGE);
    page(limit as usize, CASES.iter_from(&from(after)))
}

fn cases_of(owner: &Hash, after: Option<u64>, limit: u8) -> Reply {
    ensure!((1..=MAX_ROWS).contains(&limit), BAD_PAGE);
    let rows = OF.iter_from(&(*owner, from(after))).take_while(|row| row.map_or(true, |(key, ())| key.0 == *owner));
    page(limit as usize, rows.map(|row| row.map(|((_, number), ())| number)))
}

fn acts(case: u64, after: Option<u32>, limit: u8) -> Reply {
    ensure!((1..=MAX_ACTS).contains(&limit), BAD_PAGE);
    let start = after.map_or(0, |number| number.saturating_add(1));
    let rows = ACTS.iter_from(&(case, start)).take_while(|row| row.map_or(true, |(key, _)| key.0 == case));
    page(limit as usize, rows.map(|row| row.map(|((_, number), act)| (number, act))))
}

fn from(after: Option<u64>) -> u64 {
    after.map_or(0, |number| number.saturating_add(1))
}

/// An array of at most so many rows.
fn page<T: Encode>(limit: usize, rows: impl Iterator<Item = Result<T, Abort>>) -> Reply {
    let mut body = Writer::new(MAX_RESULT);
    let mut count = 0;
    for row in rows.take(limit) {
        row?.encode(&mut body);
        count += 1;
    }
    let body = body.finish()?;
    let mut w = Writer::new(body.len() + 3);
    w.array(count).raw(body);
    Ok(w.finish()?)
}
