//! Hand-offs: the holder offers, the taker accepts, each by a transaction of
//! its own.

use crate::codes::*;
use crate::item::{last_offer, mine, require_unoffered, Call, Thing};
use crate::state::*;
use crate::text::{Digest, Id, Note};
use crate::{arrive, recall};
use postern::{done, ensure, reply, Abort, Checked, Reply};

/// How far ahead an offer's expiry may lie: a year, so that what is forgotten
/// does not bind the item for ever.
const MAX_AHEAD: i64 = 366 * 24 * 3600 * 1000;

/// Offers an item to an account until a time; gives the offer's number.
#[inline(never)]
pub fn offer(call: &Call, id: Id, to: Digest, expiry: i64, terms: Option<Digest>) -> Reply {
    let (thing, _) = mine(call, id)?;
    thing.require_outermost()?;
    ensure!(to != thing.item.holder, BAD_TAKER);
    ensure!(call.time() < expiry && expiry <= call.time().plus(MAX_AHEAD)?, BAD_TIME);
    require_unoffered(id.0, call.time())?;
    recall::require_may_go(&thing, to)?;
    let number = forget_last(call, id)?.plus(1)?;
    let offer = Offer { number, open: Some(Open { to, expiry, terms, transaction: call.transaction() }) };
    OFFERS.set(&id.0, &offer);
    OFFERED.set(&(*to.0, id.0), &offer);
    tell("offered", &[&id, &number, &to]);
    reply(&number)
}

// Forgets an offer that has expired; gives the number of the last.
fn forget_last(call: &Call, id: Id) -> Result<u32, Abort> {
    let last = last_offer(id.0)?;
    if let Some(open) = last.open {
        drop_offer(call, id, last.number, &open)?;
    }
    Ok(last.number)
}

// Closes an offer that nobody accepted.
#[inline(never)]
fn drop_offer(call: &Call, id: Id, number: u32, open: &Open) -> Result<(), Abort> {
    close(id, number, open);
    arrive::withdraw_of(call, id, open.to)
}

// The open offer of a number.
fn open(id: Id, number: u32) -> Result<Open, Abort> {
    let last = last_offer(id.0)?;
    last.open.filter(|_| last.number == number).ok_or(NO_OFFER)
}

#[inline(never)]
fn close(id: Id, number: u32, open: &Open) {
    OFFERS.set(&id.0, &Offer { number, open: None });
    unlist(open.to, id.0);
}

/// Accepts an offer: from now on the taker holds the item and all that is
/// packed in it.
#[inline(never)]
pub fn accept(call: &Call, id: Id, number: u32) -> Reply {
    let mut thing = Thing::load(id.0)?;
    let open = open(id, number)?;
    let giver = thing.item.holder;
    ensure!(call.by == Some(open.to), NOT_TAKER);
    ensure!(call.time() < open.expiry, EXPIRED);
    recall::require_may_go(&thing, open.to)?;
    close(id, number, &open);
    let_go(giver, id.0);
    hold(open.to, id.0);
    thing.item.holder = open.to;
    let mut step = call.step(kind::HANDED_OVER);
    step.other = Some(giver);
    step.hash = open.terms;
    step.offer = open.transaction;
    thing.step(&step);
    tell("handed-over", &[&id, &giver, &open.to]);
    arrive::received(call, &mut thing)?;
    thing.save();
    done()
}

/// Refuses an offer, for a reason.
#[inline(never)]
pub fn refuse(call: &Call, id: Id, number: u32, reason: Note) -> Reply {
    let open = open(id, number)?;
    ensure!(call.by == Some(open.to), NOT_TAKER);
    drop_offer(call, id, number, &open)?;
    let mut thing = Thing::load(id.0)?;
    let mut step = call.step(kind::REFUSED);
    step.other = Some(thing.item.holder);
    step.note = Some(reason);
    step.offer = open.transaction;
    thing.note(&step);
    tell("refused", &[&id, &number, &reason]);
    done()
}

/// Takes an offer back.
#[inline(never)]
pub fn cancel(call: &Call, id: Id) -> Reply {
    mine(call, id)?;
    let offer = last_offer(id.0)?;
    let open = offer.open.ok_or(NO_OFFER)?;
    drop_offer(call, id, offer.number, &open)?;
    tell("cancelled", &[&id, &offer.number]);
    done()
}
