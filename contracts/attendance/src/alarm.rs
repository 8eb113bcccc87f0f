//! Who is missing. Of each class one entry in an index tells when to look next:
//! some minutes after one of its hours began. A timer looks after a bounded number
//! of pupils.

use crate::codes::*;
use crate::message::{Class, Tick};
use crate::presence::{self, Day, DAYS};
use crate::pupil::{Pupil, MEMBERS, PUPILS};
use crate::school::{self, ClassRecord, Term, CLASSES, TERM};
use crate::zone;
use postern::{done, Abort, Alarm, Env, Id, List, Map, Reply, Topic};

const DUE: Map<(i64, &'static str), ()> = Map::new("due/");
const ALARM: Alarm = Alarm::new("armed/");
/// The last pupil that was looked after, where a class was too large for a timer.
const CURSORS: Map<&'static str, Id> = Map::new("cursor/");

const ABSENT_EVENT: Topic<(Id, u32, i64, List<'static, Id>)> = Topic::new("absent");
pub const ARRIVED_EVENT: Topic<(Id, u32, i64, List<'static, Id>)> = Topic::new("arrived");
const MISSED_EVENT: Topic<(Class, i64)> = Topic::new("alarm-missed");

/// Pupils that one timer looks after: each may write an entry and be an event.
const STEP: usize = 32;
/// Classes of one timer: each is a scan, of which a call has eight, and four go
/// to the index and the alarm.
const MAX_CLASSES: usize = 4;

/// When a class's next alarm is due.
fn due(class: &ClassRecord) -> Option<i64> {
    class.opens.map(|opens| opens + class.grace as i64 * zone::MINUTE)
}

/// Takes a class's entry out of the index.
pub fn forget(name: Class, class: &ClassRecord) {
    if let Some(at) = due(class) {
        DUE.delete(&(at, name.as_str()));
        CURSORS.delete(&name.as_str());
    }
}

/// Finds the first of a class's hours that begins after a time, and puts it into
/// the index. Of a class of an earlier term, or after its last day, there is none.
pub fn next(name: Class, class: &mut ClassRecord, after: i64) -> Result<(), Abort> {
    class.opens = None;
    class.which = None;
    let term = match TERM.get()? {
        Some(term) if term.number == class.term => term,
        _ => return Ok(()),
    };
    let after_local = zone::local(after)?.max(term.first as i64 * zone::DAY - 1);
    if let Some((local, which)) = first_hour(class, after_local)? {
        if local.div_euclid(zone::DAY) <= term.last as i64 {
            class.opens = Some(zone::utc(local)?.max(after + 1));
            class.which = Some(which);
            DUE.set(&(due(class).unwrap_or(0), name.as_str()), &());
        }
    }
    Ok(())
}

/// The first hour that begins after a local time, and which one it is.
fn first_hour(class: &ClassRecord, after: i64) -> Result<Option<(i64, u8)>, Abort> {
    let today = after.div_euclid(zone::DAY);
    let mut best: Option<(i64, u8)> = None;
    for (which, hour) in class.hours.iter().enumerate() {
        let (days, from, _) = hour?;
        for day in today..=today + 7 {
            // 1970-01-01 was a Thursday, the fourth day of its week.
            let on = days >> (day + 3).rem_euclid(7) & 1 == 1;
            let begins = day * zone::DAY + from as i64 * zone::MINUTE;
            if on && begins > after {
                let candidate = (begins, which as u8);
                best = Some(best.map_or(candidate, |b| b.min(candidate)));
                break;
            }
        }
    }
    Ok(best)
}

/// Has a timer wait for the earliest alarm.
pub fn arm(env: &Env) -> Result<(), Abort> {
    match DUE.iter().next() {
        Some(entry) => ALARM.arm(env, entry?.0 .0, &Tick::Alarm),
        None => Ok(()),
    }
}

/// Looks after the classes whose time has come.
pub fn ring(env: &Env) -> Reply {
    ALARM.rang(env)?;
    let mut left = STEP;
    for entry in DUE.iter().take(MAX_CLASSES) {
        let ((due, name), ()) = entry?;
        if due > env.time || left == 0 {
            break;
        }
        look(env, Class::new(name).ok_or(UNKNOWN_CLASS)?, &mut left)?;
    }
    arm(env)?;
    done()
}

/// Looks after a class, and finds its next hour when all were looked after.
fn look(env: &Env, name: Class, left: &mut usize) -> Result<(), Abort> {
    let mut class = CLASSES.load(&name.as_str())?;
    let (opens, which) = match (class.opens, class.which) {
        (Some(opens), Some(which)) => (opens, which),
        _ => return Ok(()),
    };
    if let Some(hour) = hour(&class, opens, which)? {
        if env.time >= hour.ends {
            MISSED_EVENT.emit(&(name, opens)); // the chain stood still: nobody was told, nobody was seen
        } else if !walk(env, name, &hour, left)? {
            return Ok(());
        }
    }
    forget(name, &class);
    next(name, &mut class, opens)?;
    CLASSES.set(&name.as_str(), &class);
    Ok(())
}

/// An hour in which a class is expected.
struct Hour {
    term: u32,
    day: u32,
    bit: u32,
    opens: i64,
    /// Having been seen since is enough.
    since: i64,
    ends: i64,
}

/// None where nobody is expected.
fn hour(class: &ClassRecord, opens: i64, which: u8) -> Result<Option<Hour>, Abort> {
    let day = zone::day(opens)?;
    let term: Term = school::term()?;
    let (_, from, to) = class.hours.iter().nth(which as usize).ok_or(BAD_HOURS)??;
    if term.number != class.term || !school::is_open(&term, day) {
        return Ok(None);
    }
    Ok(Some(Hour {
        term: term.number,
        day,
        bit: 1 << which,
        opens,
        since: opens - class.early as i64 * zone::MINUTE,
        ends: opens + (to - from).max(class.grace + 1) as i64 * zone::MINUTE,
    }))
}

/// Walks a class's pupils as far as it may, and tells whether it saw all.
fn walk(env: &Env, name: Class, hour: &Hour, left: &mut usize) -> Result<bool, Abort> {
    let start = CURSORS.get(&name.as_str())?;
    for entry in MEMBERS.iter_from(&(name.as_str(), start.unwrap_or(Id(&[0; 32])))) {
        let ((of, id), ()) = entry?;
        if of != name.as_str() {
            break;
        }
        if Some(id) == start {
            continue;
        }
        if *left == 0 {
            return Ok(false);
        }
        *left -= 1;
        if *left == 0 {
            CURSORS.set(&name.as_str(), &id);
        }
        miss(env, id, hour)?;
    }
    Ok(true)
}

/// Tells that a pupil is missing, unless it was seen or is excused.
fn miss(env: &Env, id: Id, hour: &Hour) -> Result<(), Abort> {
    let key = (hour.term, id, hour.day);
    let mut day = DAYS.get(&key)?.unwrap_or_default();
    if day.last >= Some(hour.since) {
        return Ok(());
    }
    let pupil = PUPILS.load(&id)?;
    if is_excused(env, &pupil, &day) {
        return Ok(());
    }
    day.alarms |= hour.bit;
    day.missing = Some(hour.since);
    DAYS.set(&key, &day);
    ABSENT_EVENT.emit(&(id, hour.day, hour.opens, pupil.parents));
    Ok(())
}

fn is_excused(env: &Env, pupil: &Pupil, day: &Day) -> bool {
    day.excused.map_or(false, |by| presence::may_excuse(env, pupil, by))
}
