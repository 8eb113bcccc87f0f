//! Commands whose time is over are closed by timers. Nothing depends on it: a
//! command's own times are tested wherever it is used. Timers only tell the
//! world and free the device's place.
//!
//! An index in the order of time holds what will expire, however much that is.

use crate::codes::*;
use crate::command::{self, COMMANDS};
use postern::{done, Abort, Alarm, Context, Env, Id, Map, Reply, Topic};

const DUE: Map<(i64, u64), ()> = Map::new("due/");
const ALARM: Alarm = Alarm::new("armed/");
const EXPIRED_EVENT: Topic<(u64, Id)> = Topic::new("expired");

/// Commands that one timer closes: each writes five entries.
const STEP: usize = 16;

/// Has a command closed when its time is over.
pub fn add(env: &Env, until: i64, number: u64) -> Result<(), Abort> {
    DUE.set(&(until, number), &());
    ALARM.arm(env, until, &())
}

/// Forgets a command that was closed otherwise.
pub fn remove(until: i64, number: u64) {
    DUE.delete(&(until, number));
}

/// Closes commands whose time is over.
pub fn timer(c: &Context) -> Reply {
    ALARM.rang(&c.env)?;
    for (i, entry) in DUE.iter().enumerate() {
        let ((until, number), ()) = entry?;
        if until > c.env.time || i == STEP {
            ALARM.arm(&c.env, until, &())?;
            break;
        }
        expire(&c.env, until, number)?;
    }
    done()
}

fn expire(env: &Env, until: i64, number: u64) -> Result<(), Abort> {
    DUE.delete(&(until, number));
    let mut command = COMMANDS.get(&number)?.ok_or(UNKNOWN_COMMAND)?;
    if command.state <= command::READY {
        command::close(env, number, &mut command, command::EXPIRED_STATE)?;
        EXPIRED_EVENT.emit(&(number, command.device));
    }
    Ok(())
}
