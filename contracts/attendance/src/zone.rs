//! Local time: a table of offsets from UTC that the office writes, since a
//! contract knows no time zones. Without a table local time is UTC; before its
//! first entry, that entry's holds, so that no alarm fails for want of one.

use crate::codes::*;
use postern::{done, ensure, Abort, Item, List, Reply};

const ZONE: Item<List<'static, (i64, i64)>> = Item::new("zone");

/// Sixteen years of two changes each: every sighting reads the table.
const MAX_STEPS: usize = 32;
/// Minutes of the offset farthest from Greenwich, which is 14 hours.
const MAX_OFFSET: i64 = 14 * 60;
pub const MINUTE: i64 = 60_000;
pub const DAY: i64 = 24 * 60 * MINUTE;

/// Replaces the table: [start, minutes] each, ascending.
pub fn set(steps: List<'static, (i64, i64)>) -> Reply {
    ensure!((1..=MAX_STEPS).contains(&steps.len()), TOO_MANY);
    let mut last = None;
    for (i, step) in steps.iter().enumerate() {
        let (start, minutes) = step?;
        ensure!(last < Some(start) && minutes.abs() <= MAX_OFFSET, BAD_ZONE.of_item(i));
        last = Some(start);
    }
    ZONE.set(&steps);
    done()
}

/// How far the local clock is ahead of UTC at a time, in ms.
#[inline(never)]
fn offset(time: i64) -> Result<i64, Abort> {
    let steps = match ZONE.get()? {
        Some(steps) => steps,
        None => return Ok(0),
    };
    let mut offset = 0;
    for (i, step) in steps.iter().enumerate() {
        let (start, minutes) = step?;
        if i == 0 || start <= time {
            offset = minutes * MINUTE;
        }
    }
    Ok(offset)
}

/// Local time, in ms since 1970 on the local clock.
pub fn local(time: i64) -> Result<i64, Abort> {
    Ok(time.saturating_add(offset(time)?))
}

/// The time at which the local clock shows a local time; near a change of the
/// offset, one that is off by the change at most.
pub fn utc(local: i64) -> Result<i64, Abort> {
    let near = local - offset(local - MAX_OFFSET * MINUTE)?;
    Ok(local - offset(near)?)
}

/// The local day's number since 1970.
pub fn day(time: i64) -> Result<u32, Abort> {
    Ok(local(time)?.div_euclid(DAY).clamp(0, u32::MAX as i64) as u32)
}
