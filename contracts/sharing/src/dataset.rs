//! Data sets: who shares what, of which content lies elsewhere, encrypted.

use crate::codes::*;
use crate::id::{self, Env, Id};
use crate::names::{self, Code, Codes, Name};
use crate::state::{out, tell, Items, Key, Out, NOTHING};
use postern::{Bytes, List, Why};

/// The data set is read, as grants say.
pub const ACTIVE: u8 = 0;
/// A consent was withdrawn: nobody reads until there is a new key.
pub const NEEDS_KEY: u8 = 1;
/// Its destruction was demanded: nobody reads any more.
pub const TO_ERASE: u8 = 2;
/// The key is destroyed; wrapped keys are being deleted from the state.
pub const ERASING: u8 = 3;
/// No wrapped key is left.
pub const GONE: u8 = 4;

row! {
    /// A data set.
    pub struct Dataset (16) {
        pub owner: Id,
        pub kind: Code,
        pub fields: Codes,
        pub state: u8,
        /// Of the data key, from 1.
        pub epoch: u32,
        /// The key that signs the statement of destruction.
        pub custodian: Bytes<'static>,
        /// Whom the data concern: grants need this account's consent.
        pub subject: Option<Id>,
        /// SHA-256 of the content where it lies, encrypted.
        pub content: Option<Id>,
        /// Whether each read must be a transaction.
        pub logged: bool,
        /// Whether this epoch's key was wrapped to anybody.
        pub shared: bool,
        /// How many consents were given.
        pub consents: u32,
        /// Consents up to this number were withdrawn at once.
        pub void: u32,
        pub rotate_by: Option<i64>,
        pub erase_by: Option<i64>,
        pub made: i64,
        pub records: u64,
    }
}

/// How many records one transaction adds.
const MAX_RECORDS: usize = 32;
const ED25519: usize = 32;
const P256: usize = 33;

/// A data set's key.
pub fn key(name: &str) -> Key {
    Key::of(&[b"set/", name.as_bytes()])
}

/// The prefix of a data set's entries of a kind.
pub fn part(kind: &[u8], name: &str) -> Key {
    Key::of(&[kind, name.as_bytes(), b"\0"])
}

/// What a data set is made of.
pub struct New {
    pub kind: Code,
    pub fields: Codes,
    pub custodian: Bytes<'static>,
    pub subject: Option<Id>,
    pub content: Option<Id>,
    pub logged: Option<bool>,
}

pub fn create(env: &Env, name: Name, new: New) -> Out {
    let name = name.as_str();
    names::require_code(name);
    names::require_code(new.kind.as_str());
    names::require_codes(&new.fields);
    must([ED25519, P256].contains(&new.custodian.0.len()), &BAD_KEY);
    must(!key(name).exists(), &EXISTS);
    let owner = id::caller(env);
    key(name).set(&Dataset {
        owner,
        kind: new.kind,
        fields: new.fields,
        state: ACTIVE,
        epoch: 1,
        custodian: new.custodian,
        subject: new.subject,
        content: new.content,
        logged: new.logged.unwrap_or(false),
        shared: false,
        consents: 0,
        void: 0,
        rotate_by: None,
        erase_by: None,
        made: env.time,
        records: 0,
    });
    tell("created", &[&name, &owner, &new.subject]);
    NOTHING
}

/// A data set, which must be there.
#[inline(never)]
pub fn load(name: &str) -> Dataset {
    there(key(name).get(), &NO_DATASET)
}

/// A data set of the caller's own.
#[inline(never)]
pub fn own(env: &Env, name: Name) -> Dataset {
    let dataset = load(name.as_str());
    must(dataset.owner == id::caller(env), &NOT_HOLDER);
    dataset
}

impl Dataset {
    /// Why nobody reads the data set now; None where somebody does.
    pub fn closed(&self) -> Option<&'static Why> {
        match self.state {
            ACTIVE => None,
            NEEDS_KEY => Some(&ROTATION_DUE),
            TO_ERASE => Some(&ERASURE_DUE),
            _ => Some(&ERASED),
        }
    }

    /// Refuses unless the data set is read now.
    #[inline(never)]
    pub fn require_active(&self) {
        pass(self.closed());
    }

    /// Refuses once the key is destroyed.
    pub fn require_key(&self) {
        must(self.state < ERASING, &ERASED);
    }
}

/// Adds hashes of parts of the content.
pub fn add_records(env: &Env, name: Name, hashes: List<'static, Id>) -> Out {
    let mut dataset = own(env, name);
    let name = name.as_str();
    dataset.require_key();
    must((1..=MAX_RECORDS).contains(&hashes.len()), &TOO_MANY);
    let first = dataset.records + 1;
    let prefix = part(b"record/", name);
    for hash in hashes.iter() {
        dataset.records += 1;
        Key::numbered(prefix.0, dataset.records).set(&Items(&[&sound(hash), &dataset.epoch, &env.time]));
    }
    key(name).set(&dataset);
    tell("recorded", &[&name, &first, &dataset.records]);
    out(&first)
}
