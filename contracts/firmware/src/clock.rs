//! Stages that begin by time. An index holds when which line is due; one
//! timer of the chain waits for the earliest, and does bounded work.

use crate::line::Line;
use crate::rollout;
use postern::{Abort, Context, Env, Item, Map, Reply};

/// By time and line.
const DUE: Map<(i64, &'static str), bool> = Map::new("due/");
/// When the earliest timer is due, and how many there are.
const NEXT: Item<(i64, u32)> = Item::new("timer");

/// A timer is due at full minutes, so that lines share one.
const MINUTE: i64 = 60_000;
/// Lines that one timer's call goes on with.
const BATCH: usize = 8;
/// Timers that may wait: one is the rule, more come of ever earlier times.
const MAX_TIMERS: u32 = 32;

/// Sets the time of a line's next stage.
pub fn set(env: &Env<'static>, name: &'static str, line: &mut Line, hold: u64) -> Result<(), Abort> {
    let due = (env.time + hold as i64 + MINUTE - 1) / MINUTE * MINUTE;
    line.due = Some(due);
    DUE.set(&(due, name), &true);
    wake(due)
}

/// Takes the time of a line's next stage away.
pub fn forget(name: &'static str, line: &mut Line) {
    if let Some(due) = line.due.take() {
        DUE.delete(&(due, name));
    }
}

// Makes sure that a timer is due by then.
fn wake(due: i64) -> Result<(), Abort> {
    let (next, waiting) = NEXT.get()?.unwrap_or((i64::MAX, 0));
    if next <= due {
        return Ok(());
    }
    // Where too many wait, the stage begins with the next of them.
    if waiting < MAX_TIMERS {
        postern::schedule_message(due, &());
        NEXT.set(&(due, waiting + 1));
    }
    Ok(())
}

/// Goes on with the lines that are due.
pub fn timer(c: &Context) -> Reply {
    let now = c.env.time;
    let (next, waiting) = NEXT.get()?.unwrap_or((i64::MAX, 1));
    NEXT.set(&(if next <= now { i64::MAX } else { next }, waiting.saturating_sub(1)));
    let mut left = BATCH;
    for entry in DUE.iter() {
        let ((due, name), _) = entry?;
        if due > now || left == 0 {
            wake(due.max(now + 1))?;
            break;
        }
        left -= 1;
        rollout::advance_by_time(&c.env, name)?;
    }
    postern::done()
}
