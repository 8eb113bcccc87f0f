//! The hours in which a device may be active: [zone, [[days, from, to], …]].
//! Days are bits, Monday the lowest; from and to minutes of the day. Hours that
//! end at or before their start run into the next day and belong to the day on
//! which they start. The zone's table is [until, [start, offset, …]]: times in
//! seconds since 1970, offsets in seconds east of Greenwich, each of which
//! holds from its start to the next one, the last until `until`.

use crate::codes::*;
use postern::cbor::{Cursor, Reader};
use postern::Abort;

const MAX_WINDOWS: usize = 16;
const MAX_STEPS: usize = 160;
const MINUTES: u64 = 24 * 60;
const DAY: i64 = 24 * 3600;
/// Farthest offset from Greenwich, in seconds.
const MAX_OFFSET: i64 = 26 * 3600;

/// Checks encoded hours.
pub fn check(r: &mut Reader) -> Result<(), Abort> {
    r.array_of(2)?;
    check_zone(r)?;
    let windows = r.array()?;
    if windows == 0 || windows > MAX_WINDOWS {
        return Err(BAD_HOURS);
    }
    for _ in 0..windows {
        r.array_of(3)?;
        let (days, from, to) = (r.uint()?, r.uint()?, r.uint()?);
        if days == 0 || days > 0x7f || from >= MINUTES || to > MINUTES {
            return Err(BAD_HOURS);
        }
    }
    Ok(())
}

fn check_zone(r: &mut Reader) -> Result<(), Abort> {
    r.array_of(2)?;
    let until = r.int()?;
    let count = r.array()?;
    if count == 0 || count % 2 != 0 || count > 2 * MAX_STEPS {
        return Err(BAD_HOURS);
    }
    let mut last = i64::MIN;
    for _ in 0..count / 2 {
        let (start, offset) = (r.int()?, r.int()?);
        if start <= last || offset.abs() > MAX_OFFSET {
            return Err(BAD_HOURS);
        }
        last = start;
    }
    if until <= last {
        return Err(BAD_HOURS);
    }
    Ok(())
}

/// Whether a time in ms lies outside of hours that were checked before. Where
/// there are none, or the zone's table does not reach that far, nothing does.
pub fn outside(hours: &[u8], time: i64) -> bool {
    let mut c = Cursor::new(hours);
    if c.head().0 != 4 {
        return false;
    }
    let seconds = match local(&mut c, time.div_euclid(1000)) {
        Some(seconds) => seconds,
        None => return false,
    };
    let minute = (seconds.rem_euclid(DAY) / 60) as u64;
    // 1970-01-01 was a Thursday, the fourth day of its week.
    let today = (seconds.div_euclid(DAY) + 3).rem_euclid(7) as u32;
    let mut inside = false;
    for _ in 0..c.uint() {
        c.uint();
        let (days, from, to) = (c.uint(), c.uint(), c.uint());
        let on = |day: u32| days >> day & 1 == 1;
        inside |= if from < to {
            on(today) && minute >= from && minute < to
        } else {
            on(today) && minute >= from || on((today + 6) % 7) && minute < to
        };
    }
    !inside
}

/// Local seconds since 1970; leaves the cursor behind the zone.
fn local(c: &mut Cursor, now: i64) -> Option<i64> {
    c.uint();
    let until = c.int();
    let mut offset = None;
    for _ in 0..c.uint() / 2 {
        let (start, next) = (c.int(), c.int());
        if start <= now {
            offset = Some(next);
        }
    }
    offset.filter(|_| now < until).map(|o| now + o)
}
