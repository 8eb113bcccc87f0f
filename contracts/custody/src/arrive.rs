//! Arrivals that somebody waits for. What does not come in time is late, then
//! missing, and both are told by a timer.
//!
//! `DUE` has the time at which each is looked after next. A timer is set for
//! the earliest of them, or some way before where it is far away: [`wake`]
//! rounds down to a multiple of a power of two that is at most an eighth of the
//! way. So however callers choose their times, at most 16 timers are set for
//! each power of two, 520 for a year in milliseconds; the host admits 1,024. A
//! timer may be lost, where who paid for it has used up his gas: whoever
//! registers another arrival, and anybody's `check`, sets a new one.

use crate::codes::*;
use crate::item::{last_offer, Call, Thing};
use crate::state::*;
use crate::text::{Digest, Id};
use postern::{done, ensure, Abort, Checked, Reply};

/// How far ahead an arrival may be expected: a year.
const MAX_AHEAD: i64 = 366 * 24 * 3600 * 1000;
/// How many arrivals one timer looks after: a test holds that they take at most
/// 12,000,000 units of gas, which every chain has for one.
const MAX_ALARMS: usize = 32;

const WAITING: u8 = 0;
const LATE: u8 = 1;

/// Registers that an item should be received somewhere by a time: its holder
/// does, or the account to which it is offered.
#[inline(never)]
pub fn expect(call: &Call, item: Id, receiver: Digest, place: Id, due: i64, missing: i64) -> Reply {
    let mut thing = Thing::load(item.0)?;
    let outermost = thing.outermost()?;
    let sender = call.sender()?;
    let taker = last_offer(outermost.id)?.open.filter(|open| call.time() < open.expiry);
    let is_taker = taker.map_or(false, |open| open.to == sender) && thing.item.parent.is_none();
    ensure!(sender == outermost.holder || is_taker, NOT_HOLDER);
    thing.require_there()?;
    ensure!(!ARRIVALS.has(&item.0), EXPECTED);
    ensure!(call.time() < due && due < missing && missing <= call.time().plus(MAX_AHEAD)?, BAD_TIME);
    ARRIVALS.set(&item.0, &Arrival { by: sender, receiver, place, due, missing, stage: WAITING });
    DUE.set(&(due, item.0), &());
    let mut step = call.step(kind::EXPECTED);
    step.other = Some(receiver);
    step.place = Some(place);
    thing.note(&step);
    tell("expected", &[&item, &receiver, &place, &due]);
    arm(call.time())?;
    done()
}

/// Says that an item arrived: whoever should receive it does.
#[inline(never)]
pub fn arrive(call: &Call, item: Id) -> Reply {
    let arrival = ARRIVALS.get(&item.0)?.ok_or(NOT_EXPECTED)?;
    ensure!(call.by == Some(arrival.receiver), NOT_RECEIVER);
    let mut thing = Thing::load(item.0)?;
    received(call, &mut thing)?;
    thing.save();
    done()
}

/// Notes that the sender received an item, if that was expected. The caller
/// saves the item.
#[inline(never)]
pub fn received(call: &Call, thing: &mut Thing) -> Result<(), Abort> {
    let arrival = ARRIVALS.get(&thing.id)?;
    if let Some(arrival) = arrival.filter(|arrival| call.by == Some(arrival.receiver)) {
        forget(thing.id)?;
        let mut step = call.step(kind::ARRIVED);
        step.place = Some(arrival.place);
        thing.step(&step);
        tell("arrived", &[&id(thing.id), &arrival.receiver]);
    }
    Ok(())
}

/// Says that an arrival is not expected any more.
#[inline(never)]
pub fn withdraw(call: &Call, item: Id) -> Reply {
    let arrival = ARRIVALS.get(&item.0)?.ok_or(NOT_EXPECTED)?;
    let sender = call.sender()?;
    ensure!(sender == arrival.by || sender == arrival.receiver, NOT_RECEIVER);
    call_off(call, item, &arrival)?;
    done()
}

/// Calls off what an account registered to which an item was offered: the offer
/// is gone.
pub fn withdraw_of(call: &Call, item: Id, taker: Digest) -> Result<(), Abort> {
    match ARRIVALS.get(&item.0)? {
        Some(arrival) if arrival.by == taker => call_off(call, item, &arrival),
        _ => Ok(()),
    }
}

#[inline(never)]
fn call_off(call: &Call, item: Id, arrival: &Arrival) -> Result<(), Abort> {
    forget(item.0)?;
    let mut step = call.step(kind::WITHDRAWN);
    step.place = Some(arrival.place);
    Thing::load(item.0)?.note(&step);
    tell("withdrawn", &[&item, &call.by]);
    Ok(())
}

/// Forgets an arrival, and that it is late.
pub fn forget(id: &'static str) -> Result<(), Abort> {
    if let Some(arrival) = ARRIVALS.get(&id)? {
        ARRIVALS.delete(&id);
        DUE.delete(&(if arrival.stage == WAITING { arrival.due } else { arrival.missing }, id));
        ALARMS.delete(&id);
    }
    Ok(())
}

/// Looks after what is due, and sets the next timer: what a timer does, and
/// `check`.
#[inline(never)]
pub fn look(call: &Call) -> Reply {
    let now = call.time();
    for timer in TIMERS.iter().take(MAX_ALARMS) {
        let (time, ()) = timer?;
        if time <= now {
            TIMERS.delete(&time);
        }
    }
    for entry in DUE.iter().take(MAX_ALARMS) {
        let ((due, id), ()) = entry?;
        if due <= now {
            DUE.delete(&(due, id));
            raise(call, id)?;
        }
    }
    arm(now)?;
    done()
}

fn raise(call: &Call, id: &'static str) -> Result<(), Abort> {
    let mut arrival = ARRIVALS.load(&id)?;
    arrival.stage += 1;
    let (kind, topic) = match arrival.stage {
        LATE => {
            DUE.set(&(arrival.missing, id), &());
            (kind::LATE, "late")
        }
        _ => (kind::MISSING, "missing"),
    };
    ARRIVALS.set(&id, &arrival);
    ALARMS.set(&id, &arrival);
    let mut step = call.step(kind);
    step.other = Some(arrival.receiver);
    step.place = Some(arrival.place);
    Thing::load(id)?.note(&step);
    tell(topic, &[&crate::state::id(id), &arrival.receiver, &arrival.place, &arrival.due]);
    Ok(())
}

// Sets a timer for what is due first, unless one is set that comes before.
fn arm(now: i64) -> Result<(), Abort> {
    let due = match DUE.iter().next() {
        Some(entry) => entry?.0 .0,
        None => return Ok(()),
    };
    if let Some(timer) = TIMERS.iter_from(&now.plus(1)?).next() {
        if timer?.0 <= due {
            return Ok(());
        }
    }
    let time = wake(now, due);
    TIMERS.set(&time, &());
    postern::schedule(time, &[]);
    Ok(())
}

// When to look again on the way to a time.
pub(crate) fn wake(now: i64, due: i64) -> i64 {
    match (due - now) / 8 {
        n if n < 1 => due.max(now + 1),
        eighth => {
            let step = 1 << (63 - eighth.leading_zeros());
            due & !(step - 1)
        }
    }
}

