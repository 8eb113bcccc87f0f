//! A new data key: the epoch moves in one step, and the key is wrapped to the
//! remaining grantees in as many as it takes.

use crate::codes::*;
use crate::dataset::{self, Dataset, ACTIVE, NEEDS_KEY};
use crate::grant;
use crate::id::{Env, Id};
use crate::names::Name;
use crate::state::{out, tell, Out, NOTHING};
use crate::{due, settings};
use postern::{Bytes, List, Scan};

/// Keys that one transaction wraps anew: 16 of the longest take 21 KiB.
const MAX_KEYS: usize = 16;

/// Sets the deadline of a rotation, unless one is running.
#[inline(never)]
pub fn set_deadline(env: &Env, name: &'static str, dataset: &mut Dataset) {
    if dataset.rotate_by.is_none() {
        let at = env.time + settings::limit(settings::ROTATE);
        dataset.rotate_by = Some(at);
        due::set(env, at, due::ROTATION, name.as_bytes());
    }
}

/// Takes the deadline back.
pub fn clear_deadline(name: &'static str, dataset: &mut Dataset) {
    due::clear(dataset.rotate_by.take(), due::ROTATION, name.as_bytes());
}

/// The owner has a new key, of the next epoch. From here on nobody reads by an
/// older one.
pub fn rotate(env: &Env, name: Name, epoch: u32, content: Option<Id>) -> Out {
    let mut dataset = dataset::own(env, name);
    if dataset.state != NEEDS_KEY {
        dataset.require_active();
    }
    must(epoch.checked_sub(1) == Some(dataset.epoch), &WRONG_EPOCH);
    dataset.epoch = epoch;
    dataset.state = ACTIVE;
    dataset.shared = false;
    dataset.content = content.or(dataset.content);
    let name = name.as_str();
    tell("rotated", &[&name, &epoch]);
    set_deadline(env, name, &mut dataset);
    finish(name, &mut dataset);
    dataset::key(name).set(&dataset);
    NOTHING
}

/// A grant's new key; without one the grant is left behind and ends.
pub type Rewrapped = (u64, Option<Bytes<'static>>);

/// Wraps the new key to grantees, and returns whether that was all.
pub fn rewrap(env: &Env, name: Name, epoch: u32, keys: List<'static, Rewrapped>) -> Out {
    let mut dataset = dataset::own(env, name);
    let name = name.as_str();
    dataset.require_active();
    must(epoch == dataset.epoch, &WRONG_EPOCH);
    must((1..=MAX_KEYS).contains(&keys.len()), &TOO_MANY);
    let mut wrapped = 0u32;
    for key in keys.iter() {
        let (number, key) = sound(key);
        wrapped += key.is_some() as u32;
        one(env, name, &dataset, number, key);
    }
    dataset.shared |= wrapped > 0;
    tell("rewrapped", &[&name, &epoch, &wrapped]);
    let finished = finish(name, &mut dataset);
    dataset::key(name).set(&dataset);
    out(&finished)
}

fn one(env: &Env, name: &str, dataset: &Dataset, number: u64, key: Option<Bytes<'static>>) {
    let mut grant = grant::load(number);
    must(grant.dataset == name, &NO_GRANT);
    must(grant.ended.is_none(), &ENDED);
    must(grant.epoch < dataset.epoch, &WRONG_EPOCH);
    let void = grant.void(dataset, env.time);
    let key = match key {
        Some(key) => key,
        None => {
            if void.is_none() {
                grant.require_unsold(env.time);
            }
            return grant::end(number, grant, env.time);
        }
    };
    pass(void);
    grant::require_wrapped(&key);
    grant::epoch_key(name, grant.epoch, number).delete();
    grant.epoch = dataset.epoch;
    grant::epoch_key(name, grant.epoch, number).set(&());
    grant::key(number).set(&grant);
    grant::wrapped_key(name, number).set(&key);
}

// Ends the rotation when no grant has an older key. Epochs sort, so the first
// entry tells.
#[inline(never)]
fn finish(name: &'static str, dataset: &mut Dataset) -> bool {
    let prefix = dataset::part(b"epoch/", name);
    let newest = grant::epoch_key(name, dataset.epoch, 0);
    if let Some((key, _)) = Scan::new(prefix.0, prefix.0).next() {
        if key < newest.0 {
            return false;
        }
    }
    if dataset.rotate_by.is_some() {
        clear_deadline(name, dataset);
        tell("rotation-done", &[&name, &dataset.epoch]);
    }
    true
}

/// Alarms: the time for a rotation is over. The data set goes on showing since
/// when.
pub fn overdue(at: i64, name: &'static str) {
    tell("rotation-overdue", &[&name, &at]);
}
