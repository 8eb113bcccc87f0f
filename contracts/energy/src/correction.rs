//! Corrections of what a meter told, by two persons: energy added to a day or
//! taken from it, and where the counter goes on after a meter was exchanged.

use crate::codes::*;
use crate::message::Reason;
use crate::meter::{DAYS, METERS, RULES};
use crate::operator::{self, Operator};
use crate::zone;
use postern::{done, ensure, record, reply, Abort, Checked, Env, Id, Item, Map, Reply, Topic};

pub const CORRECTIONS: Map<u64, Correction> = Map::new("correction/");
const LAST: Item<u64> = Item::new("last-correction");
const ASKED_EVENT: Topic<(u64, Id, u32, i64)> = Topic::new("correction-proposed");
const CORRECTED_EVENT: Topic<(u64, Id, u32, i64)> = Topic::new("corrected");

/// For how long a correction waits for its second person.
const LIFETIME: i64 = 7 * zone::DAY;
/// Wh that one correction moves at most.
const MAX_ENERGY: u64 = 1 << 53;

record! {
    /// A correction, with who proposed and who approved it.
    pub struct Correction {
        1 => pub meter: Id,
        2 => pub day: u32,
        3 => pub energy: i64,
        4 => pub counter: Option<u64>,
        5 => pub reason: Reason,
        6 => pub by: Id,
        7 => pub person: Id,
        8 => pub at: i64,
        9 => pub approver: Option<Id>,
        10 => pub approved: Option<i64>,
    }
}

/// What an operator wants corrected.
pub struct Wish {
    pub meter: Id,
    pub day: u32,
    pub energy: i64,
    pub counter: Option<u64>,
    pub reason: Reason,
}

pub fn propose(env: &Env, by: &Operator, w: Wish) -> Reply {
    ensure!(RULES.has(&w.meter), NOT_METER);
    ensure!(w.energy.unsigned_abs() <= MAX_ENERGY && w.counter.unwrap_or(0) <= MAX_ENERGY, BAD_CORRECTION);
    ensure!(w.day <= zone::day(env.time)?, BAD_TIME);
    let number = LAST.get()?.unwrap_or(0) + 1;
    LAST.set(&number);
    let correction = Correction {
        meter: w.meter,
        day: w.day,
        energy: w.energy,
        counter: w.counter,
        reason: w.reason,
        by: by.account,
        person: by.person,
        at: env.time,
        approver: None,
        approved: None,
    };
    CORRECTIONS.set(&number, &correction);
    ASKED_EVENT.emit(&(number, w.meter, w.day, w.energy));
    reply(&number)
}

pub fn approve(env: &Env, by: &Operator, number: u64) -> Reply {
    let mut c = CORRECTIONS.get(&number)?.filter(|c| c.approved.is_none()).ok_or(UNKNOWN_CORRECTION)?;
    ensure!(c.person != by.person && c.by != by.account, SAME_PERSON);
    ensure!(operator::person(&c.by)? == Some(c.person), WITHDRAWN);
    ensure!(env.time < c.at + LIFETIME, EXPIRED);
    correct_day(&c)?;
    if let Some(counter) = c.counter {
        go_on_from(env, &c.meter, counter)?;
    }
    c.approver = Some(by.account);
    c.approved = Some(env.time);
    CORRECTIONS.set(&number, &c);
    CORRECTED_EVENT.emit(&(number, c.meter, c.day, c.energy));
    done()
}

fn correct_day(c: &Correction) -> Result<(), Abort> {
    let mut day = DAYS.get(&(c.meter, c.day))?.unwrap_or_default();
    day.corrected = day.corrected.plus(c.energy)?;
    let left = day.energy as i128 + day.corrected as i128;
    ensure!(left >= 0 && left <= i64::MAX as i128, BAD_CORRECTION);
    DAYS.set(&(c.meter, c.day), &day);
    Ok(())
}

/// Believes a counter from now on: it was exchanged, or set back.
fn go_on_from(env: &Env, id: &Id, counter: u64) -> Result<(), Abort> {
    if let Some(mut meter) = METERS.get(id)? {
        meter.counter = counter;
        meter.at = env.time.max(meter.seen);
        METERS.set(id, &meter);
    }
    Ok(())
}
