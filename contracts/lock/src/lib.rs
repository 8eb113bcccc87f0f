//! The lock contract: who may open a home's smart locks, and who did.
//! README.md documents every message and code.
//!
//! PINs never come here, not even hashed: a lock compares them itself and
//! reports an entry under a pseudonym.

#![cfg_attr(target_arch = "wasm32", no_std)]

mod codes;
mod decide;
mod due;
mod enter;
mod grant;
mod health;
mod history;
mod hours;
mod query;
mod right;
mod settings;
mod state;
#[cfg(test)]
mod tests;

use codes::NOT_DIRECT;
use hours::Step;
use postern::{choice, ensure, Bytes, Context, Id, List, Reply};
use right::Terms;

pub use decide::decide;
pub use query::{query, Question};

postern::entry_points! {
    execute => execute,
    timer => timer,
    query => query,
    decide => decide,
}

choice! {
    /// What transactions may ask.
    pub enum Command {
        /// The lock's owner begins with a lock, or changes how it works.
        1 => SetLock { lock: Id, delegation: bool, retention: i64, staleness: u64, recipients: List<'static, Id> },
        /// The lock's owner says what time it is where the lock is.
        2 => SetZone { lock: Id, until: i64, steps: List<'static, Step> },
        /// Gives a guest a right, in the place of the one it had.
        3 => Grant { lock: Id, kind: u8, guest: Id, terms: Terms },
        /// Takes a guest's right away.
        4 => Revoke { lock: Id, kind: u8, guest: Id },
        /// A guest enters by its own account; a counted right is used.
        5 => Enter { lock: Id, note: Bytes<'static> },
        /// The lock admits a guest that it saw; a counted right is used.
        6 => Admit { kind: u8, guest: Id, note: Bytes<'static> },
        /// The lock tells of an entry that it decided itself, as by a PIN.
        7 => Report { how: u8, guest: Id, note: Bytes<'static> },
        /// The lock tells how it is.
        8 => Health { battery: u8, tampered: bool },
        /// Deletes entries whose time is over, should a timer have been lost.
        9 => Sweep,
    }
}

/// Another contract could speak in its signer's name, and evidence is no
/// command: both are refused.
fn execute(c: &Context) -> Reply {
    let env = &c.env;
    ensure!(env.parent.is_none() && env.evidence.is_none(), NOT_DIRECT);
    let caller = env.caller.and_then(Id::of).ok_or(NOT_DIRECT)?;
    match c.parse_message()? {
        Command::SetLock { lock, delegation, retention, staleness, recipients } => {
            settings::set_lock(env, caller, lock, settings::Wanted { delegation, retention, staleness, recipients })
        }
        Command::SetZone { lock, until, steps } => settings::set_zone(caller, lock, until, steps),
        Command::Grant { lock, kind, guest, terms } => grant::grant(env.time, caller, &(lock, kind, guest), &terms),
        Command::Revoke { lock, kind, guest } => grant::revoke(caller, &(lock, kind, guest)),
        Command::Enter { lock, note } => enter::enter(env, caller, lock, note),
        Command::Admit { kind, guest, note } => enter::admit(env, caller, kind, guest, note),
        Command::Report { how, guest, note } => enter::report(env, caller, how, guest, note),
        Command::Health { battery, tampered } => health::tell(env.time, caller, battery, tampered),
        Command::Sweep => history::sweep(env),
    }
}

fn timer(c: &Context) -> Reply {
    due::rang(&c.env)?;
    history::sweep(&c.env)
}
