//! Judging an observation: at a gateway, with its own record of the device, and
//! on the ledger, where validators judge what the device signed.

use crate::assign;
use crate::codes::*;
use crate::finding::{Finding, Findings, Line};
use crate::keys::{self, Key};
use crate::profile::{Head, Profile, Settings, JUDGE_FLOWS};
use crate::record::{Record, UNIT};
use crate::{flows, hours, telemetry};
use postern::cbor::{Reader, Writer};
use postern::{emit, local_get, local_set, now, state_get, state_set};
use postern::{Abort, Denial, Device, Env, Hash, Input, Judgement, Level, Observation, ObservationKind, Reply, Silence, Status};

/// How many items an observation may hold.
const MAX_ITEMS: usize = 256;
/// How old evidence may be, and how far ahead of the block's time, in ms.
const MAX_AGE: i64 = 24 * 3_600_000;
const MAX_AHEAD: i64 = 10 * 60_000;

/// Judges what a gateway saw.
pub fn observe(input: &Input) -> Reply {
    let o: Observation = postern::decode(input.message)?;
    let mut record = Record::read(local_get());
    // The gateway calls in the device's name, and so with its record.
    let known = input.env.device().filter(|_| input.env.caller == Some(&o.device));
    let judgement = judge(&o, known, o.time, now().is_some(), &mut record)?;
    local_set(record.encode());
    judgement.reply()
}

/// Judges what a device signed, over what earlier evidence added up to, and
/// quarantines the device where that is enough.
pub fn evidence(env: &Env, device: &[u8], message: &[u8]) -> Reply {
    let o: Observation = postern::decode(message)?;
    if device != o.device {
        return Err(WRONG_DEVICE);
    }
    if matches!(o.kind, ObservationKind::Silence | ObservationKind::Denial) {
        return Err(NOT_EVIDENCE);
    }
    let key = Key::evidence(&o.device);
    let mut record = Record::read(state_get(key.bytes()));
    // Anyone may submit evidence, so each counts once.
    if o.time <= record.evidence || o.time < env.time - MAX_AGE || o.time > env.time + MAX_AHEAD {
        return Err(OLD_EVIDENCE);
    }
    record.evidence = o.time;
    let judgement = judge(&o, None, env.time, true, &mut record)?;
    state_set(key.bytes(), record.encode());
    let short = Judgement { findings: &[], timer: 0, ..judgement };
    if judgement.level > Level::Fine {
        let mut w = Writer::new(128);
        w.array(2).bytes(&o.device).raw(postern::encode(&short));
        emit("judged", w.finish()?);
    }
    if judgement.level >= Level::SuspectedStolen {
        quarantine(&o.device, &judgement);
    }
    short.reply()
}

// Only an active device changes its status here; what does not succeed leaves
// the judgement as it is.
fn quarantine(device: &Hash, judgement: &Judgement) {
    if Device::get(device).map(|d| d.status()) != Some(Status::Active) {
        return;
    }
    let mut reason = Line::new();
    let what = if judgement.level == Level::SuspectedStolen { "suspected stolen: " } else { "behaviour: " };
    reason.text(what).text(judgement.reason_id);
    let text = core::str::from_utf8(reason.bytes()).unwrap_or(what);
    let _ = postern::device_set_status(device, Status::Quarantined, text);
}

/// pardon: [10, device id] forgets what evidence added up to. What was judged
/// is not judged again.
#[inline(never)]
pub fn pardon(r: &mut Reader) -> Reply {
    let mut id = [0; 32];
    id.copy_from_slice(r.bytes_of(32)?);
    r.done()?;
    let key = Key::evidence(&id);
    let evidence = state_get(key.bytes()).map(|raw| Record::read(Some(raw)).evidence);
    if let Some(evidence) = evidence {
        let mut record = Record::read(None);
        record.evidence = evidence;
        state_set(key.bytes(), record.encode());
    }
    emit("pardoned", postern::encode(&id));
    Ok(&[])
}

/// Judges an observation at a time, which the record is moved on to. Hours
/// count where the clock is to be trusted.
#[inline(never)]
fn judge(
    o: &Observation,
    known: Option<Device>,
    time: i64,
    clock: bool,
    record: &mut Record,
) -> Result<Judgement<'static>, Abort> {
    if o.is_empty() || o.len() > MAX_ITEMS {
        return Err(TOO_MANY);
    }
    let name = assign::profile_of(&o.device, known).ok_or(NO_PROFILE)?;
    let head = Head::active(name).ok_or(NO_SUCH_PROFILE)?;
    let profile = Profile::of(head.body);
    let settings = &profile.settings;
    record.age(time, settings);
    let mut out = Findings::new();
    let mut timer = settings.silence;
    match o.kind {
        ObservationKind::Silence => timer = silence(o, settings, &mut out)?,
        ObservationKind::Denial => {
            denial(o, settings, &mut out)?;
            timer = 0;
        }
        _ => {
            reported(o, clock, settings, record, &mut out);
            let version = head.number as u32;
            if o.kind != ObservationKind::Flows {
                let rules = state_get(Key::part(name, version, keys::RULES).bytes()).unwrap_or(&[]);
                telemetry::judge(o, rules, settings, record, &mut out)?;
            } else if settings.flags & JUDGE_FLOWS != 0 {
                flows::judge(o, Key::version(name, version), &profile, record, &mut out)?;
            }
        }
    }
    Ok(conclude(out, timer, settings, record))
}

/// What every report is judged by: how many come, and when.
fn reported(o: &Observation, clock: bool, settings: &Settings, record: &mut Record, out: &mut Findings) {
    let mut line = Line::new();
    if record.report(settings.reports) {
        line.text("more than ").number(settings.reports).text(" reports a minute");
        add(Finding::TooManyReports, settings, &line, out);
    }
    if clock && hours::outside(settings.hours, o.time) {
        let mut line = Line::new();
        line.text("active outside of its hours");
        add(Finding::OutsideHours, settings, &line, out);
    }
}

#[inline(never)]
fn add(kind: Finding, settings: &Settings, line: &Line, out: &mut Findings) {
    let weight = settings.weight(kind as usize);
    if weight > 0 {
        out.add(kind, weight, line);
    }
}

/// Judges a device's silence, and tells when to look again.
fn silence(o: &Observation, settings: &Settings, out: &mut Findings) -> Result<u64, Abort> {
    for item in o.items::<Silence>() {
        let quiet = o.time.saturating_sub(item?.last).max(0) as u64;
        if settings.silence == 0 || quiet >= settings.silence {
            if settings.silence > 0 {
                let mut line = Line::new();
                line.text("silent for ").number(quiet / 1000).text(" s");
                add(Finding::Silent, settings, &line, out);
            }
        } else {
            return Ok(settings.silence - quiet);
        }
    }
    Ok(settings.silence)
}

fn denial(o: &Observation, settings: &Settings, out: &mut Findings) -> Result<(), Abort> {
    for item in o.items::<Denial>() {
        let d = item?;
        let mut line = Line::new();
        line.text("denied with code ").number(d.code).text(": ");
        line.quoted(d.action.as_bytes()).text(" ").quoted(d.resource.as_bytes());
        add(Finding::RequestDenied, settings, &line, out);
    }
    Ok(())
}

/// Adds up the findings. An observation without any is fine, whatever the score
/// was.
#[inline(never)]
fn conclude(out: Findings, timer: u64, settings: &Settings, record: &mut Record) -> Judgement<'static> {
    record.add(out.weight, out.theft);
    let (score, theft) = (record.score / UNIT, record.theft / UNIT);
    let mut level = Level::Fine;
    if !out.is_empty() {
        if score >= settings.alert || theft >= settings.alert {
            level = Level::Alert;
        }
        if theft >= settings.stolen {
            level = Level::SuspectedStolen;
        }
        if score >= settings.quarantine {
            level = Level::Quarantine;
        }
    }
    let reason = if level == Level::SuspectedStolen { Some(Finding::SignOfTheft) } else { out.reason() };
    Judgement {
        level,
        score: if level == Level::SuspectedStolen { theft } else { score } as i64,
        reason: reason.map_or(0, |r| r as u64),
        reason_id: reason.map_or("", |r| r.name()),
        timer,
        findings: out.encoded(),
    }
}
