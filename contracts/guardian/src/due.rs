//! What happens by itself, by the hour. A timer is set for each hour that
//! occurs: spans are at most 30 days, so at most 722 of the 1,024 that a
//! contract may have wait at a time, however many cases there are. A change of
//! guardians counts from its own ms on, told or not; a case goes on when its
//! timer runs, at the full hour behind its time.

use crate::case::close;
use crate::circle;
use crate::state::*;
use postern::{done, schedule_message, Abort, Hash, Map, Reply};

const DUE: Map<(i64, u64), ()> = Map::new("due/");
const TURNS: Map<(i64, Hash), ()> = Map::new("turn/");
const TIMERS: Map<i64, ()> = Map::new("timer/");

const HOUR: i64 = 3600 * 1000;
/// Cases, and circles, that one timer looks at: a case takes about 300,000 of a
/// transaction's 20 million gas.
const SWEPT: usize = 16;

/// The first full hour at or after a time.
fn hour_of(time: i64) -> i64 {
    time.saturating_add(HOUR - 1).div_euclid(HOUR) * HOUR
}

fn arm(at: i64) {
    if !TIMERS.has(&at) {
        TIMERS.set(&at, &());
        schedule_message(at, &at);
    }
}

/// The timer of an hour has rung, or was lost.
pub fn rang(at: i64) {
    TIMERS.delete(&at);
}

/// Says when something is due in a case.
#[inline(never)]
pub fn set_case(number: u64, case: &mut Case, due: Option<i64>) -> Result<(), Abort> {
    if let Some(former) = case.due {
        DUE.delete(&(hour_of(former), number));
    }
    if let Some(due) = due {
        DUE.set(&(hour_of(due), number), &());
        arm(hour_of(due));
    }
    case.due = due;
    Ok(())
}

/// Says when a change of guardians takes effect.
pub fn add_circle(owner: &Hash, due: i64) {
    TURNS.set(&(hour_of(due), *owner), &());
    arm(hour_of(due));
}

/// A change of guardians waits no more.
pub fn forget_circle(owner: &Hash, due: i64) {
    TURNS.delete(&(hour_of(due), *owner));
}

/// Does what is due. A timer does it, and anybody may.
pub fn sweep(time: i64) -> Reply {
    let mut more = false;
    for (i, row) in DUE.iter().enumerate() {
        let ((hour, number), ()) = row?;
        if hour > time || i == SWEPT {
            more |= hour <= time;
            break;
        }
        rang(hour);
        ripen(number, time)?;
    }
    for (i, row) in TURNS.iter().enumerate() {
        let ((hour, owner), ()) = row?;
        if hour > time || i == SWEPT {
            more |= hour <= time;
            break;
        }
        rang(hour);
        circle::current(&owner, time)?;
    }
    if more {
        arm(time + 1);
    }
    done()
}

fn ripen(number: u64, time: i64) -> Result<(), Abort> {
    let mut case = Case::load(number)?;
    let by_time = act(time, None);
    match case.state {
        PROPOSED => {
            close(number, &mut case, EXPIRED)?;
            case.add(number, Deed::Expired, by_time)?;
        }
        RECOVERING => {
            close(number, &mut case, RECOVERED)?;
            case.add(number, Deed::Recovered, by_time)?;
        }
        CONTESTED if !circle::current(&case.owner, time)?.map_or(false, |c| c.is_frozen(time)) => {
            close(number, &mut case, DISMISSED)?;
            case.add(number, Deed::Dismissed, by_time)?;
        }
        _ => {
            case.turn(OPENED);
            case.finder = None;
            set_case(number, &mut case, None)?;
            case.add(number, Deed::Lapsed, by_time)?;
        }
    }
    case.save(number);
    Ok(())
}
