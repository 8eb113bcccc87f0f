//! What devices ask, confirm, and have had.

use crate::codes::*;
use crate::line::{self, Line};
use crate::release::{self, *};
use crate::rollout;
use postern::{ensure, record, Abort, Checked, Device, Env, Id, Map, Raw, Topic};

record! {
    /// What a device has of a line.
    pub struct Installed {
        1 => pub sequence: u64,
        2 => pub image: Id,
        3 => pub at: i64,
    }
}

record! {
    /// What a device said of a release.
    pub struct Said {
        /// The roll-out's run in which it did.
        1 => pub run: u32,
        /// 0 where it runs; else the device's own code.
        2 => pub result: u16,
    }
}

record! {
    /// An entry of a device's history.
    pub struct Entry {
        1 => pub line: &'static str,
        2 => pub sequence: u64,
        3 => pub image: Id,
        4 => pub result: u16,
        5 => pub at: i64,
    }
}

record! {
    /// What is next for a device: nothing, or a release; and what must come
    /// before a newer one.
    pub struct Next {
        1 => pub sequence: Option<u64>,
        2 => pub release: Option<Raw<'static>>,
        /// The line and sequence number that the device must have before.
        3 => pub needs: Option<(&'static str, u64)>,
        /// What the device has was revoked.
        4 => pub revoked: bool,
    }
}

const INSTALLED: Map<(Id, &'static str), Installed> = Map::new("installed/");
const SAID: Map<(&'static str, u64, Id), Said> = Map::new("said/");
const HISTORY: Map<(Id, u64), Entry> = Map::new("history/");
/// How many entries a device's history ever had.
const ENTRIES: Map<Id, u64> = Map::new("entries/");

/// Entries of a device's history that are kept; older ones stand in blocks.
const MAX_HISTORY: u64 = 256;

const CONFIRMED: Topic<(Id, &'static str, u64, u16)> = Topic::new("confirmed");

#[inline(never)]
fn installed(key: &(Id, &'static str)) -> Result<Option<Installed>, Abort> {
    INSTALLED.get(key)
}

/// Notes that the sender, a device, runs a release, or why it does not.
#[inline(never)]
pub fn confirm(env: &Env<'static>, id: &Number, image: &Id, result: u16) -> Result<(), Abort> {
    let device = line::sender(env)?;
    let record = env.device().ok_or(NOT_DEVICE)?;
    let (name, sequence) = *id;
    line::require_device(name, &line::load(name)?, &record)?;
    let mut release = release::load(id)?;
    ensure!(*image == release.image, WRONG_DIGEST);
    require_offered(id, &release, &device, &record)?;
    let had = installed(&(device, name))?;
    ensure!(had.map_or(true, |h| h.sequence <= sequence), DOWNGRADE);
    CONFIRMED.emit(&(device, name, sequence, result));
    say(id, &mut release, &device, result)?;
    if result == 0 {
        INSTALLED.set(&(device, name), &Installed { sequence, image: *image, at: env.time });
    }
    remember(&device, &Entry { line: name, sequence, image: *image, result, at: env.time })?;
    Ok(())
}

// What a device says late counts as long as it was offered the release.
fn require_offered(id: &Number, release: &Release, device: &Id, record: &Device) -> Result<(), Abort> {
    let offered = rollout::reaches(id, release, device, record)? && unmet(release, device)?.is_none();
    ensure!(offered, NOT_OFFERED);
    Ok(())
}

// A device counts once in a run, however often it changes its mind.
fn say(id: &Number, release: &mut Release, device: &Id, result: u16) -> Result<(), Abort> {
    let key = (id.0, id.1, *device);
    let run = release.run;
    let before = SAID.get(&key)?;
    ensure!(before.map_or(true, |b| b.run != run || b.result != result), ALREADY_CONFIRMED);
    SAID.set(&key, &Said { run, result });
    let counted = before.filter(|b| b.run == run).map(|b| b.result == 0);
    rollout::tally(id, release, counted, result == 0)
}

fn remember(device: &Id, entry: &Entry) -> Result<(), Abort> {
    let n = ENTRIES.get(device)?.unwrap_or_default();
    HISTORY.set(&(*device, n), entry);
    if n >= MAX_HISTORY {
        HISTORY.delete(&(*device, n - MAX_HISTORY));
    }
    ENTRIES.set(device, &n.plus(1)?);
    Ok(())
}

/// What is next for a device that says which sequence number it has.
#[inline(never)]
pub fn next(name: &'static str, device: &Id, says: Option<u64>) -> Result<Next, Abort> {
    let line = line::load(name)?;
    let record = Device::get(device.0).ok_or(NOT_DEVICE)?;
    line::require_device(name, &line, &record)?;
    let have = installed(&(*device, name))?.map(|i| i.sequence).max(says);
    let revoked = match have {
        Some(sequence) => release::load(&(name, sequence)).map_or(false, |r| r.state == ENDED),
        None => false,
    };
    let mut next = Next { sequence: None, release: None, needs: None, revoked };
    for sequence in [line.rolling, line.current].iter().flatten() {
        if have.map_or(true, |h| h < *sequence) {
            let id = (name, *sequence);
            if let Some(release) = offered(&id, &line, device, &record)? {
                let needs = unmet(&release, device)?;
                if needs.is_none() {
                    next.sequence = Some(*sequence);
                    next.release = Some(Raw(postern::encode(&release)));
                    break;
                }
                next.needs = next.needs.or(needs);
            }
        }
    }
    Ok(next)
}

// The release, if a device may have it now.
fn offered(id: &Number, line: &Line, device: &Id, record: &Device) -> Result<Option<Release>, Abort> {
    let release = release::load(id)?;
    let offered = match release.state {
        ROLLING => rollout::reaches(id, &release, device, record)?,
        RELEASED => true,
        _ => false,
    };
    Ok(Some(release).filter(|r| offered && require_trusted(id.0, line, r).is_ok()))
}

// The first release that a device must have before this one and has not.
#[inline(never)]
fn unmet(release: &Release, device: &Id) -> Result<Option<(&'static str, u64)>, Abort> {
    for need in release.needs.iter() {
        let (line, least) = need?;
        let have = installed(&(*device, line))?;
        if have.map_or(true, |h| h.sequence < least) {
            return Ok(Some((line, least)));
        }
    }
    Ok(None)
}
