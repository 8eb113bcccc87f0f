//! Deadlines. Each stands in an index by its time; timers wake the contract
//! for the first of them.
//!
//! A chain has only so many timers for a contract, and they cannot be taken
//! back. So timers lie on a grid of five minutes, one at each point at most and
//! none further ahead than a day, and one is set only where none comes earlier;
//! the last to come sets the next. That is one timer as a rule and 289 at most:
//! whoever makes deadlines by the thousand neither uses up the timers nor delays
//! anybody else's deadline.

use crate::codes::sound;
use crate::id::Env;
use crate::state::{number_of, Key};
use crate::{erase, rotate, trade};
use postern::{done, schedule_message, Context, Reply, Scan};

/// Timers lie at multiples of this, in ms: a deadline is met so late at most.
const GRID: i64 = 5 * 60 * 1000;
/// No timer is further ahead, in ms.
const AHEAD: i64 = 24 * 60 * 60 * 1000;
/// How many deadlines one timer meets; if more have come, the next follows at
/// once. A refund may tell two events, of which a call has 64.
const AT_ONCE: usize = 24;
/// How many of them may be purges: each begins a scan, and a call has eight.
const PURGES: u32 = 4;
/// How soon that is, in ms.
const SOON: i64 = 1000;

/// What happens at a deadline.
pub const ROTATION: u8 = 1;
pub const ERASURE: u8 = 2;
pub const PURGE: u8 = 3;
pub const PURCHASE: u8 = 4;

/// The prefix of deadlines: when, what happens, and of which data set (its
/// name) or purchase (its number).
pub const PREFIX: &[u8] = b"due/";
const TIMERS: &[u8] = b"timer/";

fn key(at: i64, what: u8, of: &[u8]) -> Key {
    Key::of(&[PREFIX, &at.to_be_bytes(), &[what], of])
}

/// A deadline as its key has it.
pub fn parts(key: &[u8]) -> (i64, u8, &[u8]) {
    match key.get(PREFIX.len() + 8..) {
        Some([what, of @ ..]) => (number_of(&key[..PREFIX.len() + 8]) as i64, *what, of),
        _ => (i64::MAX, 0, &[]),
    }
}

/// Sets a deadline.
#[inline(never)]
pub fn set(env: &Env, at: i64, what: u8, of: &[u8]) {
    key(at, what, of).set(&());
    wake(env.time, at);
}

/// Takes a deadline back.
#[inline(never)]
pub fn clear(at: Option<i64>, what: u8, of: &[u8]) {
    if let Some(at) = at {
        key(at, what, of).delete();
    }
}

// Sees to it that a timer comes at or before a time, or at the end of what
// timers are set for.
fn wake(now: i64, at: i64) {
    let at = grid(at.clamp(now + 1, now + AHEAD));
    let after = Key::numbered(TIMERS, now as u64 + 1);
    match Scan::new(TIMERS, after.0).next() {
        Some((first, _)) if number_of(first) as i64 <= at => {}
        _ => start(at),
    }
}

fn start(at: i64) {
    Key::numbered(TIMERS, at as u64).set(&());
    schedule_message(at, &at);
}

fn grid(at: i64) -> i64 {
    (at + GRID - 1) / GRID * GRID
}

/// Meets the deadlines that have come; the message is the timer's own time.
pub fn timer(c: &Context) -> Reply {
    let own: i64 = c.parse_message()?;
    Key::numbered(TIMERS, own as u64).delete();
    let (now, mut more, mut purges) = (c.env.time, false, 0);
    for (i, key) in first().iter().flatten().enumerate() {
        let (at, what, _) = parts(key.0);
        if at > now && !more {
            wake(now, at);
        }
        purges += (what == PURGE) as u32;
        if at > now || i == AT_ONCE || purges > PURGES {
            more |= at <= now;
            break;
        }
        key.delete();
        more |= meet(&c.env, key.0);
    }
    if more {
        start(now + SOON);
    }
    done()
}

// The first deadlines, and one more than are met at once, in memory of their own.
fn first() -> [Option<Key>; AT_ONCE + 1] {
    let mut keys = [None; AT_ONCE + 1];
    let mut scan = Scan::new(PREFIX, PREFIX);
    for slot in keys.iter_mut() {
        *slot = scan.next().map(|(key, _)| Key::of(&[key]));
    }
    keys
}

// Meets one, and tells whether it goes on.
fn meet(env: &Env, key: &'static [u8]) -> bool {
    let (at, what, of) = parts(key);
    let name = || sound(core::str::from_utf8(of).map_err(|_| postern::cbor::Error::Utf8));
    match what {
        ROTATION => rotate::overdue(at, name()),
        ERASURE => erase::overdue(at, name()),
        PURGE => return erase::purge(env, name()),
        _ => trade::over(env, number_of(of)),
    }
    false
}

/// Sets a deadline that has come already, for the timer that runs to go on with.
pub fn again(env: &Env, what: u8, of: &[u8]) {
    key(env.time, what, of).set(&());
}
