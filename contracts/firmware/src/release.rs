//! Releases: what a maker proposed, and who approved it.

use crate::codes::*;
use crate::line::{self, Line, ACTIVE, KEYS, LINES, MAKER, MEMBERS, REVOKED};
use crate::manifest::Manifest;
use crate::sequence::MAX_URI;
use crate::suit;
use postern::{ensure, record, state_set, Abort, Bytes, Checked, Env, Id, List, Map, Topic};

record! {
    /// A release.
    pub struct Release {
        /// The digest of the manifest.
        1 => pub manifest: Id,
        /// The image's digest and its bytes.
        2 => pub image: Id,
        3 => pub size: u64,
        4 => pub version: &'static str,
        5 => pub uri: Option<&'static str>,
        /// The maker who proposed it, and when.
        6 => pub by: Id,
        7 => pub at: i64,
        8 => pub state: u8,
        /// How many approve it.
        9 => pub makers: u8,
        10 => pub operators: u8,
        /// The keys that signed it.
        11 => pub keys: List<'static, Bytes<'static>>,
        /// What else a device must have: lines and least sequence numbers.
        12 => pub needs: List<'static, (&'static str, u64)>,
        /// The stage of its roll-out, and since when.
        13 => pub stage: Option<u8>,
        14 => pub since: Option<i64>,
        /// How often its roll-out was begun: what devices said is counted anew.
        15 => pub run: u32,
        /// Why it was stopped or revoked.
        16 => pub reason: Option<&'static str>,
    }
}

pub const PROPOSED: u8 = 0;
pub const APPROVED: u8 = 1;
pub const ROLLING: u8 = 2;
pub const STOPPED: u8 = 3;
pub const RELEASED: u8 = 4;
pub const SUPERSEDED: u8 = 5;
pub const WITHDRAWN: u8 = 6;
pub const ENDED: u8 = 7;

/// A release by its line and sequence number.
pub type Number = (&'static str, u64);

pub const RELEASES: Map<Number, Release> = Map::new("release/");
/// The envelope of a release, as it came and without a head of its own.
pub const ENVELOPE: &str = "envelope/";
/// By manifest and account: the side.
const APPROVALS: Map<(Id, Id), u8> = Map::new("approval/");
/// Images ever proposed for a line, and under which sequence number.
const IMAGES: Map<(&'static str, Id), u64> = Map::new("image/");
/// Manifests ever proposed.
const MANIFESTS: Map<Id, bool> = Map::new("manifest/");

/// Approvals that are counted, those of former members included: a bound on the
/// work, four times what two quorums need.
const MAX_APPROVALS: usize = 64;
const MAX_NEEDS: usize = 8;

const PROPOSED_EVENT: Topic<(&'static str, u64, Id)> = Topic::new("proposed");
const APPROVAL: Topic<(&'static str, u64, Id)> = Topic::new("approval");
const APPROVED_EVENT: Topic<(&'static str, u64)> = Topic::new("approved");
const WITHDRAWN_EVENT: Topic<(&'static str, u64)> = Topic::new("withdrawn");

/// The release of a line and sequence number.
#[inline(never)]
pub fn load(id: &Number) -> Result<Release, Abort> {
    RELEASES.get(id)?.ok_or(UNKNOWN_RELEASE)
}

/// Writes the release of a line and sequence number.
#[inline(never)]
pub fn store(id: &Number, release: &Release) {
    RELEASES.set(id, release)
}

/// What a maker says beside the manifest.
pub struct Draft {
    pub line: &'static str,
    pub keys: List<'static, Bytes<'static>>,
    pub version: &'static str,
    pub uri: Option<&'static str>,
    pub needs: List<'static, (&'static str, u64)>,
}

/// Notes a release that a maker proposes, once all of its manifest is checked.
#[inline(never)]
pub fn propose(env: &Env<'static>, envelope: &'static [u8], draft: &Draft) -> Result<(), Abort> {
    let by = line::require_maker(env, draft.line)?;
    let line = line::load(draft.line)?;
    ensure!(draft.uri.map_or(true, |u| u.len() <= MAX_URI), BAD_NAME);
    require_keys(draft, &line)?;
    require_needs(draft)?;
    let manifest = suit::check(envelope, &draft.keys)?;
    ensure!((manifest.vendor, manifest.class) == (line.vendor, line.class), WRONG_CLASS);
    ensure!(manifest.component == line.component.0, BAD_COMPONENT);
    let id = (draft.line, manifest.sequence);
    require_new(&id, &line, &manifest)?;
    let mut release = Release {
        manifest: manifest.digest, image: manifest.image, size: manifest.size, version: draft.version,
        uri: manifest.uri.or(draft.uri), by, at: env.time, state: PROPOSED, makers: 0, operators: 0,
        keys: draft.keys, needs: draft.needs, stage: None, since: None, run: 0, reason: None,
    };
    state_set(envelope_key(&id), envelope);
    PROPOSED_EVENT.emit(&(id.0, id.1, manifest.digest));
    // To propose is to approve, as a maker.
    add(&by, MAKER, &id, &line, &mut release)
}

// A sequence number rises above all that were ever rolled out, and neither
// image nor manifest comes back under another.
fn require_new(id: &Number, line: &Line, manifest: &Manifest) -> Result<(), Abort> {
    ensure!(!MANIFESTS.has(&manifest.digest), REPLAYED);
    require_rising(id, line)?;
    let open = !RELEASES.has(id) || load(id)?.state == WITHDRAWN;
    ensure!(open, OLD_SEQUENCE);
    ensure!(!IMAGES.has(&(id.0, manifest.image)), KNOWN_DIGEST);
    MANIFESTS.set(&manifest.digest, &true);
    IMAGES.set(&(id.0, manifest.image), &id.1);
    Ok(())
}

/// Refuses a release that is not above all that were ever rolled out.
pub fn require_rising(id: &Number, line: &Line) -> Result<(), Abort> {
    ensure!(line.started.map_or(true, |s| id.1 > s), OLD_SEQUENCE);
    Ok(())
}

// The keys are active ones of the line, each named once.
fn require_keys(draft: &Draft, line: &Line) -> Result<(), Abort> {
    let count = draft.keys.len();
    ensure!(count >= line.key_quorum as usize && count <= suit::MAX_SIGNATURES, TOO_FEW_KEYS);
    for (i, key) in draft.keys.iter().enumerate() {
        let key = key?;
        suit::algorithm_of(key.0)?;
        let before = draft.keys.iter().take(i).any(|k| k == Ok(key));
        ensure!(!before, TOO_FEW_KEYS);
        let known = KEYS.get(&(draft.line, key))?.ok_or(UNKNOWN_KEY)?;
        ensure!(known.state == ACTIVE, KEY_ENDED);
    }
    Ok(())
}

fn require_needs(draft: &Draft) -> Result<(), Abort> {
    ensure!(draft.needs.len() <= MAX_NEEDS, BAD_NEED);
    for need in draft.needs.iter() {
        let (other, _) = need?;
        ensure!(other.len() <= 64 && other != draft.line && LINES.has(&other), BAD_NEED);
    }
    Ok(())
}

/// Refuses a release that too few keys signed which are still trusted.
#[inline(never)]
pub fn require_trusted(name: &'static str, line: &Line, release: &Release) -> Result<(), Abort> {
    let mut trusted = 0;
    for key in release.keys.iter() {
        let state = KEYS.get(&(name, key?))?.map_or(REVOKED, |k| k.state);
        trusted += (state != REVOKED) as u8;
    }
    ensure!(trusted >= line.key_quorum, KEY_REVOKED);
    Ok(())
}

/// Approves a release, for the side on which the sender is.
#[inline(never)]
pub fn approve(env: &Env<'static>, id: &Number, manifest: &Id) -> Result<(), Abort> {
    let side = line::side_of(env, id.0)?.ok_or(NOT_MEMBER)?;
    let line = line::load(id.0)?;
    let mut release = load(id)?;
    ensure!(release.manifest == *manifest, WRONG_MANIFEST);
    ensure!(release.state == PROPOSED, WRONG_STATE);
    require_rising(id, &line)?;
    require_trusted(id.0, &line, &release)?;
    add(&line::sender(env)?, side, id, &line, &mut release)
}

// Adds an approval; whoever has approved for one side has for both.
fn add(by: &Id, side: u8, id: &Number, line: &Line, release: &mut Release) -> Result<(), Abort> {
    let key = (release.manifest, *by);
    ensure!(!APPROVALS.has(&key), ALREADY_APPROVED);
    APPROVALS.set(&key, &side);
    APPROVAL.emit(&(id.0, id.1, *by));
    count(id.0, release)?;
    if is_approved(line, release) {
        release.state = APPROVED;
        APPROVED_EVENT.emit(id);
    }
    store(id, release);
    Ok(())
}

fn is_approved(line: &Line, release: &Release) -> bool {
    release.makers >= line.maker_quorum && release.operators >= line.operator_quorum
}

/// Refuses a release whose approvals are no longer enough: those of former
/// members have gone with them.
pub fn require_approved(name: &'static str, line: &Line, release: &mut Release) -> Result<(), Abort> {
    count(name, release)?;
    ensure!(is_approved(line, release), NOT_APPROVED);
    Ok(())
}

// Counts the approvals of those who are still on the side they approved for.
#[inline(never)]
fn count(line: &'static str, release: &mut Release) -> Result<(), Abort> {
    let (mut makers, mut operators) = (0u8, 0u8);
    for approval in APPROVALS.iter_of(&release.manifest).take(MAX_APPROVALS) {
        let ((_, account), side) = approval?;
        if MEMBERS.get(&(line, account))? == Some(side) {
            let sum = if side == MAKER { &mut makers } else { &mut operators };
            *sum = sum.plus(1)?;
        }
    }
    release.makers = makers;
    release.operators = operators;
    Ok(())
}

/// Takes back what was not rolled out: the proposer may, and the contract's
/// owner. The image may come again; the manifest may not.
pub fn withdraw(env: &Env<'static>, id: &Number) -> Result<(), Abort> {
    let mut release = load(id)?;
    let proposer = line::side_of(env, id.0)? == Some(MAKER) && line::sender(env)? == release.by;
    ensure!(proposer || env.require_owner().is_ok(), NOT_MAKER);
    ensure!(release.state <= APPROVED, WRONG_STATE);
    IMAGES.delete(&(id.0, release.image));
    release.state = WITHDRAWN;
    store(id, &release);
    WITHDRAWN_EVENT.emit(id);
    Ok(())
}

/// The state key of a release's envelope.
pub fn envelope_key(id: &Number) -> &'static [u8] {
    let (head, name, end) = (ENVELOPE.as_bytes(), id.0.as_bytes(), id.1.to_be_bytes());
    let key = postern::buffer(head.len() + name.len() + end.len());
    let (first, rest) = key.split_at_mut(head.len());
    let (second, third) = rest.split_at_mut(name.len());
    first.copy_from_slice(head);
    second.copy_from_slice(name);
    third.copy_from_slice(&end);
    key
}
