//! Locks by the day on which something is to be done, however many there are.

use postern::{Abort, Alarm, Env, Id, Map};

const DUE: Map<(i64, Id), ()> = Map::new("due/");
const ALARM: Alarm = Alarm::new("timer/");

const DAY: i64 = 24 * 3600 * 1000;

/// The beginning of the day after a time in ms: who reads the chain learns no
/// hour from when an entry goes, and timers do many locks at once.
pub fn day_of(time: i64) -> i64 {
    (time.div_euclid(DAY) + 1).saturating_mul(DAY)
}

/// Moves a lock from one day to another.
pub fn replace(id: Id, from: Option<i64>, to: Option<i64>) {
    if from == to {
        return;
    }
    if let Some(day) = from {
        DUE.delete(&(day, id));
    }
    if let Some(day) = to {
        DUE.set(&(day, id), &());
    }
}

/// Has a timer run when a day begins, if there is one.
pub fn arm(env: &Env, day: Option<i64>) -> Result<(), Abort> {
    day.map_or(Ok(()), |day| ALARM.arm(env, day, &()))
}

/// A timer runs.
pub fn rang(env: &Env) -> Result<(), Abort> {
    ALARM.rang(env)
}

/// All locks with something to do, by day.
pub fn all() -> impl Iterator<Item = Result<(i64, Id), Abort>> {
    DUE.iter().map(|row| row.map(|(key, ())| key))
}
