//! Containers: what is packed in what. Each child has a key of its own, so a
//! container's record stays small, and a hand-off writes the outermost alone.

use crate::codes::*;
use crate::item::{bounded, free, Call, Outermost, Thing, MAX_DEPTH, MAX_ITEMS};
use crate::recall;
use crate::state::*;
use crate::text::{Digest, Id};
use postern::{done, ensure, sha256, Abort, Hash, List, Reply};

/// The first part of the keys of what is packed in a container.
pub fn inside(container: &str) -> Hash {
    sha256(container.as_bytes())
}

/// Packs items, of which none is packed yet, into a container.
#[inline(never)]
pub fn pack(call: &Call, container: Id, items: List<'static, Id>) -> Reply {
    bounded(items.len())?;
    let (mut into, around) = free(call, container)?;
    for id in items.iter() {
        put_in(call, &mut into, around, id?)?;
    }
    into.save();
    tell("packed", &[&container, &(items.len() as u32)]);
    done()
}

fn put_in(call: &Call, into: &mut Thing, around: Outermost, id: Id) -> Result<(), Abort> {
    let (mut child, outermost) = free(call, id)?;
    child.require_outermost()?;
    recall::require_sound(&child)?;
    ensure!(outermost.id != around.id, CYCLE);
    deepen(into, child.item.levels.unwrap_or(0) + 1)?;
    into.item.children = Some(into.item.children.unwrap_or(0) + 1);
    CHILDREN.set(&(inside(into.id), id.0), &());
    let_go(child.item.holder, id.0);
    child.item.parent = Some(crate::state::id(into.id));
    let mut step = call.step(kind::PACKED);
    step.place = child.item.parent;
    child.note(&step);
    Ok(())
}

// Notes that so many levels lie in a container, and in those around it.
fn deepen(into: &mut Thing, mut levels: u8) -> Result<(), Abort> {
    let mut at = raised(into, levels)?;
    while let Some(parent) = at {
        levels += 1;
        let mut around = Thing::load(parent.0)?;
        at = raised(&mut around, levels)?;
        around.save();
    }
    Ok(())
}

// Raises a container's levels, and tells what is around it; None where that
// need not be looked at.
fn raised(container: &mut Thing, levels: u8) -> Result<Option<Id>, Abort> {
    ensure!(levels < MAX_DEPTH, TOO_DEEP);
    if container.item.levels.unwrap_or(0) >= levels {
        return Ok(None);
    }
    container.item.levels = Some(levels);
    Ok(container.item.parent)
}

/// Takes items out of a container; all, where none is named.
#[inline(never)]
pub fn unpack(call: &Call, container: Id, items: List<'static, Id>) -> Reply {
    ensure!(items.len() <= MAX_ITEMS, TOO_MANY);
    let (mut from, outermost) = free(call, container)?;
    let mut count = items.len();
    for id in items.iter() {
        lay_out(call, &mut from, outermost.holder, id?.0)?;
    }
    if items.is_empty() {
        count = from.item.children.unwrap_or(0) as usize;
        ensure!((1..=MAX_ITEMS).contains(&count), TOO_MANY);
        for entry in CHILDREN.iter_of(&inside(from.id)) {
            lay_out(call, &mut from, outermost.holder, entry?.0 .1)?;
        }
    }
    from.save();
    tell("unpacked", &[&container, &(count as u32)]);
    done()
}

#[inline(never)]
fn lay_out(call: &Call, from: &mut Thing, holder: Digest, id: &'static str) -> Result<(), Abort> {
    let mut child = Thing::load(id)?;
    ensure!(child.item.parent == Some(crate::state::id(from.id)), NOT_PACKED);
    child.item.parent = None;
    child.item.holder = holder;
    hold(holder, id);
    let mut step = call.step(kind::UNPACKED);
    step.place = Some(crate::state::id(from.id));
    child.note(&step);
    take_out(from, id);
    Ok(())
}

/// Takes a child off a container's account. The caller saves the container.
pub fn take_out(from: &mut Thing, id: &'static str) {
    CHILDREN.delete(&(inside(from.id), id));
    from.item.children = from.item.children.map(|n| n - 1).filter(|&n| n > 0);
    if from.item.children.is_none() {
        from.item.levels = None;
    }
}
