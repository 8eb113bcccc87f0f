//! The guardian contract: cases of theft and loss, from the first word to the
//! device's return. README.md documents every message and code.
//!
//! Nothing personal comes here: cases are numbers, reasons and evidence are
//! hashes or sealed, and hardware is told by marks.

#![cfg_attr(target_arch = "wasm32", no_std)]

mod case;
mod circle;
mod codes;
mod due;
mod evidence;
mod judge;
mod mark;
mod query;
mod recovery;
mod rules;
mod state;
#[cfg(test)]
mod tests;
mod who;

use codes::NOT_DIRECT;
use postern::{choice, ensure, Bytes, Context, Id, List, Reply};

pub use query::{query, Question};

postern::entry_points! {
    init => init,
    execute => execute,
    timer => timer,
    query => query,
}

choice! {
    /// What transactions may ask.
    pub enum Command {
        /// Names the sender's guardians; a change of them waits.
        1 => SetCircle { members: List<'static, Id>, threshold: u8 },
        /// A guardian's word that the owner's key is not the owner's any more.
        2 => Freeze { owner: Id },
        /// An authority ends that.
        3 => Thaw { owner: Id },
        /// Tells which hardware a device is.
        4 => Register { device: Id, marks: List<'static, Id> },
        /// Begins a case.
        5 => Open { device: Id, kind: u8, reason: Id },
        /// Supports a case that a guardian proposed.
        6 => Second { case: u64 },
        /// Adds to what is known of a case.
        7 => Evidence { case: u64, kind: u8, digest: Id, sealed: Bytes<'static> },
        /// Says that the device was found.
        8 => Found { case: u64, digest: Id, sealed: Bytes<'static> },
        /// Agrees that the device is back.
        9 => Confirm { case: u64 },
        /// Says that it is not.
        10 => Object { case: u64 },
        /// The owner says that there was no theft.
        11 => Contest { case: u64, reason: Id },
        /// An authority decides.
        12 => Rule { case: u64, outcome: u8, reason: Id },
        /// An authority lists hardware that is no device of this chain.
        13 => ListMark { mark: Id, reason: Id },
        /// An authority takes a mark away from whoever has it.
        14 => StrikeMark { mark: Id },
        /// Does what is due, should a timer have been lost.
        15 => Sweep,
    }
}

/// Runs once at deployment: how long things take.
fn init(c: &Context) -> Reply {
    rules::set(c.parse_message()?)
}

/// Another contract could speak in its signer's name, and evidence of
/// behaviour is no command: both are refused.
fn execute(c: &Context) -> Reply {
    let env = &c.env;
    ensure!(env.parent.is_none() && env.evidence.is_none(), NOT_DIRECT);
    let who = who::Sender::of(env)?;
    match c.parse_message()? {
        Command::SetCircle { members, threshold } => circle::name(&who, members, threshold),
        Command::Freeze { owner } => circle::freeze(&who, owner),
        Command::Thaw { owner } => circle::thaw(&who, owner),
        Command::Register { device, marks } => mark::register(&who, device, &marks),
        Command::Open { device, kind, reason } => case::open(&who, device, kind, reason),
        Command::Second { case } => case::second(&who, case),
        Command::Evidence { case, kind, digest, sealed } => evidence::add(&who, case, kind, digest, sealed),
        Command::Found { case, digest, sealed } => evidence::found(&who, case, digest, sealed),
        Command::Confirm { case } => recovery::confirm(&who, case),
        Command::Object { case } => recovery::object(&who, case),
        Command::Contest { case, reason } => judge::contest(&who, case, reason),
        Command::Rule { case, outcome, reason } => judge::rule(&who, case, outcome, reason),
        Command::ListMark { mark, reason } => mark::list(&who, mark, reason),
        Command::StrikeMark { mark } => mark::strike(&who, mark),
        Command::Sweep => due::sweep(env),
    }
}

fn timer(c: &Context) -> Reply {
    due::rang(&c.env)?;
    due::sweep(&c.env)
}
