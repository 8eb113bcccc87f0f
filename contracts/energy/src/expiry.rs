//! Commands whose time is over are closed by timers. Nothing depends on it: a
//! command's own times are tested wherever it is used. Timers only tell the
//! world and free the device's place.
//!
//! An index in the order of time holds what will expire; a few timers wait for
//! the earliest of it, however much it holds.

use crate::id::Id;
use crate::codes::*;
use crate::command::{self, COMMANDS};
use postern::{done, Abort, Context, Env, Map, Reply, Topic};

const DUE: Map<(i64, u64), ()> = Map::new("due/");
/// The times for which a timer waits.
const ARMED: Map<i64, ()> = Map::new("armed/");
const EXPIRED_EVENT: Topic<(u64, Id)> = Topic::new("expired");

/// Commands that one timer closes: each writes five entries.
const STEP: usize = 16;
/// Timers at a time. One that comes too late only tells it late.
const MAX_ARMED: usize = 8;

/// Has a command closed when its time is over.
pub fn add(env: &Env, until: i64, number: u64) -> Result<(), Abort> {
    DUE.set(&(until, number), &());
    arm(env)
}

/// Forgets a command that was closed otherwise.
pub fn remove(until: i64, number: u64) {
    DUE.delete(&(until, number));
}

/// Makes sure that a timer waits for the earliest command.
fn arm(env: &Env) -> Result<(), Abort> {
    let earliest = match DUE.iter().next() {
        Some(entry) => entry?.0 .0,
        None => return Ok(()),
    };
    let mut waiting = 0;
    for entry in ARMED.iter().take(2 * MAX_ARMED) {
        let at = entry?.0;
        if at < env.time {
            ARMED.delete(&at); // it runs with this block or was lost
            continue;
        }
        if at <= earliest {
            return Ok(());
        }
        waiting += 1;
    }
    if waiting < MAX_ARMED {
        let at = earliest.max(env.time + 1); // what is due already, with the next block
        ARMED.set(&at, &());
        postern::schedule_message(at, &at);
    }
    Ok(())
}

/// Closes commands whose time is over; the message is what the timer waited for.
pub fn timer(c: &Context) -> Reply {
    let at: i64 = c.parse_message()?;
    ARMED.delete(&at);
    for entry in DUE.iter().take(STEP) {
        let ((until, number), ()) = entry?;
        if until > c.env.time {
            break;
        }
        expire(&c.env, until, number)?;
    }
    arm(&c.env)?;
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
