//! Items: reading and writing them, who holds them, and the steps of their
//! lives.

use crate::codes::*;
use crate::state::*;
use crate::text::{Digest, Id};
use postern::{encode, ensure, sha256, Abort, Context, Env, Raw};

/// How deep containers may nest, the outermost included: what a look-up reads
/// at most.
pub const MAX_DEPTH: u8 = 8;
/// How many items one message may be about: each may take an event of the 64
/// that a transaction has, and four are for the rest.
pub const MAX_ITEMS: usize = 60;

/// What the host says of a call that changes something.
#[derive(Clone, Copy)]
pub struct Call {
    pub env: Env<'static>,
    /// Who signed; nobody in a timer.
    pub by: Option<Digest>,
    /// The event that the call takes in.
    pub event: Option<u64>,
}

impl Call {
    /// A transaction that its signer sent here itself.
    pub fn of(c: &Context) -> Result<Call, Abort> {
        ensure!(c.env.parent.is_none(), NESTED);
        c.env.caller()?;
        Ok(Call { env: c.env, by: c.env.caller.and_then(Digest::of), event: None })
    }

    /// A call that nobody signed.
    pub fn unsigned(env: &Env<'static>) -> Call {
        Call { env: *env, by: None, event: None }
    }

    pub fn sender(&self) -> Result<Digest, Abort> {
        self.by.ok_or(NOT_HOLDER)
    }

    pub fn time(&self) -> i64 {
        self.env.time
    }

    /// The id of the transaction; a timer has none that anybody signed.
    pub fn transaction(&self) -> Option<Digest> {
        self.by.and(self.env.transaction).and_then(Digest::of)
    }

    /// A step that says no more than who and when.
    #[inline(never)]
    pub fn step(&self, kind: u8) -> Step {
        Step {
            kind,
            time: self.env.time,
            by: self.by,
            transaction: self.transaction(),
            other: None,
            place: None,
            hash: None,
            offer: None,
            event: self.event,
            quantity: None,
            note: None,
        }
    }
}

/// The outermost container around an item: who holds it holds the item.
#[derive(Clone, Copy)]
pub struct Outermost {
    pub id: &'static str,
    pub holder: Digest,
}

/// An item with its id.
#[derive(Clone, Copy)]
pub struct Thing {
    pub id: &'static str,
    pub item: Item,
}

impl Thing {
    /// An item that exists.
    #[inline(never)]
    pub fn load(id: &'static str) -> Result<Thing, Abort> {
        Ok(Thing { id, item: ITEMS.get(&id)?.ok_or(UNKNOWN_ITEM)? })
    }

    /// Adds a step to the item's life. The caller saves the item.
    #[inline(never)]
    pub fn step(&mut self, step: &Step) {
        let raw = encode(step);
        self.item.steps += 1;
        STEPS.set(&(self.id, self.item.steps), &Raw(raw));
        let joined = postern::buffer(32 + raw.len());
        let (head, rest) = joined.split_at_mut(32);
        head.copy_from_slice(self.item.head.0);
        rest.copy_from_slice(raw);
        self.item.head = Digest::keep(&sha256(joined));
    }

    #[inline(never)]
    pub fn save(&self) {
        ITEMS.set(&self.id, &self.item);
    }

    /// Adds a step and saves the item.
    pub fn note(&mut self, step: &Step) {
        self.step(step);
        self.save();
    }

    /// The outermost container around the item, which may be itself.
    #[inline(never)]
    pub fn outermost(&self) -> Result<Outermost, Abort> {
        let mut at = Outermost { id: self.id, holder: self.item.holder };
        let mut parent = self.item.parent;
        while let Some(id) = parent {
            let around = Thing::load(id.0)?.item;
            at = Outermost { id: id.0, holder: around.holder };
            parent = around.parent;
        }
        Ok(at)
    }

    /// Refuses what was destroyed, split up or used up.
    pub fn require_there(&self) -> Result<(), Abort> {
        ensure!(self.item.ended.is_none(), ENDED);
        Ok(())
    }

    /// Refuses an item that is packed.
    pub fn require_outermost(&self) -> Result<(), Abort> {
        ensure!(self.item.parent.is_none(), PACKED);
        Ok(())
    }

}

/// Refuses an item that is offered to somebody, who would else get another
/// than was offered.
#[inline(never)]
pub fn require_unoffered(id: &'static str, time: i64) -> Result<(), Abort> {
    let open = last_offer(id)?.open;
    ensure!(!open.map_or(false, |open| time < open.expiry), HAS_OFFER);
    Ok(())
}

/// An item's last offer, of number 0 where there was none.
#[inline(never)]
pub fn last_offer(id: &'static str) -> Result<Offer, Abort> {
    Ok(OFFERS.get(&id)?.unwrap_or(Offer { number: 0, open: None }))
}

/// An item that the sender holds, with the outermost container around it.
#[inline(never)]
pub fn mine(call: &Call, id: Id) -> Result<(Thing, Outermost), Abort> {
    let thing = Thing::load(id.0)?;
    let outermost = thing.outermost()?;
    ensure!(call.by == Some(outermost.holder), NOT_HOLDER);
    thing.require_there()?;
    Ok((thing, outermost))
}

/// An item that the sender holds and may change: neither it nor what it is
/// packed in is offered.
#[inline(never)]
pub fn free(call: &Call, id: Id) -> Result<(Thing, Outermost), Abort> {
    let (thing, outermost) = mine(call, id)?;
    require_unoffered(outermost.id, call.time())?;
    Ok((thing, outermost))
}

/// Refuses an empty list, and one that is too long.
pub fn bounded(length: usize) -> Result<(), Abort> {
    ensure!((1..=MAX_ITEMS).contains(&length), TOO_MANY);
    Ok(())
}
