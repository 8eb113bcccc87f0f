//! Grants: who reads which fields, for which purposes, from when until when
//! and how often; with the data key wrapped to the grantee.

use crate::codes::*;
use crate::consent::{self, Ground};
use crate::dataset::{self, Dataset};
use crate::id::{self, Env, Id};
use crate::names::{self, covers, Codes, Name};
use crate::rate::{self, Rate};
use crate::settings::{self, DAY};
use crate::state::{number_of, out, tell, Key, Out, NOTHING};
use postern::{Bytes, Scan, Why};

/// Ten years: what is to last longer is granted anew.
pub const LONGEST: i64 = 10 * 366 * DAY;
/// Bytes of a wrapped key. HPKE over X25519 takes 80 for a key of 32 bytes,
/// over the hybrid with ML-KEM-768 1,168.
const MAX_WRAPPED: usize = 1280;
/// Grants that one account has of one data set: a decision looks at all.
pub const MOST_OF_ONE: usize = 16;

row! {
    /// A grant.
    pub struct Grant (12) {
        pub dataset: &'static str,
        pub grantee: Id,
        pub purposes: u32,
        pub fields: u32,
        /// Of the key that is wrapped to the grantee.
        pub epoch: u32,
        pub from: i64,
        pub until: i64,
        /// Whether each read must be a transaction.
        pub logged: bool,
        pub rate: Option<Rate>,
        pub consent: Option<Ground>,
        /// When it was ended before its time.
        pub ended: Option<i64>,
        pub purchase: Option<u64>,
    }
}

pub fn key(number: u64) -> Key {
    Key::numbered(b"grant/", number)
}

/// The prefix of the grants of one account that were not ended.
pub fn held_prefix(name: &str, grantee: &Id) -> Key {
    Key::of(&[b"held/", name.as_bytes(), b"\0", grantee.0])
}

/// The entry of a grant that was not ended by its key's epoch: what is left
/// behind by a new key comes first.
#[inline(never)]
pub fn epoch_key(name: &str, epoch: u32, number: u64) -> Key {
    Key::of(&[b"epoch/", name.as_bytes(), b"\0", &epoch.to_be_bytes(), &number.to_be_bytes()])
}

#[inline(never)]
pub fn wrapped_key(name: &str, number: u64) -> Key {
    Key::numbered(dataset::part(b"key/", name).0, number)
}

/// A grant, which must be there.
#[inline(never)]
pub fn load(number: u64) -> Grant {
    there(key(number).get(), &NO_GRANT)
}

/// A grant as its message has it.
pub struct Wanted {
    pub grantee: Id,
    pub purposes: Codes,
    pub fields: Codes,
    pub until: i64,
    pub epoch: u32,
    pub wrapped: Bytes<'static>,
    pub from: Option<i64>,
    pub rate: Option<Rate>,
    pub logged: Option<bool>,
}

pub fn give(env: &Env, name: Name, wanted: Wanted) -> Out {
    let dataset = dataset::own(env, name);
    let grant = Grant {
        dataset: name.as_str(),
        grantee: wanted.grantee,
        purposes: names::set_of(&settings::purposes(), &wanted.purposes),
        fields: names::set_of(&dataset.fields, &wanted.fields),
        epoch: wanted.epoch,
        from: wanted.from.unwrap_or(env.time),
        until: wanted.until,
        logged: wanted.logged.unwrap_or(false),
        rate: wanted.rate,
        consent: None,
        ended: None,
        purchase: None,
    };
    out(&make(env, dataset, grant, wanted.wrapped))
}

/// Makes a grant of a data set whose owner wants it, and returns its number.
/// The consent that it rests on is looked for here.
#[inline(never)]
pub fn make(env: &Env, mut dataset: Dataset, mut grant: Grant, wrapped: Bytes<'static>) -> u64 {
    let name = grant.dataset;
    dataset.require_active();
    must(grant.epoch == dataset.epoch, &WRONG_EPOCH);
    require_wrapped(&wrapped);
    let begin = grant.from.max(env.time);
    must(grant.from >= 0 && begin < grant.until && grant.until <= env.time + LONGEST, &BAD_TIME);
    grant.rate.iter().for_each(rate::check);
    grant.logged |= grant.rate.is_some();
    grant.consent = consent::ground(env, name, &dataset, &grant.grantee, (grant.purposes, grant.fields));
    make_room(name, &grant.grantee, env.time);
    let number = Key(b"grants").next();
    key(number).set(&grant);
    Key::numbered(held_prefix(name, &grant.grantee).0, number).set(&());
    epoch_key(name, grant.epoch, number).set(&());
    wrapped_key(name, number).set(&wrapped);
    if !dataset.shared {
        dataset.shared = true;
        dataset::key(name).set(&dataset);
    }
    tell("granted", &[&number, &name, &grant.grantee, &grant.epoch]);
    number
}

pub fn require_wrapped(key: &Bytes) {
    must((1..=MAX_WRAPPED).contains(&key.0.len()), &BAD_KEY);
}

/// The grants of one account that were not ended: their numbers, and how many.
#[inline(never)]
pub fn held(name: &str, grantee: &Id) -> ([u64; MOST_OF_ONE], usize) {
    let prefix = held_prefix(name, grantee);
    let mut scan = Scan::new(prefix.0, prefix.0);
    let (mut numbers, mut count) = ([0; MOST_OF_ONE], 0);
    while count < MOST_OF_ONE {
        match scan.next() {
            Some((key, _)) => numbers[count] = number_of(key),
            None => break,
        }
        count += 1;
    }
    (numbers, count)
}

// Ends expired grants of an account that has as many as it may have.
fn make_room(name: &str, grantee: &Id, now: i64) {
    let (numbers, count) = held(name, grantee);
    if count < MOST_OF_ONE {
        return;
    }
    let mut made = false;
    for number in numbers.iter() {
        let grant = load(*number);
        if now >= grant.until {
            end(*number, grant, now);
            made = true;
        }
    }
    must(made, &TOO_MANY);
}

/// Ends a grant: by the grantee, or by the data set's owner, who may not take
/// back what it sold.
pub fn revoke(env: &Env, number: u64) -> Out {
    let caller = id::caller(env);
    let grant = load(number);
    if caller != grant.grantee {
        must(caller == dataset::load(grant.dataset).owner, &NOT_HOLDER);
        grant.require_unsold(env.time);
    }
    must(grant.ended.is_none(), &ENDED);
    end(number, grant, env.time);
    NOTHING
}

/// Ends a grant that stands. Its record stays, its key goes.
#[inline(never)]
pub fn end(number: u64, mut grant: Grant, now: i64) {
    let name = grant.dataset;
    Key::numbered(held_prefix(name, &grant.grantee).0, number).delete();
    epoch_key(name, grant.epoch, number).delete();
    wrapped_key(name, number).delete();
    grant.ended = Some(now);
    key(number).set(&grant);
    tell("revoked", &[&number, &name]);
}

impl Grant {
    /// Refuses while somebody has a right to the grant that was paid for.
    pub fn require_unsold(&self, now: i64) {
        must(self.purchase.is_none() || now >= self.until, &WAS_BOUGHT);
    }

    /// Why the grant is over or void; None where it stands.
    #[inline(never)]
    pub fn void(&self, dataset: &Dataset, now: i64) -> Option<&'static Why> {
        if self.ended.is_some() {
            return Some(&ENDED);
        }
        if now >= self.until {
            return Some(&EXPIRED);
        }
        let grounded = consent::is_grounded(self.dataset, dataset, &self.grantee, &self.consent, now);
        Some(&NO_CONSENT).filter(|_| !grounded)
    }

    /// Why nothing is read by the grant now; None where something is.
    #[inline(never)]
    pub fn closed(&self, dataset: &Dataset, now: i64) -> Option<&'static Why> {
        dataset.closed().or_else(|| self.void(dataset, now)).or_else(|| {
            if now < self.from {
                return Some(&NOT_BEGUN);
            }
            Some(&NOT_REWRAPPED).filter(|_| self.epoch < dataset.epoch)
        })
    }

    /// Why fields are not read for a purpose by the grant now; None where they
    /// are.
    #[inline(never)]
    pub fn refused(&self, dataset: &Dataset, purpose: u32, fields: u32, now: i64) -> Option<&'static Why> {
        self.closed(dataset, now).or_else(|| {
            if !covers(self.purposes, purpose) {
                return Some(&WRONG_PURPOSE);
            }
            Some(&WRONG_FIELD).filter(|_| !covers(self.fields, fields))
        })
    }
}
