//! Why the contract refuses. Codes stand in outcomes and never change their
//! meaning; README.md and the Go package hold the same table. Code 1 is the
//! SDK's, for malformed CBOR.
//!
//! Refusing ends the call at once, so that what reads a message need not hand
//! refusals on: that is a sixth of the module's bytes.

use postern::{Why, MALFORMED};

/// Ends the call; the host undoes what it did.
#[inline(never)]
pub fn refuse(why: &Why) -> ! {
    postern::abort(why.code, why.text.as_bytes())
}

/// Refuses unless a condition holds.
pub fn require(holds: bool, why: &Why) {
    if !holds {
        refuse(why)
    }
}

pub const NOT_CANONICAL: &Why = &Why { code: MALFORMED, text: "the message is not canonical CBOR of its form" };

pub const NOT_ADMIN: &Why = &Why { code: 2, text: "the caller is neither the contract's owner nor an admin" };
pub const NESTED: &Why = &Why { code: 3, text: "a contract may not change the policy in its signer's name" };
pub const UNKNOWN_OPERATION: &Why = &Why { code: 4, text: "unknown operation, or a wrong number of operands" };
pub const BAD_VERSION: &Why = &Why { code: 5, text: "the version exists, or is not above the active one" };
pub const NOT_BUILDING: &Why = &Why { code: 6, text: "the version is not being written" };
pub const BASE_MOVED: &Why = &Why { code: 7, text: "the base is no longer the active version" };
pub const INCOMPLETE: &Why = &Why { code: 8, text: "count or digest differ from what was written" };
pub const NOT_ACTIVE: &Why = &Why { code: 9, text: "the version is not the active one" };
pub const DUPLICATE: &Why = &Why { code: 10, text: "the entity or rule was written before" };
pub const NOT_FOUND: &Why = &Why { code: 11, text: "there is no such entity, rule or delegation" };
pub const TOO_LARGE: &Why = &Why { code: 12, text: "the entity, rule, zone table or list is too large" };
pub const BAD_ENTITY: &Why = &Why { code: 13, text: "the entity has a wrong field" };
pub const BAD_RULE: &Why = &Why { code: 14, text: "the rule has a wrong field" };
pub const BAD_CONDITION: &Why = &Why { code: 15, text: "the rule's condition is malformed, too deep or too long" };
pub const BAD_HOURS: &Why = &Why { code: 16, text: "the rule's hours are out of range" };
pub const UNKNOWN_ZONE: &Why = &Why { code: 17, text: "the rule names a time zone that the policy does not hold" };
pub const BAD_ZONE: &Why = &Why { code: 18, text: "the time zone's table is malformed" };
pub const NOT_OWNER: &Why = &Why { code: 19, text: "the caller is not the resource's registered owner" };
pub const BAD_EXPIRY: &Why = &Why { code: 20, text: "the delegation expires in the past, or later than a year ahead" };
pub const BAD_REQUEST: &Why = &Why { code: 22, text: "the decision request is incomplete" };
pub const BAD_ADMINS: &Why = &Why { code: 23, text: "more than 32 admins, or one that is no account id" };
pub const BAD_NAME: &Why = &Why { code: 24, text: "a name is empty or too long" };
pub const BAD_ROLES: &Why = &Why { code: 25, text: "the table of roles is out of order or too large" };
pub const NO_GLASS: &Why = &Why { code: 26, text: "no rule lets the subject break the glass for this" };
pub const BROKEN: &Why = &Why { code: 27, text: "the glass is broken already" };
pub const TOO_MANY_ALARMS: &Why = &Why { code: 28, text: "too many alarms wait to be acknowledged" };
pub const OWN_ALARM: &Why = &Why { code: 29, text: "nobody acknowledges an alarm about themselves" };
pub const NOT_SUBJECT: &Why = &Why { code: 30, text: "the caller is neither the subject nor an enforcement point" };
pub const NO_REASON: &Why = &Why { code: 31, text: "the reason is empty or too long" };
pub const CHANGED: &Why = &Why { code: 0xfffe, text: "the policy has changed since the search began" };
pub const NO_POLICY: &Why = &Why { code: 0xffff, text: "no policy is active" };
