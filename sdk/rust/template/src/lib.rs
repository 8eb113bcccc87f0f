//! Lockers that accounts take and give back. A starting point: replace the
//! state, the commands and the decision by your own.

#![cfg_attr(target_arch = "wasm32", no_std)]

#[cfg(test)]
mod tests;

use postern::{choice, done, ensure, record, refusals, reply};
use postern::{Abort, Context, DecisionRequest, Env, Hash, Item, Map, Reply, Text, Topic, Verdict};

// Which functions the node runs: `execute` for transactions, `query` and
// `decide` on one gateway, `init` at deployment, `migrate` after an upgrade,
// `timer` when a timer is due.
postern::entry_points! {
    init => init,
    migrate => migrate,
    execute => execute,
    timer => timer,
    query => query,
    decide => decide,
}

// The state. No key may be the beginning of a prefix.
const COUNT: Item<u32> = Item::new("count");
const HELD: Map<u32, Held> = Map::new("held/");

record! {
    /// Who holds a locker. Numbers name the fields: never change their
    /// meaning; add fields as `Option`.
    pub struct Held {
        1 => pub holder: Hash,
        2 => pub until: i64,
        3 => pub note: Option<Text<'static, 64>>,
    }
}

choice! {
    /// What transactions may ask.
    pub enum Command {
        /// Takes a free locker until a time, in ms since 1970.
        1 => Take { locker: u32, until: i64, note: Option<Text<'static, 64>> },
        /// Gives a locker back.
        2 => Release { locker: u32 },
    }
}

choice! {
    /// What queries may ask.
    pub enum Question {
        /// Who holds a locker: a [`Held`], or null.
        1 => Holder { locker: u32 },
        /// At most 100 lockers that are held, from a number on.
        2 => List { from: u32 },
    }
}

// Codes stand in outcomes for ever: never change their meaning.
refusals! {
    pub NO_LOCKER = 2, "there is no such locker";
    pub IS_HELD = 3, "the locker is held by somebody";
    pub NOT_HOLDER = 4, "only its holder or the contract's owner may release a locker";
    pub BAD_TIME = 5, "the time is over already";
}

// Events.
const TAKEN: Topic<(u32, Hash)> = Topic::new("taken");
const RELEASED: Topic<u32> = Topic::new("released");

// Reasons of verdicts.
pub const HOLDS_IT: u64 = 1;
pub const HOLDS_IT_NOT: u64 = 2;

/// The message is the number of lockers.
fn init(c: &Context) -> Reply {
    COUNT.set(&c.parse_message()?);
    done()
}

/// Runs once after an upgrade, in the old state; the message is the new number
/// of lockers.
fn migrate(c: &Context) -> Reply {
    COUNT.set(&c.parse_message()?);
    done()
}

fn execute(c: &Context) -> Reply {
    match c.parse_message()? {
        Command::Take { locker, until, note } => take(&c.env, locker, until, note),
        Command::Release { locker } => release(&c.env, locker),
    }
}

fn take(env: &Env, locker: u32, until: i64, note: Option<Text<'static, 64>>) -> Reply {
    ensure!(locker < COUNT.load()?, NO_LOCKER);
    ensure!(!HELD.has(&locker), IS_HELD);
    ensure!(until > env.time, BAD_TIME);
    let holder = env.caller()?;
    HELD.set(&locker, &Held { holder, until, note });
    TAKEN.emit(&(locker, holder));
    postern::schedule_message(until, &locker);
    done()
}

fn release(env: &Env, locker: u32) -> Reply {
    let held = HELD.get(&locker)?.ok_or(NO_LOCKER)?;
    ensure!(held.holder == env.caller()? || env.require_owner().is_ok(), NOT_HOLDER);
    free(locker)
}

fn free(locker: u32) -> Reply {
    HELD.delete(&locker);
    RELEASED.emit(&locker);
    done()
}

/// The time of a locker is over, unless it was taken anew since.
fn timer(c: &Context) -> Reply {
    let locker = c.parse_message()?;
    match HELD.get(&locker)? {
        Some(held) if held.until <= c.env.time => free(locker),
        _ => done(),
    }
}

fn query(c: &Context) -> Reply {
    match c.parse_message()? {
        Question::Holder { locker } => reply(&HELD.get(&locker)?),
        Question::List { from } => list(from),
    }
}

fn list(from: u32) -> Reply {
    let mut lockers = [0; 100];
    let mut count = 0;
    for (slot, entry) in lockers.iter_mut().zip(HELD.iter_from(&from)) {
        *slot = entry?.0;
        count += 1;
    }
    reply(&lockers[..count])
}

/// The holder of a locker may open it: subject.id is its account in hex,
/// resource.id the locker's number.
fn decide(c: &Context) -> Reply {
    let q: DecisionRequest = c.parse_message()?;
    let verdict = match held_by(&q)? {
        Some(held) if held.until > c.env.time => Verdict { ttl: 1000, ..Verdict::permit(HOLDS_IT) },
        _ => Verdict::deny(HOLDS_IT_NOT),
    };
    verdict.reply()
}

fn held_by(q: &DecisionRequest) -> Result<Option<Held>, Abort> {
    let locker = match q.resource.id.parse() {
        Ok(locker) if q.action.name == "open" && q.resource.kind == "locker" => locker,
        _ => return Ok(None),
    };
    Ok(HELD.get(&locker)?.filter(|held| is_hex_of(q.subject.id, &held.holder)))
}

fn is_hex_of(text: &str, account: &Hash) -> bool {
    let digit = |n: u8| b"0123456789abcdef"[n as usize & 15];
    let hex = account.iter().flat_map(|&b| [digit(b >> 4), digit(b)]);
    text.bytes().eq(hex)
}
