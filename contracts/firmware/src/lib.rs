//! The contract of firmware releases: what makers sign and operators roll
//! out, stage by stage, to devices that ask, verify and confirm. README.md
//! documents every message, event and code.

#![cfg_attr(target_arch = "wasm32", no_std)]

mod clock;
mod codes;
mod device;
mod fixed;
mod line;
mod manifest;
mod query;
mod release;
mod rollout;
mod sequence;
mod suit;
#[cfg(test)]
mod tests;

use crate::fixed::{Name, Uuid};
use codes::*;
use postern::{choice, ensure, Abort, Bytes, Context, Id, List, Reply};

pub use clock::timer;
pub use query::query;

postern::entry_points! { execute => execute, timer => timer, query => query }


choice! {
    /// What `execute` does.
    pub enum Command {
        1 => PutLine {
            line: Name, vendor: Uuid, class: Uuid, component: List<'static, Bytes<'static>>,
            key_quorum: u8, maker_quorum: u8, operator_quorum: u8,
            manufacturer: Option<Name>, model: Option<Name>,
        },
        2 => PutMember { line: Name, account: Id, side: u8 },
        3 => PutKey { line: Name, key: Bytes<'static> },
        4 => EndKey { line: Name, key: Bytes<'static>, state: u8 },
        5 => PutFleet { line: Name, owner: Id, belongs: bool },
        6 => Propose {
            line: Name, envelope: Bytes<'static>, keys: List<'static, Bytes<'static>>,
            version: Name, uri: Option<&'static str>, needs: List<'static, (&'static str, u64)>,
        },
        7 => Approve { line: Name, sequence: u64, manifest: Id },
        8 => Withdraw { line: Name, sequence: u64 },
        9 => Roll {
            line: Name, sequence: u64, stages: List<'static, rollout::Stage>, stop_rate: u16, stop_count: u32,
        },
        10 => Advance { line: Name, sequence: u64, stage: u8 },
        11 => Stop { line: Name, sequence: u64, reason: Name },
        12 => Resume { line: Name, sequence: u64 },
        13 => Revoke { line: Name, sequence: u64, reason: Name },
        14 => Confirm { line: Name, sequence: u64, image: Id, result: u16 },
    }
}

/// Changes lines and releases, or notes what a device says.
pub fn execute(c: &Context) -> Reply {
    ensure!(c.env.parent.is_none(), NOT_MEMBER);
    let env = &c.env;
    match parse(c)? {
        Command::PutLine {
            line, vendor, class, component, key_quorum, maker_quorum, operator_quorum, manufacturer, model,
        } => {
            let (manufacturer, model) = (manufacturer.map(|m| m.as_str()), model.map(|m| m.as_str()));
            let (started, rolling, current, due) = (None, None, None, None);
            let mut new = line::Line {
                vendor, class, component: Bytes(component.encoded()), key_quorum, maker_quorum, operator_quorum,
                manufacturer, model, started, rolling, current, due,
            };
            line::put(env, line.as_str(), &mut new)?
        }
        Command::PutMember { line, account, side } => line::put_member(env, line.as_str(), &account, side)?,
        Command::PutKey { line, key } => line::put_key(env, line.as_str(), key)?,
        Command::EndKey { line, key, state } => line::end_key(env, line.as_str(), key, state)?,
        Command::PutFleet { line, owner, belongs } => line::put_fleet(env, line.as_str(), &owner, belongs)?,
        Command::Propose { line, envelope, keys, version, uri, needs } => {
            let draft = release::Draft { line: line.as_str(), keys, version: version.as_str(), uri, needs };
            release::propose(env, envelope.0, &draft)?
        }
        Command::Approve { line, sequence, manifest } => release::approve(env, &(line.as_str(), sequence), &manifest)?,
        Command::Withdraw { line, sequence } => release::withdraw(env, &(line.as_str(), sequence))?,
        Command::Roll { line, sequence, stages, stop_rate, stop_count } => {
            rollout::roll(env, &(line.as_str(), sequence), &rollout::Plan { stages, stop_rate, stop_count })?
        }
        Command::Advance { line, sequence, stage } => rollout::advance(env, &(line.as_str(), sequence), stage)?,
        Command::Stop { line, sequence, reason } => {
            rollout::stop(env, &(line.as_str(), sequence), reason.as_str())?
        }
        Command::Resume { line, sequence } => rollout::resume(env, &(line.as_str(), sequence))?,
        Command::Revoke { line, sequence, reason } => {
            rollout::revoke(env, &(line.as_str(), sequence), reason.as_str())?
        }
        Command::Confirm { line, sequence, image, result } => {
            device::confirm(env, &(line.as_str(), sequence), &image, result)?
        }
    }
    postern::done()
}

#[inline(never)]
fn parse(c: &Context) -> Result<Command, Abort> {
    c.parse_message()
}
