//! Recalls of items, lots and classes. What is recalled goes back to its maker
//! or to a destroyer, and nowhere else. A recall of a lot touches no item: an
//! item's own are looked up when it is to go.

use crate::codes::*;
use crate::item::{Call, Thing};
use crate::party::{self, AUTHORITY, DESTROYER, MAKER};
use crate::state::*;
use crate::text::{Class, Digest, Id, Lot, Note};
use postern::{done, encode, ensure, record, reply, sha256, Abort, Hash, Reply};

record! {
    /// What a recall is about, as its key in force is made of it.
    pub struct Subject {
        1 => pub maker: Option<Digest>,
        2 => pub item: Option<Id>,
        3 => pub class: Option<Class>,
        4 => pub lot: Option<Lot>,
    }
}

impl Subject {
    fn key(&self) -> Hash {
        sha256(encode(self))
    }

    fn in_force(&self) -> Result<Option<u64>, Abort> {
        IN_FORCE.get(&self.key())
    }
}

/// Recalls an item, a class, or a lot of one; gives the recall's number.
#[inline(never)]
pub fn recall(call: &Call, mut subject: Subject, reason: Note, report: Option<Digest>) -> Reply {
    subject.maker = whose(call, &subject)?;
    let key = subject.key();
    ensure!(!IN_FORCE.has(&key), IS_RECALLED);
    let number = next(RECALL_COUNT)?;
    let Subject { maker, item, class, lot } = subject;
    let recall =
        Recall { by: call.sender()?, time: call.time(), maker, item, class, lot, reason, report, lifted: None, lifted_by: None };
    RECALLS.set(&number, &recall);
    IN_FORCE.set(&key, &number);
    note_item(call, &recall, kind::RECALLED)?;
    tell("recalled", &[&number, &item, &class, &lot]);
    reply(&number)
}

// Whose items a recall is about: everybody's where an authority recalls, the
// sender's own where a maker does. An item is one's own or it is not.
fn whose(call: &Call, subject: &Subject) -> Result<Option<Digest>, Abort> {
    let sender = call.sender()?;
    let rights = party::rights(sender)?;
    ensure!(rights & (AUTHORITY | MAKER) != 0, NOT_AUTHORISED);
    ensure!(subject.item.is_some() != subject.class.is_some() && (subject.lot.is_none() || subject.class.is_some()), BAD_SUBJECT);
    if let Some(id) = subject.item {
        let maker = Thing::load(id.0)?.item.maker;
        ensure!(rights & AUTHORITY != 0 || maker == Some(sender), NOT_AUTHORISED);
        return Ok(None);
    }
    Ok(Some(sender).filter(|_| rights & AUTHORITY == 0))
}

fn note_item(call: &Call, recall: &Recall, kind: u8) -> Result<(), Abort> {
    if let Some(id) = recall.item {
        let mut step = call.step(kind);
        step.hash = recall.report;
        step.note = Some(recall.reason);
        Thing::load(id.0)?.note(&step);
    }
    Ok(())
}

/// Lifts a recall: whoever recalled, or an authority.
#[inline(never)]
pub fn lift(call: &Call, number: u64) -> Reply {
    let mut recall = RECALLS.get(&number)?.ok_or(NO_RECALL)?;
    ensure!(recall.lifted.is_none(), NO_RECALL);
    let sender = call.sender()?;
    ensure!(recall.by == sender || party::rights(sender)? & AUTHORITY != 0, NOT_AUTHORISED);
    recall.lifted = Some(call.time());
    recall.lifted_by = Some(sender);
    RECALLS.set(&number, &recall);
    IN_FORCE.delete(&Subject { maker: recall.maker, item: recall.item, class: recall.class, lot: recall.lot }.key());
    note_item(call, &recall, kind::LIFTED)?;
    tell("recall-lifted", &[&number]);
    done()
}

/// The number of a recall that an item is under; None where it is not.
pub fn standing(thing: &Thing) -> Result<Option<u64>, Abort> {
    let own = Subject { maker: None, item: Some(id(thing.id)), class: None, lot: None };
    let mut found = own.in_force()?;
    let class = thing.item.class;
    if class.is_none() {
        return Ok(found);
    }
    for maker in [None, thing.item.maker] {
        for lot in [None, thing.item.lot] {
            if found.is_none() {
                found = Subject { maker, item: None, class, lot }.in_force()?;
            }
        }
    }
    Ok(found)
}

/// Refuses a recalled item, which would get out of the recall: in a container that
/// is not recalled, as part of a batch under another id, or made into something
/// else.
#[inline(never)]
pub fn require_sound(thing: &Thing) -> Result<(), Abort> {
    ensure!(standing(thing)?.is_none(), RECALLED);
    Ok(())
}

/// Refuses to hand a recalled item to somebody who is neither its maker nor a
/// destroyer.
pub fn require_may_go(thing: &Thing, to: Digest) -> Result<(), Abort> {
    let fine = standing(thing)?.is_none() || thing.item.maker == Some(to) || party::rights(to)? & DESTROYER != 0;
    ensure!(fine, RECALLED);
    Ok(())
}
