//! What anybody may read. Lists come in pages.

use crate::circle::CIRCLES;
use crate::codes::*;
use crate::mark::{self, BY_DEVICE, MAX_MARKS};
use crate::rules;
use crate::state::*;
use postern::{choice, ensure, reply, Abort, Context, Device, Id, Reply, Rows};

choice! {
    /// What queries may ask.
    pub enum Question {
        /// A case.
        1 => Case { case: u64 },
        /// The number of a device's case that is not closed.
        2 => CaseOf { device: Id },
        /// Whether hardware is listed.
        3 => Listed { mark: Id },
        /// Whether a device is listed, under its key, a mark or its serial.
        4 => Check { device: Id },
        /// Cases behind one.
        5 => Cases { after: Option<u64>, limit: u8 },
        /// An owner's cases behind one.
        6 => CasesOf { owner: Id, after: Option<u64>, limit: u8 },
        /// What was done in a case, behind one act.
        7 => Acts { case: u64, after: Option<u32>, limit: u8 },
        /// An owner's guardians.
        8 => Circle { owner: Id },
        /// A device's marks.
        9 => MarksOf { device: Id },
        /// How long things take.
        10 => Rules,
    }
}

const MAX_ROWS: u8 = 64;

pub fn query(c: &Context) -> Reply {
    match c.parse_message()? {
        Question::Case { case } => reply(&CASES.get(&case)?),
        Question::CaseOf { device } => reply(&OPEN.get(&device)?),
        Question::Listed { mark } => reply(&mark::listing(mark)?),
        Question::Check { device } => reply(&check(device)?),
        Question::Cases { after, limit } => cases(after, page(limit)?),
        Question::CasesOf { owner, after, limit } => cases_of(owner, after, page(limit)?),
        Question::Acts { case, after, limit } => acts(case, after, page(limit)?),
        Question::Circle { owner } => reply(&CIRCLES.get(&owner)?),
        Question::MarksOf { device } => marks_of(device),
        Question::Rules => reply(&rules::get()?),
    }
}

fn check(device: Id) -> Result<Option<mark::Listing>, Abort> {
    if let Some(listing) = mark::of_device(device)? {
        return Ok(Some(listing));
    }
    match Device::get(device.0) {
        Some(record) => mark::serial(&record),
        None => Ok(None),
    }
}

fn page(limit: u8) -> Result<Rows, Abort> {
    ensure!((1..=MAX_ROWS).contains(&limit), BAD_PAGE);
    Ok(Rows::new(limit))
}

fn from(after: Option<u64>) -> u64 {
    after.map_or(0, |number| number.saturating_add(1))
}

fn cases(after: Option<u64>, mut rows: Rows) -> Reply {
    for entry in CASES.iter_from(&from(after)) {
        if !rows.add(&entry?) {
            break;
        }
    }
    rows.reply()
}

fn cases_of(owner: Id, after: Option<u64>, mut rows: Rows) -> Reply {
    for entry in OF.iter_from(&(owner, from(after))) {
        let ((of, number), ()) = entry?;
        if of != owner || !rows.add(&number) {
            break;
        }
    }
    rows.reply()
}

fn acts(case: u64, after: Option<u32>, mut rows: Rows) -> Reply {
    let start = after.map_or(0, |number| number.saturating_add(1));
    for entry in ACTS.iter_from(&(case, start)) {
        let ((of, number), act) = entry?;
        if of != case || !rows.add(&(number, act)) {
            break;
        }
    }
    rows.reply()
}

fn marks_of(device: Id) -> Reply {
    let mut rows = Rows::new(MAX_MARKS as u8);
    for entry in BY_DEVICE.iter_of(&device) {
        rows.add(&(entry?.0).1);
    }
    rows.reply()
}
