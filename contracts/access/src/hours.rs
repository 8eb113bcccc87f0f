//! Time windows. A policy holds a table of each time zone that its rules name:
//! [name, until, [start, offset, start, offset, …]], times in seconds since
//! 1970 and offsets in seconds east of Greenwich. An offset holds from its
//! start to the next one, the last until `until`. Outside that nothing is
//! known, and the contract treats it like a clock that is not trusted.
//!
//! A rule's hours are [zone, days, from, to]: days as bits, Monday the lowest;
//! from and to in minutes of the day. Hours that end at or before their start
//! run into the next day and belong to the day on which they start.

use crate::codes::*;
use crate::form::Form;
use crate::keys;
use postern::cbor::Cursor;

const MAX_ZONES: usize = 8;
const MAX_TRANSITIONS: usize = 160;
const MINUTES: u64 = 24 * 60;
const DAY: i64 = 24 * 3600;
/// Farthest offset from Greenwich, in seconds.
const MAX_OFFSET: i64 = 26 * 3600;

/// Checks an array of zones and returns its encoding.
pub fn check_zones<'a>(r: &mut Form<'a>) -> &'a [u8] {
    let raw = r.raw();
    let mut r = Form::new(raw);
    let count = r.array();
    if count > MAX_ZONES {
        refuse(TOO_LARGE);
    }
    let mut last = "";
    for _ in 0..count {
        let name = check_zone(&mut r);
        if name <= last {
            refuse(BAD_ZONE);
        }
        last = name;
    }
    raw
}

/// Checks one zone and returns its name.
pub fn check_zone<'a>(r: &mut Form<'a>) -> &'a str {
    r.array_of(3);
    let name = keys::name(r);
    let until = r.int();
    let count = r.array();
    if count == 0 || count % 2 != 0 || count > 2 * MAX_TRANSITIONS {
        refuse(BAD_ZONE);
    }
    let mut last = i64::MIN;
    for _ in 0..count / 2 {
        let (start, offset) = (r.int(), r.int());
        if start <= last || offset.abs() > MAX_OFFSET {
            refuse(BAD_ZONE);
        }
        last = start;
    }
    if until <= last {
        refuse(BAD_ZONE);
    }
    name
}

/// Finds a zone in an encoded array of zones.
pub fn zone<'a>(zones: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut c = Cursor::new(zones);
    for _ in 0..c.uint() {
        let raw = c.raw();
        let mut zone = Cursor::new(raw);
        zone.uint();
        if zone.bytes() == name {
            return Some(raw);
        }
    }
    None
}

/// Checks a rule's hours against the policy's zones.
pub fn check(r: &mut Form, zones: &[u8]) {
    r.array_of(4);
    let name = keys::name(r);
    let (days, from, to) = (r.uint(), r.uint(), r.uint());
    if days == 0 || days > 0x7f || from >= MINUTES || to > MINUTES {
        refuse(BAD_HOURS);
    }
    require(zone(zones, name.as_bytes()).is_some(), UNKNOWN_ZONE)
}

/// How a rule's hours stand to the time of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The clock is not trusted, or the zone's table does not reach now.
    Unknown,
    /// Within the hours, or outside them, and how many ms that surely stays so.
    Inside(u64),
    Outside(u64),
}

/// Tells how encoded hours, which were checked before, stand to `now` in ms.
pub fn standing(hours: &[u8], zones: &[u8], now: Option<i64>) -> Standing {
    let mut c = Cursor::new(hours);
    c.uint();
    let name = c.bytes();
    let (days, from, to) = (c.uint(), c.uint() as i64, c.uint() as i64);
    let local = now.and_then(|now| zone(zones, name).and_then(|z| local(z, now)));
    let (now, (seconds, offset_left)) = match (now, local) {
        (Some(now), Some(local)) => (now, local),
        _ => return Standing::Unknown,
    };
    let second = seconds.rem_euclid(DAY);
    // 1970-01-01 was a Thursday, the fourth day of its week.
    let today = ((seconds.div_euclid(DAY) + 3).rem_euclid(7)) as u32;
    let minute = second / 60;
    let on = |day: u32| days >> day & 1 == 1;
    let inside = if from < to {
        on(today) && minute >= from && minute < to
    } else {
        on(today) && minute >= from || on((today + 6) % 7) && minute < to
    };
    let edge = [from, to, MINUTES as i64].iter().map(|m| m * 60 - second).filter(|&left| left > 0).min();
    let left = edge.unwrap_or(0).min(offset_left) * 1000 - now.rem_euclid(1000);
    if inside {
        Standing::Inside(left.max(0) as u64)
    } else {
        Standing::Outside(left.max(0) as u64)
    }
}

/// Local seconds since 1970 and how long the offset still holds.
fn local(zone: &[u8], now: i64) -> Option<(i64, i64)> {
    let now = now.div_euclid(1000);
    let mut c = Cursor::new(zone);
    c.uint();
    c.bytes();
    let until = c.int();
    let mut offset = None;
    for _ in 0..c.uint() / 2 {
        let (start, next) = (c.int(), c.int());
        if start > now {
            return offset.map(|o| (now + o, start - now));
        }
        offset = Some(next);
    }
    offset.filter(|_| now < until).map(|o| (now + o, until - now))
}
