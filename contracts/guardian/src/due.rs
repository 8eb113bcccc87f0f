//! What happens by itself: to cases, and to circles that change. A change of
//! guardians counts from its time on, told or not; a case goes on when its timer
//! runs, a moment later.

use crate::case::close;
use crate::circle;
use crate::state::*;
use postern::{done, Abort, Alarm, Env, Id, Map, Reply};

const DUE: Map<(i64, u64), ()> = Map::new("due/");
const TURNS: Map<(i64, Id), ()> = Map::new("turn/");
const ALARM: Alarm = Alarm::new("timer/");

/// Cases, and circles, that one timer looks at: as many of both take 4 of a
/// transaction's 20 million gas.
const SWEPT: usize = 16;

/// A timer runs.
pub fn rang(env: &Env) -> Result<(), Abort> {
    ALARM.rang(env)
}

/// Says when something is due in a case, in the place of what was.
#[inline(never)]
pub fn set_case(env: &Env, number: u64, case: &mut Case, due: i64) -> Result<(), Abort> {
    clear_case(number, case);
    case.due = Some(due);
    DUE.set(&(due, number), &());
    ALARM.arm(env, due, &())
}

/// Nothing is due in a case any more.
#[inline(never)]
pub fn clear_case(number: u64, case: &mut Case) {
    if let Some(former) = case.due.take() {
        DUE.delete(&(former, number));
    }
}

/// Says when a change of guardians takes effect.
pub fn add_circle(env: &Env, owner: Id, due: i64) -> Result<(), Abort> {
    TURNS.set(&(due, owner), &());
    ALARM.arm(env, due, &())
}

/// A change of guardians waits no more.
pub fn forget_circle(owner: Id, due: i64) {
    TURNS.delete(&(due, owner));
}

/// Does what is due. A timer does it, and anybody may.
pub fn sweep(env: &Env) -> Reply {
    let next = sweep_cases(env.time)?.into_iter().chain(sweep_circles(env.time)?).min();
    if let Some(due) = next {
        ALARM.arm(env, due, &())?;
    }
    done()
}

/// Returns when the next is due.
fn sweep_cases(time: i64) -> Result<Option<i64>, Abort> {
    for (i, entry) in DUE.iter().enumerate() {
        let ((due, number), ()) = entry?;
        if due > time || i == SWEPT {
            return Ok(Some(due));
        }
        ripen(number, time)?;
    }
    Ok(None)
}

fn sweep_circles(time: i64) -> Result<Option<i64>, Abort> {
    for (i, entry) in TURNS.iter().enumerate() {
        let ((due, owner), ()) = entry?;
        if due > time || i == SWEPT {
            return Ok(Some(due));
        }
        circle::current(owner, time)?;
    }
    Ok(None)
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
        CONTESTED if !circle::current(case.owner, time)?.map_or(false, |c| c.is_frozen(time)) => {
            close(number, &mut case, DISMISSED)?;
            case.add(number, Deed::Dismissed, by_time)?;
        }
        _ => {
            case.turn(OPENED);
            case.finder = None;
            clear_case(number, &mut case);
            case.add(number, Deed::Lapsed, by_time)?;
        }
    }
    case.save(number);
    Ok(())
}
