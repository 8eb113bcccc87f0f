//! Why the contract refuses. Codes stand in outcomes and never change their
//! meaning; schema.json and README.md hold the same table. Code 1 is the
//! SDK's, for malformed CBOR.

use postern::{Abort, Why, NOT_PERMITTED};

/// The refusal of what no account asked for itself, with the SDK's code.
pub const NOT_DIRECT: Abort = Abort::new(&Why {
    code: NOT_PERMITTED,
    text: "neither another contract nor evidence may act for a signer",
});

postern::refusals! {
    pub BAD_RULES = 2, "a span of the rules is below an hour or above 30 days";
    pub NOT_PARTY = 3, "the sender has no part in this";
    pub NOT_AUTHORITY = 4, "the sender has not the role authority";
    pub NOT_GUARDIAN = 5, "the sender is no guardian of this owner";
    pub FROZEN = 6, "the owner's guardians do not trust the owner's key for now";
    pub NOT_FROZEN = 7, "the owner's key is not frozen";
    pub BAD_CIRCLE = 8, "guardians are at most 8, all different, neither the owner nor devices, and the threshold is among them";
    pub VOTED = 9, "the sender has agreed to this already";
    pub UNKNOWN_CASE = 10, "there is no case of this number";
    pub BUSY = 11, "there is a case of this device already";
    pub WRONG_STATE = 12, "the case does not stand so that this could be done";
    pub OWN_CASE = 13, "nobody decides on what the same account did or is part of";
    pub BAD_KIND = 14, "there is no such kind of case, evidence or outcome";
    pub REPLAYED = 15, "the sender has given this evidence already";
    pub TOO_MUCH = 16, "the sender has given as much evidence in this case as one may";
    pub TOO_LONG = 17, "the sealed bytes are too many";
    pub MARK_TAKEN = 18, "another device has this mark";
    pub TOO_MANY_MARKS = 19, "a device has at most 4 marks";
    pub NO_MARK = 20, "nobody has this mark";
    pub BAD_PAGE = 21, "a page has 1 to 64 rows";
}
