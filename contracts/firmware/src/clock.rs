//! Stages that begin by time: an index of when which line is due, and one alarm.

use crate::line::Line;
use crate::rollout;
use postern::{Abort, Alarm, Context, Env, Map, Reply};

/// By time and line.
const DUE: Map<(i64, &'static str), ()> = Map::new("due/");
const ALARM: Alarm = Alarm::new("alarm/");
/// Lines that one timer's call goes on with. Each may arm the alarm, which is a
/// scan, and a call has eight: three are the call's own.
const BATCH: usize = 4;

/// Sets the time of a line's next stage.
pub fn set(env: &Env<'static>, name: &'static str, line: &mut Line, hold: u64) -> Result<(), Abort> {
    let due = env.time + hold as i64;
    line.due = Some(due);
    DUE.set(&(due, name), &());
    ALARM.arm(env, due, &())
}

/// Takes the time of a line's next stage away.
pub fn forget(name: &'static str, line: &mut Line) {
    if let Some(due) = line.due.take() {
        DUE.delete(&(due, name));
    }
}

/// Goes on with the lines that are due.
pub fn timer(c: &Context) -> Reply {
    ALARM.rang(&c.env)?;
    for (i, entry) in DUE.iter().enumerate() {
        let ((due, name), ()) = entry?;
        if due > c.env.time || i == BATCH {
            ALARM.arm(&c.env, due, &())?;
            break;
        }
        rollout::advance_by_time(&c.env, name)?;
    }
    postern::done()
}
