//! Consent: the person whom the data concern says who may read what and for
//! which purposes, and takes it back.
//!
//! A grant remembers the number of the consent that it rests on. A consent that
//! is given again has another number: what was withdrawn does not come back.

use crate::codes::*;
use crate::dataset::{self, Dataset, ACTIVE, NEEDS_KEY};
use crate::id::{self, Env, Id};
use crate::names::{self, covers, Code, Codes, Name};
use crate::state::{out, tell, Key, Out, NOTHING};
use crate::{rotate, settings};
use postern::Bytes;

row! {
    /// A consent that was given.
    pub struct Consent (5) {
        pub number: u32,
        pub purposes: u32,
        pub fields: u32,
        pub given: i64,
        pub until: Option<i64>,
    }
}

/// To whom a consent is given: 'a' and an account, 'c' and a class, or '*'.
pub type Target = Bytes<'static>;

const ANYBODY: Target = Bytes(b"*");

fn account_target(account: &Id) -> Target {
    Bytes(Key::of(&[b"a", account.0]).0)
}

fn class_target(class: &Code) -> Target {
    Bytes(Key::of(&[b"c", class.as_str().as_bytes()]).0)
}

#[inline(never)]
fn target(account: Option<Id>, class: Option<Code>) -> Target {
    match (account, class) {
        (Some(account), None) => account_target(&account),
        (None, Some(class)) => {
            names::require_code(class.as_str());
            class_target(&class)
        }
        (None, None) => ANYBODY,
        _ => refuse(&BAD_TARGET),
    }
}

#[inline(never)]
fn key(name: &str, target: Target) -> Key {
    Key::of(&[b"consent/", name.as_bytes(), b"\0", target.0])
}

/// The consent to a target.
#[inline(never)]
pub fn get(name: &str, target: Target) -> Option<Consent> {
    key(name, target).get()
}

fn class_key(account: &Id) -> Key {
    Key::of(&[b"class/", account.0])
}

/// What the contract's owner says an account is.
#[inline(never)]
pub fn class_of(account: &Id) -> Option<Code> {
    class_key(account).get()
}

/// Puts an account into a class, or into none.
pub fn set_class(env: &Env, account: Id, class: Option<Code>) -> Out {
    settings::require_owner(env);
    match class {
        Some(class) => {
            names::require_code(class.as_str());
            class_key(&account).set(&class);
        }
        None => class_key(&account).delete(),
    }
    tell("classed", &[&account, &class]);
    NOTHING
}

// A data set that concerns the caller.
#[inline(never)]
fn concerning(env: &Env, name: Name) -> Dataset {
    let dataset = dataset::load(name.as_str());
    must(dataset.subject == Some(id::caller(env)), &NOT_SUBJECT);
    dataset
}

/// What a consent is given for.
pub struct Given {
    pub account: Option<Id>,
    pub class: Option<Code>,
    pub purposes: Codes,
    pub fields: Option<Codes>,
    pub until: Option<i64>,
}

pub fn give(env: &Env, name: Name, given: Given) -> Out {
    let mut dataset = concerning(env, name);
    dataset.require_key();
    let name = name.as_str();
    let target = target(given.account, given.class);
    let old = get(name, target);
    must(old.map_or(true, |old| !old.stands(&dataset, env.time)), &CONSENT_STANDS);
    must(given.until.map_or(true, |until| until > env.time), &BAD_TIME);
    dataset.consents += 1;
    let consent = Consent {
        number: dataset.consents,
        purposes: names::set_of(&settings::purposes(), &given.purposes),
        fields: names::set_of(&dataset.fields, &given.fields.unwrap_or(dataset.fields)),
        given: env.time,
        until: given.until,
    };
    key(name, target).set(&consent);
    dataset::key(name).set(&dataset);
    tell("consented", &[&name, &consent.number, &target]);
    out(&consent.number)
}

/// Takes back one consent: what rests on it ends at once.
pub fn withdraw(env: &Env, name: Name, account: Option<Id>, class: Option<Code>) -> Out {
    let dataset = concerning(env, name);
    let target = target(account, class);
    let consent = there(get(name.as_str(), target), &NO_CONSENT);
    key(name.as_str(), target).delete();
    withdrawn(env, name.as_str(), dataset, consent.number, target)
}

/// Takes back all consents that were given so far.
pub fn withdraw_all(env: &Env, name: Name) -> Out {
    let mut dataset = concerning(env, name);
    dataset.void = dataset.consents;
    withdrawn(env, name.as_str(), dataset, dataset.void, ANYBODY)
}

// Whoever lost a consent may still have the key: nobody reads by it any more.
fn withdrawn(env: &Env, name: &'static str, mut dataset: Dataset, number: u32, target: Target) -> Out {
    tell("withdrawn", &[&name, &number, &target]);
    if dataset.state == ACTIVE && dataset.shared {
        dataset.state = NEEDS_KEY;
        tell("rotation-due", &[&name, &dataset.epoch]);
        rotate::set_deadline(env, name, &mut dataset);
    }
    dataset::key(name).set(&dataset);
    NOTHING
}

impl Consent {
    // Whether it is neither withdrawn nor over.
    fn stands(&self, dataset: &Dataset, now: i64) -> bool {
        self.number > dataset.void && self.until.map_or(true, |until| now < until)
    }
}

/// What a grant rests on: a consent's number, and to whom that was given.
pub type Ground = (u32, Target);

/// The consent that covers purposes and fields, of those to the account, to its
/// class and to anybody; None where the data concern nobody.
#[inline(never)]
pub fn ground(env: &Env, name: &str, dataset: &Dataset, grantee: &Id, wanted: (u32, u32)) -> Option<Ground> {
    dataset.subject?;
    let class = class_of(grantee);
    let targets = [Some(account_target(grantee)), class.as_ref().map(class_target), Some(ANYBODY)];
    for target in targets.iter().flatten() {
        if let Some(consent) = get(name, *target) {
            let enough = covers(consent.purposes, wanted.0) && covers(consent.fields, wanted.1);
            if enough && consent.stands(dataset, env.time) {
                return Some((consent.number, *target));
            }
        }
    }
    refuse(&NO_CONSENT)
}

/// Whether what a grant rests on still stands: the same consent, and for one to
/// a class, the grantee still in it.
#[inline(never)]
pub fn is_grounded(name: &str, dataset: &Dataset, grantee: &Id, ground: &Option<Ground>, now: i64) -> bool {
    let (number, target) = match ground {
        Some(ground) => *ground,
        None => return dataset.subject.is_none(),
    };
    if target.0.first() == Some(&b'c') && class_of(grantee).as_ref().map(class_target) != Some(target) {
        return false;
    }
    get(name, target).map_or(false, |consent| consent.number == number && consent.stands(dataset, now))
}
