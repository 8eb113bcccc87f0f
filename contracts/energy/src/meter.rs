//! Meters: what a device of its own account reads, if it is plausible. Readings
//! themselves stay in their transactions; the state holds the last one, a sum for
//! each day and the newest doubts.

use crate::codes::*;
use crate::limit::require_active;
use crate::zone;
use postern::{done, ensure, record, reply, Abort, Checked, Env, Id, List, Map, Reply, Topic};

pub const RULES: Map<Id, MeterRule> = Map::new("rule/");
pub const METERS: Map<Id, Meter> = Map::new("meter/");
pub const DAYS: Map<(Id, u32), Day> = Map::new("day/");
/// The newest doubts, in a ring: a meter that goes mad fills no state. All of
/// them are events.
pub const FLAGS: Map<(Id, u8), Flag> = Map::new("flag/");
const FLAGGED_EVENT: Topic<(Id, u8, i64, u64)> = Topic::new("flagged");

/// Readings of one message: a day's, an hour apart.
const MAX_READINGS: usize = 24;
/// Two readings lie so far apart at least, so that what is added for the
/// counter's last digit stays small.
const LEAST_APART: i64 = 10_000;
/// How far a meter's clock may be ahead of the block.
const MAX_AHEAD: i64 = 2 * zone::MINUTE;
/// How long a meter may have been without a connection.
const MAX_AGE: i64 = 32 * zone::DAY;
/// Meters above a gigawatt are not read in watt-hours.
const MAX_POWER: u64 = 1_000_000_000_000;
/// Wh that a counter may show.
const MAX_COUNTER: u64 = 1 << 53;

/// Kinds of doubt.
pub const ROLLBACK: u8 = 1;
pub const TOO_FAST: u8 = 2;
pub const GAP: u8 = 3;
pub const OUT_OF_RANGE: u8 = 4;

/// When, the counter in Wh, and the power in W where the meter tells it.
pub type Reading = (i64, u64, Option<i64>);

record! {
    /// What is plausible of a meter.
    pub struct MeterRule {
        /// W that its connection carries at most.
        1 => pub max_power: u64,
        /// W that it may tell: below 0 where it feeds in.
        2 => pub low: i64,
        3 => pub high: i64,
        /// ms after which a reading is missed.
        4 => pub max_gap: u64,
    }
}

record! {
    /// The last reading that was believed.
    pub struct Meter {
        1 => pub at: i64,
        2 => pub counter: u64,
        /// The time of the last reading, believed or not.
        3 => pub seen: i64,
        /// How many doubts there were.
        4 => pub flags: u64,
    }
}

record! {
    /// A local day's sum.
    #[derive(Default)]
    pub struct Day {
        /// Wh that were read.
        1 => pub energy: u64,
        2 => pub readings: u32,
        3 => pub flags: u32,
        /// Wh that two persons added or took away.
        4 => pub corrected: i64,
    }
}

record! {
    /// A doubt.
    pub struct Flag {
        1 => pub number: u64,
        2 => pub kind: u8,
        3 => pub at: i64,
        4 => pub counter: u64,
        /// The counter that was believed before.
        5 => pub before: u64,
        6 => pub power: Option<i64>,
    }
}

pub fn set(device: Id, rule: Option<MeterRule>) -> Reply {
    match rule {
        Some(rule) => {
            require_active(&device)?;
            ensure!(rule.max_power <= MAX_POWER && rule.low <= rule.high && rule.max_gap > 0, BAD_LIMIT);
            RULES.set(&device, &rule);
        }
        None => RULES.delete(&device),
    }
    done()
}

/// Takes the sender's readings, oldest first, and answers how many doubts they
/// raised. No message names a meter: nobody writes another's reading.
pub fn read(env: &Env, caller: Id, readings: List<'static, Reading>) -> Reply {
    let rule = RULES.get(&caller)?.ok_or(NOT_METER)?;
    require_active(&caller)?;
    ensure!((1..=MAX_READINGS).contains(&readings.len()), TOO_MANY);
    let mut meter = METERS.get(&caller)?;
    let before = meter.map_or(0, |m| m.flags);
    for (i, reading) in readings.iter().enumerate() {
        meter = Some(take(env, &caller, &rule, meter, reading?).map_err(|e| e.of_item(i))?);
    }
    let meter = meter.ok_or(TOO_MANY)?;
    METERS.set(&caller, &meter);
    reply(&(meter.flags - before))
}

fn take(env: &Env, id: &Id, rule: &MeterRule, meter: Option<Meter>, r: Reading) -> Result<Meter, Abort> {
    let (at, counter, power) = r;
    ensure!(at <= env.time + MAX_AHEAD && at >= env.time - MAX_AGE, BAD_TIME);
    ensure!(counter <= MAX_COUNTER, BAD_LIMIT);
    let day_number = zone::day(at)?;
    let mut day = DAYS.get(&(*id, day_number))?.unwrap_or_default();
    let mut meter = match meter {
        Some(meter) => meter,
        None => Meter { at, counter, seen: i64::MIN, flags: 0 }, // where counting begins
    };
    ensure!(meter.seen == i64::MIN || at >= meter.seen + LEAST_APART, NOT_NEWER);
    let mut doubt = |meter: &mut Meter, kind| {
        flag(id, meter, kind, r);
        day.flags = day.flags.saturating_add(1);
    };
    if meter.seen != i64::MIN && (at - meter.seen) as u64 > rule.max_gap {
        doubt(&mut meter, GAP);
    }
    if power.map_or(false, |p| p < rule.low || p > rule.high) {
        doubt(&mut meter, OUT_OF_RANGE);
    }
    if counter < meter.counter {
        doubt(&mut meter, ROLLBACK);
    } else if counter - meter.counter > plausible(rule, at - meter.at) {
        doubt(&mut meter, TOO_FAST);
    } else {
        day.energy = day.energy.plus(counter - meter.counter)?;
        meter.at = at;
        meter.counter = counter;
    }
    meter.seen = at;
    day.readings = day.readings.saturating_add(1);
    DAYS.set(&(*id, day_number), &day);
    Ok(meter)
}

/// Wh that the connection can carry in so many ms, and one for the counter's last
/// digit.
fn plausible(rule: &MeterRule, passed: i64) -> u64 {
    (rule.max_power as u128 * passed.max(0) as u128 / 3_600_000) as u64 + 1
}

fn flag(id: &Id, meter: &mut Meter, kind: u8, (at, counter, power): Reading) {
    meter.flags += 1;
    let flag = Flag { number: meter.flags, kind, at, counter, before: meter.counter, power };
    FLAGS.set(&(*id, meter.flags as u8), &flag);
    FLAGGED_EVENT.emit(&(*id, kind, at, counter));
}
