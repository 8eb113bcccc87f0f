//! Who may see whose record: asked by those that hold the real names.

use crate::pupil::PUPILS;
use crate::school;
use postern::{Abort, Context, DecisionRequest, Env, Id, Reply, Verdict};

/// Reasons of decisions.
pub const PARENT: u64 = 1;
pub const TEACHER: u64 = 2;
pub const OFFICE: u64 = 3;
pub const SELF: u64 = 4;
pub const NO_RIGHT: u64 = 5;
pub const UNKNOWN: u64 = 6;

/// By how many ms a gateway's state may be behind: who lost custody must not see
/// for longer.
const MAX_STALENESS: u64 = 30_000;

/// Why an account may see a pupil's record, [`NO_RIGHT`] where it may not.
pub fn right(env: &Env, account: Id, pupil: &Id) -> Result<u64, Abort> {
    let record = match PUPILS.get(pupil)? {
        Some(record) => record,
        None => return Ok(NO_RIGHT),
    };
    Ok(if record.has_parent(account) {
        PARENT
    } else if record.class.map_or(false, |class| school::teaches(account, class)) {
        TEACHER
    } else if school::is_office(env, &account) {
        OFFICE
    } else if record.account == Some(account) {
        SELF
    } else {
        NO_RIGHT
    })
}

/// Decides on the action "view" of the resource type "record": the ids of subject
/// and resource are an account's and a pupil's, in hexadecimal digits. Answers are
/// not to be kept, since custody changes at once.
pub fn decide(c: &Context) -> Reply {
    let q: DecisionRequest = c.parse_message()?;
    let asked = q.action.name == "view" && q.resource.kind == "record";
    let reason = match (id_of(q.subject.id), id_of(q.resource.id)) {
        (Some(account), Some(pupil)) if asked => right(&c.env, account, &pupil)?,
        _ => UNKNOWN,
    };
    Verdict { permit: reason < NO_RIGHT, max_staleness: Some(MAX_STALENESS), ..Verdict::deny(reason) }.reply()
}

/// The id that 64 hexadecimal digits, in lower case, write.
fn id_of(text: &str) -> Option<Id> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let room = postern::buffer(32);
    for (byte, pair) in room.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Id::of(room)
}

fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}
