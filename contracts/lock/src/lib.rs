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
use postern::{choice, ensure, Bytes, Context, Hash, List, Reply};
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
        1 => SetLock { lock: Hash, delegation: bool, retention: i64, staleness: u64, recipients: List<'static, Hash> },
        /// The lock's owner says what time it is where the lock is.
        2 => SetZone { lock: Hash, until: i64, steps: List<'static, Step> },
        /// Gives a guest a right, in the place of the one it had.
        3 => Grant { lock: Hash, kind: u8, guest: Hash, terms: Terms },
        /// Takes a guest's right away.
        4 => Revoke { lock: Hash, kind: u8, guest: Hash },
        /// A guest enters by its own account; a counted right is used.
        5 => Enter { lock: Hash, note: Bytes<'static> },
        /// The lock admits a guest that it saw; a counted right is used.
        6 => Admit { kind: u8, guest: Hash, note: Bytes<'static> },
        /// The lock tells of an entry that it decided itself, as by a PIN.
        7 => Report { how: u8, guest: Hash, note: Bytes<'static> },
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
    let caller = env.caller()?;
    match c.parse_message()? {
        Command::SetLock { lock, delegation, retention, staleness, recipients } => {
            settings::set_lock(env, &caller, &lock, settings::Wanted { delegation, retention, staleness, recipients })
        }
        Command::SetZone { lock, until, steps } => settings::set_zone(&caller, &lock, until, steps),
        Command::Grant { lock, kind, guest, terms } => grant::grant(env.time, &caller, &(lock, kind, guest), &terms),
        Command::Revoke { lock, kind, guest } => grant::revoke(&caller, &(lock, kind, guest)),
        Command::Enter { lock, note } => enter::enter(env.time, &caller, &lock, note),
        Command::Admit { kind, guest, note } => enter::admit(env.time, &caller, kind, &guest, note),
        Command::Report { how, guest, note } => enter::report(env.time, &caller, how, &guest, note),
        Command::Health { battery, tampered } => health::tell(env.time, &caller, battery, tampered),
        Command::Sweep => history::sweep(env.time),
    }
}

fn timer(c: &Context) -> Reply {
    due::rang(c.parse_message()?);
    history::sweep(c.env.time)
}
