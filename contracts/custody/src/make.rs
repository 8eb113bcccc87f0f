//! How items come into being, and how they end.

use crate::codes::*;
use crate::item::{bounded, free, Call, Outermost, Thing};
use crate::message::{New, Use};
use crate::party::{self, IMPORTER, MAKER};
use crate::state::*;
use crate::text::{Amount, Digest, Id, Suffix};
use crate::{arrive, pack, recall};
use postern::{done, ensure, sha256, Abort, Checked, List, Reply};

/// How many parts one message may split off.
const MAX_PARTS: usize = 32;

/// Makes items: each begins its life here, and its maker is the sender.
pub fn make(call: &Call, things: List<'static, New>, attributes: Option<Digest>, certificate: Option<Digest>) -> Reply {
    let party = party::require(call, MAKER, NOT_MAKER)?;
    let mut step = call.step(kind::MADE);
    step.hash = attributes;
    make_all(call, &party, &things, &step, certificate)
}

#[inline(never)]
fn make_all(call: &Call, party: &Party, things: &List<'static, New>, step: &Step, certificate: Option<Digest>) -> Reply {
    bounded(things.len())?;
    let mut first = None;
    for new in things.iter() {
        let new = new?;
        ensure!(party.names(new.id.0)?, FOREIGN_ID);
        let mut item = fresh(call, &new)?;
        item.maker = call.by;
        item.attributes = step.hash;
        item.certificate = certificate;
        begin(new.id.0, item, step)?;
        first = first.or(Some(new.id));
    }
    tell("made", &[&call.by, &(things.len() as u32), &first]);
    done()
}

// An item as a message describes it, of which nothing else is known.
fn fresh(call: &Call, new: &New) -> Result<Item, Abort> {
    ensure!(new.quantity.is_some() || new.unit.is_none(), NO_BATCH);
    Ok(Item {
        maker: None,
        holder: call.sender()?,
        since: call.time(),
        steps: 0,
        head: Digest(&[0; 32]),
        attributes: None,
        certificate: None,
        class: new.class,
        lot: new.lot,
        quantity: new.quantity,
        unit: new.unit,
        parent: None,
        children: None,
        levels: None,
        ended: None,
    })
}

/// Begins an item's life with a step.
#[inline(never)]
fn begin(id: &'static str, item: Item, step: &Step) -> Result<(), Abort> {
    ensure!(!ITEMS.has(&id), EXISTS);
    hold(item.holder, id);
    let mut thing = Thing { id, item };
    thing.item.head = Digest::keep(&sha256(id.as_bytes()));
    thing.note(step);
    Ok(())
}

/// Notes an observation of an item by its holder. One that is not known here
/// is brought in, by an importer.
#[inline(never)]
pub fn observe(call: &Call, id: Id) -> Result<(), Abort> {
    if ITEMS.has(&id.0) {
        let (mut thing, _) = crate::item::mine(call, id)?;
        thing.note(&call.step(kind::OBSERVED));
        return Ok(());
    }
    party::require(call, IMPORTER, NOT_IMPORTER)?;
    let new = New { id, class: None, lot: None, quantity: None, unit: None };
    begin(id.0, fresh(call, &new)?, &call.step(kind::BROUGHT_IN))?;
    tell("brought-in", &[&call.sender()?, &id]);
    Ok(())
}

/// Destroys an item, or takes a quantity off a batch.
#[inline(never)]
pub fn destroy(call: &Call, id: Id, quantity: Option<Amount>) -> Reply {
    use_up(call, &Use { id, quantity }, kind::DESTROYED)?;
    done()
}

/// Destroys several.
#[inline(never)]
pub fn destroy_all(call: &Call, inputs: &List<'static, Use>, ending: u8) -> Result<(), Abort> {
    bounded(inputs.len())?;
    for input in inputs.iter() {
        use_up(call, &input?, ending)?;
    }
    Ok(())
}

/// Makes items of others, which are used up.
#[inline(never)]
pub fn transform(call: &Call, inputs: List<'static, Use>, outputs: List<'static, New>) -> Reply {
    let party = party::require(call, MAKER, NOT_MAKER)?;
    destroy_all(call, &inputs, kind::USED)?;
    make_all(call, &party, &outputs, &call.step(kind::PRODUCED), None)
}

// Ends an item, or takes a part of a batch away.
fn use_up(call: &Call, input: &Use, ending: u8) -> Result<(), Abort> {
    let (mut thing, outermost) = free(call, input.id)?;
    ensure!(thing.item.children.is_none(), NOT_EMPTY);
    if ending == kind::USED {
        recall::require_sound(&thing)?;
    }
    let rest = match (input.quantity, thing.item.quantity) {
        (None, _) => None,
        (Some(_), None) => return Err(NO_BATCH),
        (Some(used), Some(whole)) => less(whole, used)?,
    };
    let mut step = call.step(ending);
    step.quantity = input.quantity;
    thing.step(&step);
    match rest {
        None => end(&mut thing, outermost, ending)?,
        Some(_) => {
            thing.item.quantity = rest;
            thing.save();
        }
    }
    tell("ended", &[&input.id, &ending, &input.quantity]);
    Ok(())
}

// What is left of a quantity; None where nothing is.
fn less(whole: Amount, used: Amount) -> Result<Option<Amount>, Abort> {
    ensure!(used <= whole, TOO_MUCH);
    Ok(Some(Amount(whole.0 - used.0)).filter(|rest| rest.0 > 0))
}

#[inline(never)]
fn end(thing: &mut Thing, outermost: Outermost, ending: u8) -> Result<(), Abort> {
    arrive::forget(thing.id)?;
    if let Some(parent) = thing.item.parent {
        let mut around = Thing::load(parent.0)?;
        pack::take_out(&mut around, thing.id);
        around.save();
    }
    let_go(outermost.holder, thing.id);
    thing.item.holder = outermost.holder;
    thing.item.parent = None;
    thing.item.ended = Some(ending);
    thing.save();
    Ok(())
}

/// Splits parts off a batch: each is a batch of its own with the batch's maker,
/// class and lot, and the batch's id, a slash and a suffix as its id. What the
/// parts hold the batch holds no more.
#[inline(never)]
pub fn split(call: &Call, id: Id, parts: List<'static, (Suffix, Amount)>) -> Reply {
    let (mut batch, outermost) = free(call, id)?;
    batch.require_outermost()?;
    recall::require_sound(&batch)?;
    ensure!(batch.item.children.is_none(), NOT_EMPTY);
    let whole = batch.item.quantity.ok_or(NO_BATCH)?;
    ensure!((1..=MAX_PARTS).contains(&parts.len()), TOO_MANY);
    let mut taken = Amount(0);
    for part in parts.iter() {
        let (suffix, quantity) = part?;
        taken = Amount(taken.0.plus(quantity.0)?);
        begin_part(call, &batch, id, suffix, quantity)?;
    }
    let rest = less(whole, taken)?;
    let mut step = call.step(kind::SPLIT);
    step.quantity = Some(taken);
    batch.step(&step);
    tell("split", &[&id, &(parts.len() as u32)]);
    if rest.is_none() {
        end(&mut batch, outermost, kind::SPLIT)?;
        return done();
    }
    batch.item.quantity = rest;
    batch.save();
    done()
}

fn begin_part(call: &Call, batch: &Thing, of: Id, suffix: Suffix, quantity: Amount) -> Result<(), Abort> {
    let id = part_id(of, suffix).ok_or(TOO_MANY)?;
    let mut item = batch.item;
    item.since = call.time();
    item.steps = 0;
    item.quantity = Some(quantity);
    let mut step = call.step(kind::PART);
    step.place = Some(of);
    step.quantity = Some(quantity);
    begin(id, item, &step)
}

// The batch's id, a slash and the suffix, where that is not too long.
fn part_id(of: Id, suffix: Suffix) -> Option<&'static str> {
    let (head, tail) = (of.0.as_bytes(), suffix.0.as_bytes());
    let buf = postern::buffer(head.len() + 1 + tail.len());
    buf[..head.len()].copy_from_slice(head);
    buf[head.len()] = b'/';
    buf[head.len() + 1..].copy_from_slice(tail);
    core::str::from_utf8(buf).ok().filter(|id| id.len() <= crate::text::MAX_ID)
}
