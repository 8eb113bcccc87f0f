//! Marks tell hardware again after a factory reset: digests of what a reset
//! does not change, such as a serial, a MAC address or a security chip's key.
//! The ledger's own blacklist knows serials and what manufacturers vouched for;
//! this one knows whatever a device or its owner registered while all was well.

use crate::case::hold;
use crate::codes::*;
use crate::state::*;
use crate::who::{Part, Sender};
use postern::{done, ensure, record, sha256, Abort, Device, Id, List, Map, Reply, Topic};

pub const MARKS: Map<Id, Mark> = Map::new("mark/");
pub const BY_DEVICE: Map<(Id, Id), ()> = Map::new("marks/");

const MARK_LISTED: Topic<(Id, Id)> = Topic::new("mark-listed");
const MARK_STRUCK: Topic<(Id, Id)> = Topic::new("mark-struck");
const KNOWN_AGAIN: Topic<Again> = Topic::new("known-again");

/// A device has a handful of ids; more would let one take those of others.
pub const MAX_MARKS: usize = 4;

record! {
    /// Whose hardware it is, or which authority listed it.
    pub struct Mark {
        1 => pub by: Id,
        2 => pub at: i64,
        /// Absent where an authority listed what is no device here.
        3 => pub device: Option<Id>,
        /// The authority's reason.
        4 => pub reason: Option<Id>,
    }
}

record! {
    /// Hardware that is stolen or lost, under this key or another.
    pub struct Listing {
        1 => pub mark: Option<Id>,
        2 => pub case: Option<u64>,
        3 => pub device: Option<Id>,
        4 => pub state: Option<u8>,
    }
}

record! {
    /// A device that turned out to be listed hardware.
    pub struct Again {
        1 => pub device: Id,
        2 => pub listing: Listing,
    }
}

/// Tells which hardware a device is; the device does, or its owner. Returns
/// whether some of it is listed: then the device is another's that came back
/// under a new key, and is held as that one is.
pub fn register(who: &Sender, device: Id, marks: &List<'static, Id>) -> Reply {
    let record = Device::get(device.0).ok_or(NOT_PARTY)?;
    if who.id != device {
        ensure!(*who.id.0 == record.owner(), NOT_PARTY);
        who.part(who.id)?;
    }
    ensure!(marks.len() <= MAX_MARKS, TOO_MANY_MARKS);
    ensure!(!OPEN.has(&device), BUSY);
    let mut listed = serial(&record)?;
    for mark in marks.iter() {
        listed = listing(mark?)?.or(listed);
    }
    match listed {
        Some(listing) => recognise(who, device, listing)?,
        None => claim(who, device, marks)?,
    }
    postern::reply(&listed.is_some())
}

/// Takes marks for a device that are nobody else's.
fn claim(who: &Sender, device: Id, marks: &List<'static, Id>) -> Result<(), Abort> {
    for mark in marks.iter() {
        let mark = mark?;
        match MARKS.get(&mark)? {
            Some(former) => ensure!(former.device == Some(device), MARK_TAKEN),
            None => {
                MARKS.set(&mark, &Mark { by: who.id, at: who.time, device: Some(device), reason: None });
                BY_DEVICE.set(&(device, mark), &());
            }
        }
    }
    ensure!(BY_DEVICE.iter_of(&device).take(MAX_MARKS + 1).count() <= MAX_MARKS, TOO_MANY_MARKS);
    Ok(())
}

fn recognise(who: &Sender, device: Id, listing: Listing) -> Result<(), Abort> {
    let mut kind = STOLEN;
    if let Some(number) = listing.case {
        let mut case = Case::load(number)?;
        kind = case.kind;
        case.add(number, Deed::Recognised, Act { digest: Some(device), ..act(who.time, Some(who.id)) })?;
        case.save(number);
    }
    hold(device, kind);
    KNOWN_AGAIN.emit(&Again { device, listing });
    Ok(())
}

/// Whether hardware is listed: an authority said so, or it is that of a device
/// with a case.
#[inline(never)]
pub fn listing(mark: Id) -> Result<Option<Listing>, Abort> {
    let found = match MARKS.get(&mark)? {
        Some(found) => found,
        None => return Ok(None),
    };
    let by_case = match found.device {
        Some(device) => of_device(device)?,
        None => Some(Listing { mark: None, case: None, device: None, state: None }),
    };
    Ok(by_case.map(|listing| Listing { mark: Some(mark), ..listing }))
}

/// Whether a device is listed under its own key.
#[inline(never)]
pub fn of_device(device: Id) -> Result<Option<Listing>, Abort> {
    let number = match OPEN.get(&device)? {
        Some(number) => number,
        None => return Ok(None),
    };
    let state = Case::load(number)?.state;
    let listing = Listing { mark: None, case: Some(number), device: Some(device), state: Some(state) };
    Ok(Some(listing).filter(|_| state != PROPOSED))
}

/// Whether a device's serial is listed: its mark is made of what the ledger
/// says, so nobody need register it.
pub fn serial(device: &Device) -> Result<Option<Listing>, Abort> {
    let parts = [b"postern/mark/serial", device.manufacturer().as_bytes(), device.serial().as_bytes()];
    let text = postern::buffer(parts.iter().map(|p| p.len() + 1).sum());
    let mut at = 0;
    for part in parts {
        text[at..at + part.len()].copy_from_slice(part);
        at += part.len() + 1; // a zero byte ends each
    }
    listing(Id::keep(&sha256(text)))
}

/// An authority lists hardware that is no device of this chain.
pub fn list(who: &Sender, mark: Id, reason: Id) -> Reply {
    who.require_authority()?;
    ensure!(!MARKS.has(&mark), MARK_TAKEN);
    MARKS.set(&mark, &Mark { by: who.id, at: who.time, device: None, reason: Some(reason) });
    MARK_LISTED.emit(&(mark, who.id));
    done()
}

/// An authority takes a mark away, such as one that was registered to frame
/// another's hardware; not where it has a part in it itself.
pub fn strike(who: &Sender, mark: Id) -> Reply {
    who.require_authority()?;
    let former = MARKS.get(&mark)?.ok_or(NO_MARK)?;
    if let Some(device) = former.device {
        let owner = Device::get(device.0).map_or(who.id, |d| Id::keep(&d.owner()));
        ensure!(owner != who.id && matches!(who.part(owner)?, Part::Authority), OWN_CASE);
        BY_DEVICE.delete(&(device, mark));
    }
    MARKS.delete(&mark);
    MARK_STRUCK.emit(&(mark, who.id));
    done()
}
