//! The contract of notarised device data: that a reading was there, at what
//! time, by whose word. Hashes and Merkle roots stand on the ledger, readings
//! never. README.md documents every message, event and code.

#![cfg_attr(target_arch = "wasm32", no_std)]

mod batch;
mod codes;
mod query;
mod record;
mod retention;
#[cfg(test)]
mod tests;

use codes::*;
use postern::{choice, ensure, Context, Id, Reply, Text};

pub use query::query;
pub use retention::timer;

postern::entry_points! { execute => execute, timer => timer, query => query }

/// Why data is held.
pub type Reason = Text<'static, 64>;

choice! {
    /// What `execute` does.
    pub enum Command {
        1 => Notarise { device: Id, root: Id, count: u32, from: i64, to: i64 },
        2 => PutNotary { account: Id, allowed: bool },
        3 => SetRetention { device: Option<Id>, keep: Option<u64> },
        4 => SetHold { device: Id, held: bool, reason: Reason },
    }
}

/// Notarises, or says who may, for how long, and what is held.
pub fn execute(c: &Context) -> Reply {
    ensure!(c.env.parent.is_none(), NOT_NOTARY);
    let env = &c.env;
    match c.parse_message()? {
        Command::Notarise { device, root, count, from, to } => {
            return record::notarise(env, record::Claim { device, root, count, from, to });
        }
        Command::PutNotary { account, allowed } => record::put_notary(env, account, allowed)?,
        Command::SetRetention { device, keep } => retention::set(env, device, keep)?,
        Command::SetHold { device, held, reason } => retention::hold(env, device, held, reason.as_str())?,
    }
    postern::done()
}
