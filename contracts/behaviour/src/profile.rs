//! A profile version's head: what is known of it, and the settings by which
//! devices are judged.
//!
//! The active head (key `a|profile`) and the head of a version that is being
//! written (`p|profile|version|z`) have one form: array [number, count, digest,
//! body]. In `a` the number is the version; in a head it is the version's
//! status. Once a version is active or retired, its head is the array [status]
//! alone. The body is an array:
//!
//! ```text
//! [source, validity, mask, kinds, classes [text …], settings, notes [text …]]
//! ```
//!
//! source: the MUD file's URL, or ""; validity: for how many hours it need not
//! be fetched again; mask: number of buckets less one; kinds: bit 2*kind+to
//! device for each kind of bucket that has entries, bit 31 where some forbid;
//! notes: what of the source is not understood, for people. Settings:
//!
//! ```text
//! [flags, alert, stolen, quarantine, half-life ms, reports a minute,
//!  bytes an hour, silence ms, [weight of each finding …], hours or null]
//! ```

use crate::codes::*;
use crate::finding::KINDS;
use crate::hours;
use crate::keys::{self, Key};
use crate::page::{Bucket, MAX_BUCKETS};
use postern::cbor::{Cursor, Kind, Reader, Writer};
use postern::{sha256, state_get, state_set, Abort, Reply};

pub const BUILDING: u64 = 0;
pub const ACTIVE: u64 = 1;
pub const RETIRED: u64 = 2;

/// Bytes of a body: one value of the state holds it with the rest of the head.
const MAX_BODY: usize = 12 << 10;
/// How many classes of parties a profile may name.
pub const MAX_CLASSES: usize = 32;
const MAX_CLASS: usize = 255;
const MAX_SOURCE: usize = 255;
/// A weight or threshold is at most this.
const MAX_WEIGHT: u64 = 1_000_000;
/// Longest half-life and silence: a year.
const MAX_SPAN: u64 = 366 * 24 * 3_600_000;

/// Names that no rule knows are findings.
pub const STRICT_NAMES: u64 = 1;
/// Flows are judged; else the profile says nothing of them.
pub const JUDGE_FLOWS: u64 = 1 << 1;
/// Frames that are no IP are judged, from the device and to it: where a policy's
/// lists speak of IP alone, they say nothing of the frames that carry it.
const JUDGE_FRAMES: [u64; 2] = [1 << 2, 1 << 3];
const FLAGS: u64 = 0xf;
const FORBIDS: u64 = 1 << 31;

/// The head of a profile version.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// Version or status, see above.
    pub number: u64,
    /// Entries and rules.
    pub count: u64,
    /// Running digest of what was written.
    pub digest: [u8; 32],
    /// The body as it is encoded.
    pub body: &'a [u8],
}

impl<'a> Head<'a> {
    /// Reads the body of a new version; the digest starts with it.
    pub fn begin(r: &mut Reader<'a>) -> Result<Head<'a>, Abort> {
        let body = r.raw()?;
        r.done()?;
        if body.len() > MAX_BODY {
            return Err(TOO_LARGE);
        }
        check(&mut Reader::new(body))?;
        Ok(Head { number: BUILDING, count: 0, digest: sha256(body), body })
    }

    // None where all is gone but the status.
    fn parse(raw: &'a [u8]) -> Option<Head<'a>> {
        let mut c = Cursor::new(raw);
        if c.uint() != 4 {
            return None;
        }
        let (number, count) = (c.uint(), c.uint());
        let mut digest = [0; 32];
        digest.copy_from_slice(c.bytes().get(..32)?);
        Some(Head { number, count, digest, body: c.raw() })
    }

    /// The active head of a profile.
    pub fn active(profile: &[u8]) -> Option<Head<'static>> {
        Head::parse(state_get(Key::active(profile).bytes())?)
    }

    /// A version that is being written.
    pub fn building(profile: &str, version: u32) -> Result<Head<'static>, Abort> {
        let raw = state_get(Key::part(profile.as_bytes(), version, keys::HEAD).bytes());
        raw.and_then(Head::parse).ok_or(NOT_BUILDING)
    }

    /// Takes something that was written into the running digest.
    pub fn absorb(&mut self, item: &[u8]) {
        let joined = postern::buffer(32 + item.len());
        joined[..32].copy_from_slice(&self.digest);
        joined[32..].copy_from_slice(item);
        self.digest = sha256(joined);
    }

    fn encode(&self) -> Result<&'static [u8], Abort> {
        let mut w = Writer::new(self.body.len() + 64);
        w.array(4).uint(self.number).uint(self.count).bytes(&self.digest).raw(self.body);
        Ok(w.finish()?)
    }

    /// Stores the head of a version that is being written.
    pub fn save_building(&self, profile: &str, version: u32) -> Result<(), Abort> {
        state_set(Key::part(profile.as_bytes(), version, keys::HEAD).bytes(), self.encode()?);
        Ok(())
    }

    /// Stores the active head.
    pub fn save_active(&self, profile: &str) -> Result<(), Abort> {
        state_set(Key::active(profile.as_bytes()).bytes(), self.encode()?);
        Ok(())
    }

    /// What operations on a version answer: [version, count, digest].
    pub fn receipt(&self, version: u32) -> Reply {
        let mut w = Writer::new(64);
        w.array(3).uint(version as u64).uint(self.count).bytes(&self.digest);
        Ok(w.finish()?)
    }
}

/// Leaves nothing of a head but its status.
pub fn set_status(profile: &str, version: u32, status: u64) {
    state_set(Key::part(profile.as_bytes(), version, keys::HEAD).bytes(), &[0x81, status as u8]);
}

/// What judging needs of a body, which was checked when it was written.
#[derive(Clone, Copy)]
pub struct Profile<'a> {
    pub mask: u16,
    kinds: u64,
    /// The names of classes, an encoded array.
    pub classes: &'a [u8],
    pub settings: Settings<'a>,
}

#[derive(Clone, Copy)]
pub struct Settings<'a> {
    pub flags: u64,
    pub alert: u64,
    pub stolen: u64,
    pub quarantine: u64,
    pub half_life: u64,
    /// Reports a minute; 0 for any number.
    pub reports: u64,
    /// Bytes of flows an hour; 0 for any number.
    pub bytes: u64,
    /// How long the device may be silent, ms; 0 for ever.
    pub silence: u64,
    weights: &'a [u8],
    /// The hours as they are encoded, or null.
    pub hours: &'a [u8],
}

impl<'a> Profile<'a> {
    pub fn of(body: &'a [u8]) -> Profile<'a> {
        let mut c = Cursor::new(body);
        c.uint();
        c.skip(); // source
        c.skip(); // validity
        let (mask, kinds, classes) = (c.uint() as u16, c.uint(), c.raw());
        c.uint();
        let settings = Settings {
            flags: c.uint(),
            alert: c.uint(),
            stolen: c.uint(),
            quarantine: c.uint(),
            half_life: c.uint(),
            reports: c.uint(),
            bytes: c.uint(),
            silence: c.uint(),
            weights: c.raw(),
            hours: c.raw(),
        };
        Profile { mask, kinds, classes, settings }
    }

    /// Whether a kind of bucket has entries for a direction.
    #[inline]
    pub fn has(&self, kind: Bucket, to_device: bool) -> bool {
        self.kinds >> (2 * kind as u32 + to_device as u32) & 1 == 1
    }

    /// Whether some entries forbid, so that the first that admits may not
    /// decide.
    pub fn forbids(&self) -> bool {
        self.kinds & FORBIDS != 0
    }
}

impl Settings<'_> {
    /// Whether frames that are no IP are judged in a direction.
    pub fn judges_frames(&self, to_device: bool) -> bool {
        self.flags & JUDGE_FRAMES[to_device as usize] != 0
    }

    /// What a finding of a kind, counted from 1, weighs.
    #[inline(never)]
    pub fn weight(&self, kind: usize) -> u64 {
        let mut c = Cursor::new(self.weights);
        let count = c.uint() as usize;
        (0..kind.min(count)).fold(0, |_, _| c.uint())
    }
}

#[inline(never)]
fn check(r: &mut Reader) -> Result<(), Abort> {
    r.array_of(7)?;
    let source = r.text()?;
    let validity = r.uint()?;
    let mask = r.uint()?;
    let kinds = r.uint()?;
    if source.len() > MAX_SOURCE || validity > MAX_SPAN || !(mask + 1).is_power_of_two() || mask >= MAX_BUCKETS {
        return Err(BAD_PROFILE);
    }
    if kinds & !(FORBIDS | (1 << (2 * Bucket::ALL.len())) - 1) != 0 {
        return Err(BAD_PROFILE);
    }
    let classes = r.array()?;
    if classes > MAX_CLASSES {
        return Err(TOO_LARGE);
    }
    for _ in 0..classes {
        let class = r.text()?;
        if class.is_empty() || class.len() > MAX_CLASS {
            return Err(BAD_NAME);
        }
    }
    check_settings(r)?;
    for _ in 0..r.array()? {
        r.text()?;
    }
    Ok(())
}

fn check_settings(r: &mut Reader) -> Result<(), Abort> {
    r.array_of(10)?;
    let flags = r.uint()?;
    let (alert, stolen, quarantine) = (r.uint()?, r.uint()?, r.uint()?);
    let (half_life, reports, bytes, silence) = (r.uint()?, r.uint()?, r.uint()?, r.uint()?);
    let thresholds = [alert, stolen, quarantine].iter().all(|t| (1..=MAX_WEIGHT).contains(t));
    if flags > FLAGS || !thresholds || !(1..=MAX_SPAN).contains(&half_life) {
        return Err(BAD_PROFILE);
    }
    if reports > 60_000 || bytes > 1 << 50 || silence > MAX_SPAN {
        return Err(BAD_PROFILE);
    }
    r.array_of(KINDS)?;
    for _ in 0..KINDS {
        r.uint_max(MAX_WEIGHT)?;
    }
    match r.kind()? {
        Kind::Null => Ok(r.null()?),
        _ => hours::check(r),
    }
}
