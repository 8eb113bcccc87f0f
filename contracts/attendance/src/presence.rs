//! Who was seen, and who is excused. A day of a pupil is one entry: what readers
//! saw, what alarms told, who excused.

use crate::alarm::{self, ARRIVED_EVENT};
use crate::codes::*;
use crate::pupil::{self, Pupil, PUPILS};
use crate::school::{self, Term};
use crate::zone;
use postern::{done, ensure, record, reply, Abort, Bytes, Env, Id, List, Map, Reply, Topic};

/// By term, pupil and day.
pub const DAYS: Map<(u32, Id, u32), Day> = Map::new("day/");
const EXCUSED_EVENT: Topic<(Id, u32, u32, bool)> = Topic::new("excused");

/// Sightings of one message: each writes an entry, and may be an event.
const MAX_SIGHTINGS: usize = 32;
/// How far a reader's clock may be ahead of the block.
const MAX_AHEAD: i64 = 2 * zone::MINUTE;
/// How long a reader may have been without a connection.
const MAX_AGE: i64 = 36 * 60 * zone::MINUTE;
/// Days of one excuse: each writes an entry.
const MAX_EXCUSE: u32 = 31;
/// How long ago an excused day may be.
const MAX_AFTER: u32 = 14;
/// Bytes of a note, a hash or a ciphertext.
const MAX_NOTE: usize = 256;

record! {
    /// A day of a pupil.
    #[derive(Default)]
    pub struct Day {
        1 => pub first: Option<i64>,
        2 => pub last: Option<i64>,
        /// Bits: in which of the class's hours it was missing.
        3 => pub alarms: u32,
        /// Who excused it.
        4 => pub excused: Option<Id>,
        5 => pub note: Option<Bytes<'static>>,
        /// A sighting since then ends an absence that was told.
        6 => pub missing: Option<i64>,
    }
}

/// Takes a reader's sightings and answers how many were counted: a pupil that
/// left, or a day without school, spoils no others.
pub fn sight(env: &Env, by: Id, sightings: List<'static, (Id, i64)>) -> Reply {
    school::require_reader(&by)?;
    ensure!((1..=MAX_SIGHTINGS).contains(&sightings.len()), TOO_MANY);
    let term = school::term()?;
    let mut counted = 0u32;
    for (i, sighting) in sightings.iter().enumerate() {
        let (id, at) = sighting?;
        ensure!(at <= env.time + MAX_AHEAD && at >= env.time - MAX_AGE, BAD_TIME.of_item(i));
        if let Some(pupil) = PUPILS.get(&id)? {
            counted += count(&term, id, &pupil, at)? as u32;
        }
    }
    alarm::arm(env)?; // a timer may have been lost
    reply(&counted)
}

fn count(term: &Term, id: Id, pupil: &Pupil, at: i64) -> Result<bool, Abort> {
    let number = zone::day(at)?;
    if number < term.first || number > term.last {
        return Ok(false);
    }
    let key = (term.number, id, number);
    let mut day = DAYS.get(&key)?.unwrap_or_default();
    if day.missing.map_or(false, |since| at >= since) {
        day.missing = None;
        ARRIVED_EVENT.emit(&(id, number, at, pupil.parents));
    }
    day.first = Some(day.first.map_or(at, |first| first.min(at)));
    day.last = day.last.max(Some(at));
    DAYS.set(&key, &day);
    Ok(true)
}

/// Days, given by any time of theirs, on which a pupil is excused, or is no more.
pub struct Excuse {
    pub pupil: Id,
    pub from: i64,
    pub to: i64,
    pub excused: bool,
    pub note: Option<Bytes<'static>>,
}

/// By a parent, a teacher of the class or the office.
pub fn excuse(env: &Env, by: Id, e: Excuse) -> Reply {
    let pupil = pupil::find(&e.pupil)?;
    ensure!(may_excuse(env, &pupil, by), NOT_PARENT);
    ensure!(e.note.map_or(0, |n| n.0.len()) <= MAX_NOTE, TOO_LONG);
    let (term, today) = (school::term()?, zone::day(env.time)?);
    let (from, to) = (zone::day(e.from)?, zone::day(e.to)?);
    ensure!(term.first <= from && from <= to && to <= term.last && to - from < MAX_EXCUSE, BAD_TIME);
    ensure!(from >= today.saturating_sub(MAX_AFTER), BAD_TIME);
    for number in from..=to {
        let key = (term.number, e.pupil, number);
        let mut day = DAYS.get(&key)?.unwrap_or_default();
        day.excused = Some(by).filter(|_| e.excused);
        day.note = e.note.filter(|_| e.excused);
        DAYS.set(&key, &day);
    }
    EXCUSED_EVENT.emit(&(e.pupil, from, to, e.excused));
    done()
}

/// Whether an account excuses a pupil: also asked when the day has come, since a
/// parent may be none any more by then.
pub fn may_excuse(env: &Env, pupil: &Pupil, by: Id) -> bool {
    pupil.has_parent(by) || pupil.class.map_or(false, |class| school::teaches(by, class)) || school::is_office(env, &by)
}
