//! The school: its office, readers, terms, classes with their hours, teachers.

use crate::alarm;
use crate::codes::*;
use crate::message::{Class, Hours};
use crate::zone;
use postern::{done, ensure, record, Abort, Device, Env, Id, Item, List, Map, Reply, Status};

const OFFICES: Map<Id, ()> = Map::new("office/");
const READERS: Map<Id, ()> = Map::new("reader/");
pub const TERM: Item<Term> = Item::new("term");
const OFF: Map<u32, ()> = Map::new("off/");
pub const CLASSES: Map<&'static str, ClassRecord> = Map::new("class/");
pub const TEACHERS: Map<(&'static str, Id), ()> = Map::new("teacher/");

/// Days off of one message: the longest holidays.
const MAX_DAYS: usize = 100;
/// Hours of a class: two or three a weekday.
const MAX_HOURS: usize = 16;
/// Days of the longest term.
const MAX_TERM: u32 = 366;
const DAY_MINUTES: u16 = 24 * 60;
/// Minutes for which an alarm waits at most, and before which a sighting counts.
const MAX_GRACE: u16 = 240;

record! {
    /// The current term. Days are local ones, both included.
    pub struct Term {
        1 => pub number: u32,
        2 => pub first: u32,
        3 => pub last: u32,
    }
}

record! {
    /// A class in a term.
    pub struct ClassRecord {
        1 => pub term: u32,
        2 => pub hours: List<'static, Hours>,
        /// Minutes after which a pupil is missing.
        3 => pub grace: u16,
        /// Minutes before, since which having been seen is enough.
        4 => pub early: u16,
        5 => pub pupils: u32,
        /// When the next hour begins of which an alarm may tell, and which of
        /// the hours it is.
        6 => pub opens: Option<i64>,
        7 => pub which: Option<u8>,
    }
}

pub fn name_office(account: Id, on: bool) -> Reply {
    put(&OFFICES, &account, on)
}

fn put<K: postern::storage::Key>(map: &Map<K, ()>, key: &K, on: bool) -> Reply {
    if on {
        map.set(key, &());
    } else {
        map.delete(key);
    }
    done()
}

/// Whether an account is the office's: the owner's, or one that it named.
pub fn is_office(env: &Env, account: &Id) -> bool {
    account.0[..] == *env.owner || OFFICES.has(account)
}

pub fn name_reader(device: Id, on: bool) -> Reply {
    ensure!(!on || is_active(&device), NOT_ACTIVE);
    put(&READERS, &device, on)
}

fn is_active(device: &Id) -> bool {
    Device::get(device.0).map(|d| d.status()) == Some(Status::Active)
}

/// Refuses what is no reader in use.
pub fn require_reader(device: &Id) -> Result<(), Abort> {
    ensure!(READERS.has(device), NOT_READER);
    ensure!(is_active(device), NOT_ACTIVE);
    Ok(())
}

/// Begins a term, or moves the ends of this one.
pub fn set_term(number: u32, first: i64, last: i64) -> Reply {
    let (first, last) = (zone::day(first)?, zone::day(last)?);
    ensure!(first <= last && last - first < MAX_TERM, BAD_TERM);
    ensure!(TERM.get()?.map_or(0, |t| t.number) <= number, BAD_TERM);
    TERM.set(&Term { number, first, last });
    done()
}

/// The current term.
pub fn term() -> Result<Term, Abort> {
    TERM.get()?.ok_or(NO_TERM)
}

pub fn set_days_off(days: List<'static, i64>, off: bool) -> Reply {
    ensure!((1..=MAX_DAYS).contains(&days.len()), TOO_MANY);
    for day in days.iter() {
        put(&OFF, &zone::day(day?)?, off)?;
    }
    done()
}

/// Whether pupils are expected on a day.
pub fn is_open(term: &Term, day: u32) -> bool {
    term.first <= day && day <= term.last && !OFF.has(&day)
}

/// Says when a class is expected in the current term, from now on.
pub fn set_class(env: &Env, class: Class, hours: List<'static, Hours>, grace: u16, early: u16) -> Reply {
    ensure!(!class.as_str().is_empty(), BAD_NAME);
    ensure!(hours.len() <= MAX_HOURS, TOO_MANY);
    for (i, entry) in hours.iter().enumerate() {
        let (days, from, to) = entry?;
        ensure!(days != 0 && days < 128 && from < to && to <= DAY_MINUTES, BAD_HOURS.of_item(i));
    }
    ensure!(grace <= MAX_GRACE && early <= MAX_GRACE, BAD_HOURS);
    let term = term()?.number;
    let before = CLASSES.get(&class.as_str())?;
    let pupils = before.map_or(0, |c| c.pupils);
    if let Some(before) = before {
        alarm::forget(class, &before);
    }
    let mut record = ClassRecord { term, hours, grace, early, pupils, opens: None, which: None };
    alarm::next(class, &mut record, env.time - grace as i64 * zone::MINUTE)?;
    CLASSES.set(&class.as_str(), &record);
    alarm::arm(env)?;
    done()
}

pub fn name_teacher(class: Class, account: Id, on: bool) -> Reply {
    ensure!(CLASSES.has(&class.as_str()), UNKNOWN_CLASS);
    put(&TEACHERS, &(class.as_str(), account), on)
}

/// Whether an account teaches a class.
pub fn teaches(account: Id, class: Class) -> bool {
    TEACHERS.has(&(class.as_str(), account))
}
