//! Locks by the day on which something is to be done. A timer is set for each
//! day that occurs: retention is at most a year, so at most 368 of the 1,024
//! that a contract may have wait at a time, however many locks there are.

use postern::{schedule_message, Abort, Hash, Map};

const DUE: Map<(i64, Hash), ()> = Map::new("due/");
const TIMERS: Map<i64, ()> = Map::new("timer/");

const DAY: i64 = 24 * 3600 * 1000;

/// The beginning of the day after a time in ms.
pub fn day_of(time: i64) -> i64 {
    (time.div_euclid(DAY) + 1).saturating_mul(DAY)
}

/// Moves a lock from one day to another.
pub fn replace(id: &Hash, from: Option<i64>, to: Option<i64>) {
    if from == to {
        return;
    }
    if let Some(day) = from {
        DUE.delete(&(day, *id));
    }
    if let Some(day) = to {
        DUE.set(&(day, *id), &());
        arm(day);
    }
}

fn arm(at: i64) {
    if !TIMERS.has(&at) {
        TIMERS.set(&at, &());
        schedule_message(at, &at);
    }
}

/// The timer of a time has rung, or was lost.
pub fn rang(at: i64) {
    TIMERS.delete(&at);
}

/// The locks that are due at a time, with their days, in order.
pub fn over(time: i64) -> impl Iterator<Item = Result<(i64, Hash), Abort>> {
    let keys = DUE.iter().map(|row| row.map(|(key, ())| key));
    keys.take_while(move |key| key.map_or(true, |key| key.0 <= time))
}

/// Has a timer go on in the next block.
pub fn soon(time: i64) {
    arm(time + 1);
}
