//! The roll-out of a release: stages of a plan, begun by operators or by time,
//! and what ends it.

use crate::clock;
use crate::codes::*;
use crate::fixed::Name;
use crate::line::{self, Line};
use crate::release::{self, *};
use postern::{ensure, record, Abort, Checked, Device, Env, Id, List, Map, Topic};

/// A stage: the percentage of devices that it reaches, a label "name=value"
/// whose devices it reaches as well, and after how many ms the next begins by
/// itself.
pub type Stage = (u8, Option<Name>, Option<u64>);

record! {
    /// How a release is rolled out.
    pub struct Plan {
        1 => pub stages: List<'static, Stage>,
        /// Errors of a thousand confirmations above which it stops, once that
        /// many devices have said how it went.
        2 => pub stop_rate: u16,
        3 => pub stop_count: u32,
    }
}

record! {
    /// What devices said since the roll-out began.
    pub struct Tally {
        1 => pub done: u32,
        2 => pub failed: u32,
    }
}

/// Stages of a plan: an operator watches each.
const MAX_STAGES: usize = 8;
/// The longest that a stage waits for the next by itself: 30 days.
const MAX_HOLD: u64 = 30 * 24 * 3_600_000;

const PLANS: Map<Number, Plan> = Map::new("plan/");
const TALLIES: Map<Number, Tally> = Map::new("tally/");

const ROLLING_EVENT: Topic<(&'static str, u64)> = Topic::new("rolling");
const STAGED: Topic<(&'static str, u64, u8)> = Topic::new("staged");
const STOPPED_EVENT: Topic<(&'static str, u64, &'static str)> = Topic::new("stopped");
const RESUMED: Topic<(&'static str, u64)> = Topic::new("resumed");
const REVOKED_EVENT: Topic<(&'static str, u64, &'static str)> = Topic::new("revoked");

/// Why the contract itself stops a roll-out.
const TOO_MANY_ERRORS: &str = "error-rate";

/// Begins the roll-out of a release.
#[inline(never)]
pub fn roll(env: &Env<'static>, id: &Number, plan: &Plan) -> Result<(), Abort> {
    line::require_operator(env, id.0)?;
    require_sound(plan)?;
    let mut line = line::load(id.0)?;
    let mut release = release::load(id)?;
    ensure!(release.state == APPROVED, WRONG_STATE);
    require_rising(id, &line)?;
    require_approved(id.0, &line, &mut release)?;
    require_trusted(id.0, &line, &release)?;
    settle(id.0, &mut line)?;
    line.rolling = Some(id.1);
    line.started = Some(id.1);
    PLANS.set(id, plan);
    begin(env, id, &mut line, &mut release)?;
    ROLLING_EVENT.emit(id);
    enter(env, id, &mut line, &mut release, plan, 0)
}

fn require_sound(plan: &Plan) -> Result<(), Abort> {
    let count = plan.stages.len();
    ensure!(count > 0 && count <= MAX_STAGES && plan.stop_rate <= 1000 && plan.stop_count > 0, BAD_PLAN);
    let mut least = 0;
    for stage in plan.stages.iter() {
        let (percent, label, hold) = stage?;
        let labelled = label.map_or(true, |l| l.as_str().bytes().any(|c| c == b'='));
        let held = hold.map_or(true, |h| h > 0 && h <= MAX_HOLD);
        ensure!(percent >= least && percent <= 100 && labelled && held, BAD_PLAN);
        least = percent;
    }
    Ok(())
}

// Ends what the line rolled out before: a release that reached every device is
// what the others keep; one that was stopped is given up.
fn settle(name: &'static str, line: &mut Line) -> Result<(), Abort> {
    let sequence = match line.rolling {
        Some(sequence) => sequence,
        None => return Ok(()),
    };
    let old = release::load(&(name, sequence))?;
    if old.state == ROLLING {
        let plan = PLANS.load(&(name, sequence))?;
        ensure!(reaches_all(&plan, old.stage)?, IS_ROLLING);
        if let Some(current) = line.current {
            set_state(&(name, current), SUPERSEDED)?;
        }
        line.current = Some(sequence);
        return set_state(&(name, sequence), RELEASED);
    }
    set_state(&(name, sequence), SUPERSEDED)
}

fn set_state(id: &Number, state: u8) -> Result<(), Abort> {
    let mut release = release::load(id)?;
    release.state = state;
    release::store(id, &release);
    Ok(())
}

fn reaches_all(plan: &Plan, stage: Option<u8>) -> Result<bool, Abort> {
    let at = stage.map_or(0, |s| s as usize);
    match plan.stages.iter().nth(at) {
        Some(stage) => Ok(stage?.0 == 100),
        None => Ok(false),
    }
}

// Counts anew what devices say.
fn begin(env: &Env<'static>, id: &Number, line: &mut Line, release: &mut Release) -> Result<(), Abort> {
    release.state = ROLLING;
    release.run = release.run.plus(1)?;
    release.since = Some(env.time);
    release.reason = None;
    TALLIES.set(id, &Tally { done: 0, failed: 0 });
    clock::forget(id.0, line);
    Ok(())
}

// Enters a stage, and sets the time at which the next begins by itself.
fn enter(
    env: &Env<'static>,
    id: &Number,
    line: &mut Line,
    release: &mut Release,
    plan: &Plan,
    stage: u8,
) -> Result<(), Abort> {
    release.stage = Some(stage);
    release.since = Some(env.time);
    let entered = plan.stages.iter().nth(stage as usize).ok_or(WRONG_STAGE)??;
    let last = stage as usize + 1 == plan.stages.len();
    clock::forget(id.0, line);
    if let (Some(hold), false) = (entered.2, last) {
        clock::set(env, id.0, line, hold)?;
    }
    release::store(id, release);
    line::store(id.0, line);
    STAGED.emit(&(id.0, id.1, stage));
    Ok(())
}

/// Begins the stage after the present one.
pub fn advance(env: &Env<'static>, id: &Number, stage: u8) -> Result<(), Abort> {
    line::require_operator(env, id.0)?;
    let mut line = line::load(id.0)?;
    go_on(env, id, &mut line, stage)
}

fn go_on(env: &Env<'static>, id: &Number, line: &mut Line, stage: u8) -> Result<(), Abort> {
    let mut release = release::load(id)?;
    ensure!(release.state == ROLLING, WRONG_STATE);
    ensure!(release.stage.map(|s| s + 1) == Some(stage), WRONG_STAGE);
    require_trusted(id.0, line, &release)?;
    enter(env, id, line, &mut release, &PLANS.load(id)?, stage)
}

/// Begins the next stage of a line whose time has come. What cannot go on
/// waits for an operator.
pub fn advance_by_time(env: &Env<'static>, name: &'static str) -> Result<(), Abort> {
    let mut line = line::load(name)?;
    clock::forget(name, &mut line);
    line::store(name, &line);
    let id = match line.rolling {
        Some(sequence) => (name, sequence),
        None => return Ok(()),
    };
    let release = release::load(&id)?;
    if release.state != ROLLING || require_trusted(name, &line, &release).is_err() {
        return Ok(());
    }
    go_on(env, &id, &mut line, release.stage.map_or(0, |s| s + 1))
}

/// Goes on with a release that was stopped, and counts errors anew.
pub fn resume(env: &Env<'static>, id: &Number) -> Result<(), Abort> {
    line::require_operator(env, id.0)?;
    let mut line = line::load(id.0)?;
    let mut release = release::load(id)?;
    ensure!(release.state == STOPPED && line.rolling == Some(id.1), WRONG_STATE);
    require_trusted(id.0, &line, &release)?;
    begin(env, id, &mut line, &mut release)?;
    RESUMED.emit(id);
    let stage = release.stage.unwrap_or_default();
    enter(env, id, &mut line, &mut release, &PLANS.load(id)?, stage)
}

/// Stops a roll-out: no further device is offered the release.
pub fn stop(env: &Env<'static>, id: &Number, reason: &'static str) -> Result<(), Abort> {
    line::require_member(env, id.0)?;
    let mut release = release::load(id)?;
    ensure!(release.state == ROLLING, WRONG_STATE);
    halt(id, &mut release, reason)
}

fn halt(id: &Number, release: &mut Release, reason: &'static str) -> Result<(), Abort> {
    let mut line = line::load(id.0)?;
    clock::forget(id.0, &mut line);
    line::store(id.0, &line);
    release.state = STOPPED;
    release.reason = Some(reason);
    release::store(id, release);
    STOPPED_EVENT.emit(&(id.0, id.1, reason));
    Ok(())
}

/// Ends a release for ever, whatever its state, at once.
#[inline(never)]
pub fn revoke(env: &Env<'static>, id: &Number, reason: &'static str) -> Result<(), Abort> {
    line::require_member(env, id.0)?;
    let mut release = release::load(id)?;
    ensure!(release.state < WITHDRAWN, WRONG_STATE);
    let mut line = line::load(id.0)?;
    if line.rolling == Some(id.1) {
        clock::forget(id.0, &mut line);
        line.rolling = None;
    }
    if line.current == Some(id.1) {
        line.current = None;
    }
    line::store(id.0, &line);
    release.state = ENDED;
    release.reason = Some(reason);
    release::store(id, &release);
    REVOKED_EVENT.emit(&(id.0, id.1, reason));
    Ok(())
}

/// Notes that a device said how it went, where it had said nothing or another
/// thing before, and stops the roll-out if too many failed.
pub fn tally(id: &Number, release: &mut Release, before: Option<bool>, done: bool) -> Result<(), Abort> {
    let mut t = TALLIES.load(id)?;
    match before {
        Some(true) => t.done = t.done.saturating_sub(1),
        Some(false) => t.failed = t.failed.saturating_sub(1),
        None => {}
    }
    let sum = if done { &mut t.done } else { &mut t.failed };
    *sum = sum.plus(1)?;
    TALLIES.set(id, &t);
    if !done && release.state == ROLLING && too_many(&PLANS.load(id)?, &t) {
        return halt(id, release, TOO_MANY_ERRORS);
    }
    Ok(())
}

fn too_many(plan: &Plan, t: &Tally) -> bool {
    let (failed, all) = (t.failed as u64, t.done as u64 + t.failed as u64);
    all >= plan.stop_count as u64 && failed * 1000 > plan.stop_rate as u64 * all
}

/// Whether a release's stages so far reach a device.
#[inline(never)]
pub fn reaches(id: &Number, release: &Release, device: &Id, record: &Device) -> Result<bool, Abort> {
    let stage = match release.stage {
        Some(stage) => stage as usize,
        None => return Ok(false),
    };
    let share = share(&release.manifest, device);
    for entered in PLANS.load(id)?.stages.iter().take(stage + 1) {
        let (percent, label, _) = entered?;
        if share < percent as u64 || label.map_or(false, |l| has_label(record, l.as_str())) {
            return Ok(true);
        }
    }
    Ok(false)
}

// Which of a hundred shares a device is in. Each release draws anew, so that
// it is not always the same devices that go first.
pub fn share(manifest: &Id, device: &Id) -> u64 {
    let mut both = [0; 64];
    both[..32].copy_from_slice(manifest.0);
    both[32..].copy_from_slice(device.0);
    let h = postern::sha256(&both);
    (u32::from_be_bytes([h[0], h[1], h[2], h[3]]) as u64 * 100) >> 32
}

fn has_label(record: &Device, label: &str) -> bool {
    let at = label.bytes().position(|c| c == b'=').unwrap_or(0);
    match (label.get(..at), label.get(at + 1..)) {
        (Some(name), Some(value)) => record.label(name) == Some(value),
        _ => false,
    }
}
