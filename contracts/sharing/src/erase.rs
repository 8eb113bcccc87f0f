//! Erasure by destroying the key: the custodian signs that it is destroyed,
//! and what was wrapped of it leaves the state.

use crate::codes::*;
use crate::dataset::{self, Dataset, ERASING, GONE, TO_ERASE};
use crate::id::{self, Env};
use crate::names::Name;
use crate::rotate::clear_deadline;
use crate::state::{out, tell, Items, Key, Out, NOTHING};
use crate::{due, settings};
use postern::cbor::Writer;
use postern::{sha256, verify, Bytes, Scan};

/// Wrapped keys that one step deletes.
const PURGED_AT_ONCE: usize = 32;
/// What a statement of destruction begins with, so that nothing else that the
/// key signs is one.
const PURPOSE: &str = "postern/sharing/destruction/1";
/// Bytes of a signature, of either kind of key.
const SIGNATURE: usize = 64;

/// The entry of who destroyed which key, so that anybody can check it again:
/// [epoch up to which all keys are destroyed, subject or null, time, custodian's
/// key, signature, SHA-256 of what was signed, time of the block].
pub fn key(name: &str) -> Key {
    Key::of(&[b"gone/", name.as_bytes()])
}

/// The subject, or the owner of a data set that concerns nobody, wants the key
/// destroyed. All reading ends at once.
pub fn demand(env: &Env, name: Name) -> Out {
    let name = name.as_str();
    let mut dataset = dataset::load(name);
    must(dataset.subject.unwrap_or(dataset.owner) == id::caller(env), &NOT_SUBJECT);
    dataset.require_key();
    must(dataset.state != TO_ERASE, &ERASURE_DUE);
    clear_deadline(name, &mut dataset);
    let by = env.time + settings::limit(settings::ERASE);
    dataset.state = TO_ERASE;
    dataset.void = dataset.consents;
    dataset.erase_by = Some(by);
    due::set(env, by, due::ERASURE, name.as_bytes());
    dataset::key(name).set(&dataset);
    tell("erasure-demanded", &[&name, &by]);
    NOTHING
}

/// The owner publishes that the key was destroyed.
pub fn erase(env: &Env, name: Name, destroyed: i64, signature: Bytes<'static>) -> Out {
    let mut dataset = dataset::own(env, name);
    let name = name.as_str();
    dataset.require_key();
    must((dataset.made..=env.time).contains(&destroyed), &BAD_TIME);
    let statement = statement(env, name, &dataset, destroyed);
    let signed = signature.0.len() == SIGNATURE && verify(dataset.custodian.0, statement, signature.0);
    must(signed, &BAD_STATEMENT);
    let digest = sha256(statement);
    key(name).set(&Items(&[
        &dataset.epoch,
        &dataset.subject,
        &destroyed,
        &dataset.custodian,
        &signature,
        &digest,
        &env.time,
    ]));
    clear_deadline(name, &mut dataset);
    due::clear(dataset.erase_by.take(), due::ERASURE, name.as_bytes());
    dataset.state = ERASING;
    tell("erased", &[&name, &dataset.epoch, &dataset.subject, &destroyed, &digest]);
    if step(name, dataset) {
        due::set(env, env.time, due::PURGE, name.as_bytes());
    }
    out(&digest)
}

// What the custodian signs: [purpose, chain, contract, data set, epoch,
// subject or null, time of destruction]. It is made of what the contract knows,
// so that a statement about anything else does not fit.
fn statement(env: &Env, name: &str, dataset: &Dataset, destroyed: i64) -> &'static [u8] {
    let mut w = Writer::new(320);
    w.array(7).text(PURPOSE).bytes(env.chain).text_bytes(env.contract).text(name);
    w.uint(dataset.epoch as u64);
    match &dataset.subject {
        Some(subject) => w.bytes(subject.0),
        None => w.null(),
    };
    w.int(destroyed);
    sound(w.finish())
}

/// Deletes more wrapped keys of an erased data set, and tells whether any are
/// left.
pub fn purge(env: &Env, name: &'static str) -> bool {
    let left = step(name, dataset::load(name));
    if left {
        due::again(env, due::PURGE, name.as_bytes());
    }
    left
}

#[inline(never)]
fn step(name: &'static str, mut dataset: Dataset) -> bool {
    let prefix = dataset::part(b"key/", name);
    let mut scan = Scan::new(prefix.0, prefix.0);
    let mut deleted = 0;
    while deleted < PURGED_AT_ONCE {
        match scan.next() {
            Some((key, _)) => postern::state_delete(key),
            None => break,
        }
        deleted += 1;
    }
    if deleted < PURGED_AT_ONCE {
        dataset.state = GONE;
        tell("purged", &[&name]);
    }
    dataset::key(name).set(&dataset);
    dataset.state != GONE
}

/// Alarms: the time for a demanded erasure is over.
pub fn overdue(at: i64, name: &'static str) {
    tell("erasure-overdue", &[&name, &at]);
}
