//! What the contract's owner decides: time limits, purposes, who issues
//! credits and who settles disputes.

use crate::codes::*;
use crate::id::{self, Env, Id};
use crate::names::{self, Code, Codes, MAX_CODES};
use crate::state::{Key, Out, NOTHING};
use postern::cbor::Writer;
use postern::{decode, done, Context, List, Reply};

pub const HOUR: i64 = 60 * 60 * 1000;
pub const DAY: i64 = 24 * HOUR;

/// The bounds of every time limit: shorter, and people sleep through it;
/// longer, and it is none.
const SHORTEST: i64 = HOUR;
const LONGEST: i64 = 90 * DAY;

/// The time limits, in ms, by their place: for a new key after a consent was
/// withdrawn; for the key's destruction after that was demanded; for a buyer's
/// objection after a delivery; for the arbiter's word after an objection.
pub const ROTATE: usize = 0;
pub const ERASE: usize = 1;
pub const DISPUTE: usize = 2;
pub const ARBITRATE: usize = 3;
const USUAL: [i64; 4] = [7 * DAY, 30 * DAY, 3 * DAY, 14 * DAY];

const PURPOSES: Key = Key(b"purposes");
pub const ISSUER: Key = Key(b"issuer");
pub const ARBITER: Key = Key(b"arbiter");

/// The purposes that every contract begins with.
const FIRST_PURPOSES: [&str; 8] =
    ["treatment", "research", "billing", "public-health", "operations", "maintenance", "statistics", "model-training"];

/// Runs once at deployment. The message is empty, or an array of the four
/// limits, of which those that are null have the usual length.
pub fn init(c: &Context) -> Reply {
    let chosen: List<Option<i64>> = match c.message {
        [] => sound(decode(&[0x80])),
        _ => c.parse_message()?,
    };
    let mut given = chosen.iter();
    for (which, usual) in USUAL.iter().enumerate() {
        let limit = given.next().and_then(sound).unwrap_or(*usual);
        must((SHORTEST..=LONGEST).contains(&limit), &BAD_SETTING);
        limit_key(which).set(&limit);
    }
    must(given.next().is_none(), &BAD_SETTING);
    PURPOSES.set(&&FIRST_PURPOSES[..]);
    done()
}

fn limit_key(which: usize) -> Key {
    Key::of(&[b"limit", &[which as u8]])
}

/// A time limit.
#[inline(never)]
pub fn limit(which: usize) -> i64 {
    there(limit_key(which).get(), &BAD_SETTING)
}

/// The purposes; one keeps its bit for ever.
pub fn purposes() -> Codes {
    there(PURPOSES.get(), &BAD_SETTING)
}

/// The account that settles disputes: the owner unless it names another.
pub fn arbiter(env: &Env) -> Id {
    ARBITER.get().unwrap_or_else(|| id::owner(env))
}

/// Refuses all but the contract's owner.
#[inline(never)]
pub fn require_owner(env: &Env) {
    must(env.require_owner().is_ok(), &NOT_OWNER)
}

/// Names the issuer or the arbiter.
pub fn appoint(env: &Env, whom: Key, account: Id) -> Out {
    require_owner(env);
    whom.set(&account);
    NOTHING
}

/// Adds a purpose behind the others.
pub fn add_purpose(env: &Env, purpose: Code) -> Out {
    require_owner(env);
    names::require_code(purpose.as_str());
    let old = purposes();
    must(old.len() < MAX_CODES, &TOO_MANY);
    must(names::bit(&old, purpose.as_str()).is_none(), &EXISTS);
    let mut w = Writer::new(old.encoded().len() + purpose.as_str().len() + 4);
    w.array(old.len() + 1);
    old.iter().for_each(|code| {
        w.text(sound(code).as_str());
    });
    w.text(purpose.as_str());
    let all: Codes = sound(decode(sound(w.finish())));
    PURPOSES.set(&all);
    NOTHING
}
