//! Why the contract refuses, and why it decides so. Codes stand in outcomes
//! and never change their meaning; schema.json and README.md hold the same
//! table. Code 1 is the SDK's, for malformed CBOR.

use postern::{Abort, Why, NOT_PERMITTED};

/// The refusal of what no account asked for itself, with the SDK's code.
pub const NOT_DIRECT: Abort = Abort::new(&Why {
    code: NOT_PERMITTED,
    text: "neither another contract nor evidence may act for a signer",
});

postern::refusals! {
    pub NOT_OWNER = 2, "the sender does not own the lock";
    pub UNKNOWN_LOCK = 3, "the owner of this device, if it is one, has not set it up as a lock";
    pub LOCK_INACTIVE = 4, "the lock is suspended, quarantined, stolen or retired";
    pub BAD_SETTINGS = 5, "retention, staleness or recipients are out of their limits";
    pub BAD_ZONE = 6, "the zone's periods are empty, too many, out of order or too far from Greenwich";
    pub BAD_GUEST = 7, "there is no such kind of guest";
    pub BAD_TERMS = 8, "the terms are over already, reversed, too far ahead, or contradict one another";
    pub NO_ZONE = 9, "hours need the lock's time zone, which is not set";
    pub MAY_NOT_GRANT = 10, "the sender is neither the owner nor a resident who may grant";
    pub TOO_DEEP = 11, "a resident cannot make residents";
    pub BEYOND_OWN = 12, "the terms go beyond the sender's own right";
    pub TAKEN = 13, "the guest has a right that somebody else gave";
    pub TOO_MANY = 14, "the resident has given as many rights as one may";
    pub NO_RIGHT = 15, "the guest has no right to this lock, or none any more";
    pub NOT_YET = 16, "the right begins later";
    pub EXPIRED = 17, "the right is over";
    pub OUTSIDE_HOURS = 18, "the right does not hold at this hour";
    pub TIME_UNKNOWN = 19, "what time it is at the lock is not known";
    pub NOT_REVOKER = 20, "only the owner, who gave the right and who has it may end it";
    pub GUEST_INACTIVE = 21, "the guest is a device that is suspended, quarantined, stolen or retired";
    pub BAD_NOTE = 22, "the note is not as long as the lock's recipients need";
    pub BAD_REPORT = 23, "a lock cannot report an entry of this kind, or a battery above 100";
    pub BAD_PAGE = 24, "a page has 1 to 64 rows";
}

/// Reasons of decisions.
pub mod reason {
    pub const GRANTED: u64 = 1;
    pub const OWNER: u64 = 2;
    pub const BY_TRANSACTION: u64 = 3;
    pub const NO_RIGHT: u64 = 10;
    pub const NOT_YET: u64 = 11;
    pub const EXPIRED: u64 = 12;
    pub const OUTSIDE_HOURS: u64 = 13;
    pub const TIME_UNKNOWN: u64 = 14;
    pub const UNKNOWN_LOCK: u64 = 15;
    pub const LOCK_INACTIVE: u64 = 16;
    pub const GUEST_INACTIVE: u64 = 17;
    pub const NOT_FOR_LOCKS: u64 = 18;
}
