//! What is known of a case: anybody may add to it, nobody can take away. Content
//! stays outside; here are a salted digest and, if the sender likes, sealed
//! bytes, such as where a device was seen.

use crate::codes::*;
use crate::due;
use crate::rules;
use crate::state::*;
use crate::who::Sender;
use postern::{done, ensure, Abort, Bytes, Checked, Id, Map, Reply, Role};

const SEEN: Map<(u64, Id, Id), ()> = Map::new("seen/");
const COUNTS: Map<(u64, Id), u32> = Map::new("count/");

/// Kinds of evidence.
pub const DOCUMENT: u8 = 0;
pub const SIGHTING: u8 = 1;

/// Bytes of a sealed text: a place and a few words for several readers.
const MAX_SEALED: usize = 1024;
/// How often a gateway, a device or a party may tell of a case, and how often
/// anybody else may.
const MAX_KNOWN: u32 = 64;
const MAX_STRANGERS: u32 = 4;

/// Adds evidence to a case that is not closed.
pub fn add(who: &Sender, number: u64, kind: u8, digest: Id, sealed: Bytes<'static>) -> Reply {
    let mut case = Case::load(number)?;
    let deed = match kind {
        DOCUMENT => Deed::Evidence,
        SIGHTING => Deed::Sighted,
        _ => return Err(BAD_KIND),
    };
    take(who, number, &mut case, deed, digest, sealed)?;
    case.save(number);
    done()
}

/// Says that the device was found. The owner or guardians confirm it; until
/// then nothing else changes.
pub fn found(who: &Sender, number: u64, digest: Id, sealed: Bytes<'static>) -> Reply {
    let mut case = Case::load(number)?;
    ensure!(case.state == OPENED, WRONG_STATE);
    take(who, number, &mut case, Deed::Found, digest, sealed)?;
    case.turn(FOUND);
    case.finder = Some(who.id);
    due::set_case(&who.env, number, &mut case, who.time.plus(rules::get()?.patience)?)?;
    case.save(number);
    done()
}

fn take(
    who: &Sender,
    number: u64,
    case: &mut Case,
    deed: Deed,
    digest: Id,
    sealed: Bytes<'static>,
) -> Result<(), Abort> {
    ensure!(!case.is_closed(), WRONG_STATE);
    ensure!(sealed.0.len() <= MAX_SEALED, TOO_LONG);
    // By sender: else whoever sees a message on its way could be first with
    // its digest.
    let key = (number, who.id, digest);
    ensure!(!SEEN.has(&key), REPLAYED);
    let given = COUNTS.get(&(number, who.id))?.unwrap_or(0);
    ensure!(given < most(who, case.owner), TOO_MUCH);
    SEEN.set(&key, &());
    COUNTS.set(&(number, who.id), &(given + 1));
    let sealed = Some(sealed).filter(|s| !s.0.is_empty());
    case.add(number, deed, Act { digest: Some(digest), sealed, ..act(who.time, Some(who.id)) })
}

fn most(who: &Sender, owner: Id) -> u32 {
    let serves = who.env.has_role(Role::GATEWAY) || who.env.device.is_some();
    let known = serves || who.id == owner || who.part(owner).is_ok();
    if known {
        MAX_KNOWN
    } else {
        MAX_STRANGERS
    }
}
