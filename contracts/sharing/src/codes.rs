//! Why the contract refuses. Codes stand in outcomes and never change their
//! meaning; schema.json and README.md hold the same table. Code 1 is the SDK's,
//! for malformed messages. A decision that denies has the code of the refusal
//! that a `read` would meet as its reason.
//!
//! A refusal ends the call on the spot, and the host undoes what the call did:
//! no function here hands one up. With forty refusals at a hundred and fifty
//! places that is a third of the module, which has 64 KiB.

use postern::{Abort, Why};

/// Ends the call.
#[inline(never)]
pub fn refuse(why: &Why) -> ! {
    postern::abort(why.code, why.text.as_bytes())
}

/// Ends the call unless a condition holds.
#[inline(never)]
pub fn must(holds: bool, why: &Why) {
    if !holds {
        refuse(why)
    }
}

/// Ends the call if there is a reason to.
pub fn pass(why: Option<&'static Why>) {
    if let Some(why) = why {
        refuse(why)
    }
}

/// What must be there.
pub fn there<T>(value: Option<T>, why: &Why) -> T {
    match value {
        Some(value) => value,
        None => refuse(why),
    }
}

/// What the state or a checked message holds, or a sum: where it is not of its
/// type, or too large, the call ends with the SDK's code.
pub fn sound<T, E: Into<Abort>>(value: Result<T, E>) -> T {
    match value {
        Ok(value) => value,
        Err(err) => unsound(err.into().code()),
    }
}

#[inline(never)]
fn unsound(code: u16) -> ! {
    postern::abort(code, b"an entry or a list's item is of a wrong type")
}

macro_rules! refusals {
    ($(pub $name:ident = $code:literal, $text:literal;)+) => {
        $(pub const $name: Why = Why { code: $code, text: $text };)+
    };
}

refusals! {
    pub NESTED = 2, "no contract acts in its signer's name here, nor does evidence";
    pub NOT_OWNER = 3, "only the contract's owner does this";
    pub BAD_SETTING = 4, "a time limit is out of its bounds";
    pub BAD_CODE = 5, "a code is not of 1 to 24 of a-z 0-9 - . _, or is twice in its list";
    pub TOO_MANY = 6, "the list is empty or too long";
    pub UNKNOWN_CODE = 7, "a purpose or field is not known";
    pub EXISTS = 8, "the name is taken";
    pub NO_DATASET = 9, "there is no such data set";
    pub NOT_HOLDER = 10, "only the data set's owner does this";
    pub BAD_KEY = 11, "a key or wrapped key has a wrong length";
    pub NOT_SUBJECT = 12, "only the person whom the data concern does this";
    pub CONSENT_STANDS = 13, "a consent to the same grantees stands: withdraw it first";
    pub NO_CONSENT = 14, "no consent of the data's subject covers this";
    pub BAD_TARGET = 15, "a consent names an account or a class or neither, not both";
    pub WRONG_EPOCH = 16, "the key is of another epoch than it must be";
    pub BAD_TIME = 17, "a time is past, or a span of time out of its bounds";
    pub BAD_RATE = 18, "the rate is out of its bounds";
    pub NO_GRANT = 19, "there is no such grant";
    pub NOT_GRANTEE = 20, "the grant is somebody else's";
    pub NOT_BEGUN = 21, "the grant has not begun";
    pub EXPIRED = 22, "the grant has expired";
    pub ENDED = 23, "the grant was ended";
    pub WRONG_PURPOSE = 24, "the grant is not for this purpose";
    pub WRONG_FIELD = 25, "the grant is not for all of these fields";
    pub RATE_EXCEEDED = 26, "the grant's reads are used up for now";
    pub ROTATION_DUE = 27, "the data set needs a new key first";
    pub NOT_REWRAPPED = 28, "the new key is not wrapped to the grantee yet";
    pub ERASURE_DUE = 29, "the data set is to be erased";
    pub ERASED = 30, "the data set is erased";
    pub BAD_STATEMENT = 31, "the custodian did not sign this for this chain, contract, data set and epoch";
    pub NOT_ISSUER = 32, "only the issuer of credits does this";
    pub BAD_AMOUNT = 33, "the amount is nothing, or more than there may be";
    pub TOO_FEW = 34, "the account has too few credits";
    pub NO_OFFER = 35, "there is no such offer, or it was withdrawn";
    pub PRICE_DIFFERS = 36, "price or terms are not those of the offer";
    pub SELF_DEALING = 37, "an account does not trade with itself, nor judge its own trade";
    pub NO_PURCHASE = 38, "there is no such purchase";
    pub NOT_PARTY = 39, "the caller is not the one whose turn it is";
    pub WRONG_STATE = 40, "the purchase is past this step, or not there yet";
    pub TOO_LATE = 41, "the time for this step is over";
    pub NOT_DUE = 42, "the time for this step has not come";
    pub NOT_A_READ = 43, "a decision is asked for action read on a dataset, with purpose and fields in the context";
    pub NO_CLOCK = 44, "the gateway's clock is not trusted";
    pub WAS_BOUGHT = 45, "a grant that was bought ends after its time, or by its holder";
    pub NO_REASON = 46, "credits come and go for a reason that is told";
}

/// Reasons of decisions that do not deny.
pub const PERMITTED: u64 = 100;
pub const BY_TRANSACTION: u64 = 101;
