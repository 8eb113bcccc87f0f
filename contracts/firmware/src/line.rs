//! Lines: what one image is for (vendor, class, component), who makes it, who
//! operates it, whose devices run it, and which keys sign it.

use crate::codes::*;
use crate::fixed::Uuid;
use crate::suit;
use postern::{ensure, record, Abort, Bytes, Device, Env, Id, Map, Status, Topic};

record! {
    /// A line.
    pub struct Line {
        1 => pub vendor: Uuid,
        2 => pub class: Uuid,
        /// The SUIT component identifier as it is encoded.
        3 => pub component: Bytes<'static>,
        /// How many keys sign a manifest.
        4 => pub key_quorum: u8,
        /// How many makers and operators approve it.
        5 => pub maker_quorum: u8,
        6 => pub operator_quorum: u8,
        /// What a device's record must say.
        7 => pub manufacturer: Option<&'static str>,
        8 => pub model: Option<&'static str>,
        /// The highest sequence number that was ever rolled out.
        9 => pub started: Option<u64>,
        /// The release that is being rolled out.
        10 => pub rolling: Option<u64>,
        /// The release before it, which every device may have.
        11 => pub current: Option<u64>,
        /// When the next stage begins by itself.
        12 => pub due: Option<i64>,
    }
}

record! {
    /// A signing key.
    pub struct Key {
        1 => pub state: u8,
        /// Since when.
        2 => pub since: i64,
    }
}

/// A key that signs.
pub const ACTIVE: u8 = 0;
/// A key that signs no more; what it signed stays good.
pub const RETIRED: u8 = 1;
/// A key that others may have: nothing that it signed stays good.
pub const REVOKED: u8 = 2;

/// No member.
pub const NOBODY: u8 = 0;
/// Who makes the image.
pub const MAKER: u8 = 1;
/// Who answers for the devices.
pub const OPERATOR: u8 = 2;

/// The highest quorum of members, which bounds the work of counting.
const MAX_QUORUM: u8 = 8;

pub const LINES: Map<&'static str, Line> = Map::new("line/");
/// By vendor, class and component: the line.
const CLASSES: Map<(Uuid, Uuid, Bytes<'static>), &'static str> = Map::new("class/");
pub const MEMBERS: Map<(&'static str, Id), u8> = Map::new("member/");
pub const KEYS: Map<(&'static str, Bytes<'static>), Key> = Map::new("key/");
const FLEET: Map<(&'static str, Id), bool> = Map::new("fleet/");

const LINE_SET: Topic<&'static str> = Topic::new("line-set");
const MEMBER_SET: Topic<(&'static str, Id, u8)> = Topic::new("member-set");
const KEY_SET: Topic<(&'static str, Bytes<'static>, u8)> = Topic::new("key-set");
const FLEET_SET: Topic<(&'static str, Id, bool)> = Topic::new("fleet-set");

/// The line of a name.
#[inline(never)]
pub fn load(name: &'static str) -> Result<Line, Abort> {
    LINES.get(&name)?.ok_or(UNKNOWN_LINE)
}

/// Writes the line of a name.
#[inline(never)]
pub fn store(name: &'static str, line: &Line) {
    LINES.set(&name, line)
}

/// Makes a line, or changes its quorums and whose devices it is for. A line
/// that is there keeps what it is for and how far it has come.
pub fn put(env: &Env<'static>, name: &'static str, line: &mut Line) -> Result<(), Abort> {
    env.require_owner()?;
    ensure!(component_is_sound(line.component), BAD_COMPONENT);
    let members = 1..=MAX_QUORUM;
    let keys = (1..=suit::MAX_SIGNATURES as u8).contains(&line.key_quorum);
    ensure!(keys && members.contains(&line.maker_quorum) && members.contains(&line.operator_quorum), BAD_QUORUM);
    let id = (line.vendor, line.class, line.component);
    if LINES.has(&name) {
        let old = load(name)?;
        ensure!(id == (old.vendor, old.class, old.component), FIXED);
        line.started = old.started;
        line.rolling = old.rolling;
        line.current = old.current;
        line.due = old.due;
    } else {
        ensure!(!CLASSES.has(&id), CLASS_TAKEN);
        CLASSES.set(&id, &name);
    }
    store(name, line);
    LINE_SET.emit(&name);
    Ok(())
}

fn component_is_sound(component: Bytes<'static>) -> bool {
    crate::manifest::identifier(&mut postern::cbor::Reader::new(component.0)).is_ok()
}

/// Puts an account on a side of a line, or takes it off. Nobody is on both
/// sides, and nobody changes sides in one step.
pub fn put_member(env: &Env<'static>, line: &'static str, account: &Id, side: u8) -> Result<(), Abort> {
    require_owner_of(env, line)?;
    ensure!(side <= OPERATOR, BAD_NAME);
    let key = (line, *account);
    if side == NOBODY {
        MEMBERS.delete(&key);
    } else {
        ensure!(MEMBERS.get(&key)?.map_or(true, |old| old == side), IS_MEMBER);
        MEMBERS.set(&key, &side);
    }
    MEMBER_SET.emit(&(line, *account, side));
    Ok(())
}

/// Adds a signing key to a line.
pub fn put_key(env: &Env<'static>, line: &'static str, key: Bytes<'static>) -> Result<(), Abort> {
    require_owner_of(env, line)?;
    suit::algorithm_of(key.0)?;
    ensure!(!KEYS.has(&(line, key)), KEY_ENDED);
    KEYS.set(&(line, key), &Key { state: ACTIVE, since: env.time });
    KEY_SET.emit(&(line, key, ACTIVE));
    Ok(())
}

/// Ends a signing key: from active to retired to revoked, never back. A maker,
/// too, may say that a key is lost.
pub fn end_key(env: &Env<'static>, line: &'static str, key: Bytes<'static>, state: u8) -> Result<(), Abort> {
    if env.require_owner().is_err() {
        ensure!(side_of(env, line)? == Some(MAKER), NOT_MAKER);
    }
    suit::algorithm_of(key.0)?;
    let old = KEYS.get(&(line, key))?.ok_or(UNKNOWN_KEY)?;
    ensure!(state == RETIRED || state == REVOKED, BAD_NAME);
    ensure!(state > old.state, KEY_ENDED);
    KEYS.set(&(line, key), &Key { state, since: env.time });
    KEY_SET.emit(&(line, key, state));
    Ok(())
}

/// Says whether an owner's devices belong to a line.
pub fn put_fleet(env: &Env<'static>, line: &'static str, owner: &Id, belongs: bool) -> Result<(), Abort> {
    require_owner_of(env, line)?;
    let key = (line, *owner);
    if belongs {
        FLEET.set(&key, &true);
    } else {
        FLEET.delete(&key);
    }
    FLEET_SET.emit(&(line, *owner, belongs));
    Ok(())
}

// Refuses all but the contract's owner, and lines that are not there.
fn require_owner_of(env: &Env<'static>, line: &'static str) -> Result<(), Abort> {
    env.require_owner()?;
    ensure!(LINES.has(&line), UNKNOWN_LINE);
    Ok(())
}

/// The account that signed.
pub fn sender(env: &Env<'static>) -> Result<Id, Abort> {
    env.caller.and_then(Id::of).ok_or(NOT_MEMBER)
}

/// The side on which the sender is.
#[inline(never)]
pub fn side_of(env: &Env<'static>, line: &'static str) -> Result<Option<u8>, Abort> {
    MEMBERS.get(&(line, sender(env)?))
}

/// Refuses all but makers of the line.
pub fn require_maker(env: &Env<'static>, line: &'static str) -> Result<Id, Abort> {
    ensure!(side_of(env, line)? == Some(MAKER), NOT_MAKER);
    sender(env)
}

/// Refuses all but operators of the line.
pub fn require_operator(env: &Env<'static>, line: &'static str) -> Result<(), Abort> {
    ensure!(side_of(env, line)? == Some(OPERATOR), NOT_OPERATOR);
    Ok(())
}

/// Refuses all but members of the line and the contract's owner: any of them
/// alone may stop harm.
pub fn require_member(env: &Env<'static>, line: &'static str) -> Result<(), Abort> {
    ensure!(env.require_owner().is_ok() || side_of(env, line)?.is_some(), NOT_MEMBER);
    Ok(())
}

/// Refuses devices that the line is not for.
#[inline(never)]
pub fn require_device(name: &'static str, line: &Line, device: &Device) -> Result<(), Abort> {
    ensure!(device.status() == Status::Active, NOT_DEVICE);
    let is = |wanted: Option<&str>, have: &str| wanted.map_or(true, |w| w == have);
    let kind = is(line.manufacturer, device.manufacturer()) && is(line.model, device.model());
    ensure!(kind && FLEET.has(&(name, Id::keep(&device.owner()))), NOT_IN_LINE);
    Ok(())
}
