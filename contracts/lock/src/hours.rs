//! What time it is at a lock, and in which hours a right holds.
//!
//! A zone is a list of periods: an offset from Greenwich holds from its start
//! to the next one's, the last until the zone's end. Outside of that nothing
//! is known, and no hours hold. Windows that end at or before their start run
//! into the next day and belong to the day on which they start.

use crate::codes::*;
use postern::{ensure, record, Abort, Id, List, Map};

/// Start in seconds since 1970, offset in seconds east of Greenwich.
pub type Step = (i64, i64);
/// Days as bits, Monday the lowest; from and to in minutes of the day.
pub type Window = (u8, u16, u16);

pub const ZONES: Map<Id, Zone> = Map::new("zone/");

/// Eighty years with two changes each, in 2 KiB.
const MAX_STEPS: usize = 160;
/// A decision looks at each.
pub const MAX_WINDOWS: usize = 8;
/// Farthest offset from Greenwich, in seconds.
const MAX_OFFSET: i64 = 26 * 3600;
const MINUTES: u16 = 24 * 60;
const DAY: i64 = 24 * 3600;

record! {
    /// A time zone.
    pub struct Zone {
        /// Seconds since 1970 up to which the steps are known.
        1 => pub until: i64,
        2 => pub steps: List<'static, Step>,
    }
}

impl Zone {
    /// Refuses periods that are out of order or out of their limits.
    pub fn check(&self) -> Result<(), Abort> {
        ensure!((1..=MAX_STEPS).contains(&self.steps.len()), BAD_ZONE);
        let mut last = i64::MIN;
        for (i, step) in self.steps.iter().enumerate() {
            let (start, offset) = step?;
            ensure!(start > last && (-MAX_OFFSET..=MAX_OFFSET).contains(&offset), BAD_ZONE.of_item(i));
            last = start;
        }
        ensure!(self.until > last, BAD_ZONE);
        Ok(())
    }

    /// Local seconds since 1970 at a time in ms, None where that is not known.
    fn local(&self, now: i64) -> Option<i64> {
        let now = now.div_euclid(1000);
        let begun = self.steps.iter().flatten().take_while(|step| step.0 <= now).last();
        begun.filter(|_| now < self.until).map(|(_, offset)| now + offset)
    }
}

/// Refuses windows that are no windows.
pub fn check(windows: &List<'static, Window>) -> Result<(), Abort> {
    ensure!((1..=MAX_WINDOWS).contains(&windows.len()), BAD_TERMS);
    for (i, window) in windows.iter().enumerate() {
        let (days, from, to) = window?;
        ensure!(days > 0 && days <= 0x7f && from < MINUTES && to <= MINUTES, BAD_TERMS.of_item(i));
    }
    Ok(())
}

/// Whether one of the windows is open at a lock at a time in ms; None where
/// nobody knows.
pub fn open(windows: &List<'static, Window>, lock: Id, now: i64) -> Result<Option<bool>, Abort> {
    let local = ZONES.get(&lock)?.and_then(|zone| zone.local(now));
    Ok(local.map(|seconds| windows.iter().flatten().any(|window| holds(window, seconds))))
}

fn holds((days, from, to): Window, seconds: i64) -> bool {
    let minute = (seconds.rem_euclid(DAY) / 60) as u16;
    // 1970-01-01 was a Thursday, the fourth day of its week.
    let today = (seconds.div_euclid(DAY) + 3).rem_euclid(7) as u32;
    let on = |day: u32| days >> day & 1 == 1;
    if from < to {
        on(today) && minute >= from && minute < to
    } else {
        on(today) && minute >= from || on((today + 6) % 7) && minute < to
    }
}
