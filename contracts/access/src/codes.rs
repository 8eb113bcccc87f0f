//! Why the contract refuses. Codes stand in outcomes and never change their
//! meaning; README.md and the Go package hold the same table. Code 1 is the
//! SDK's, for malformed CBOR.

use postern::{Abort, Why};

pub const NOT_ADMIN: Abort = Abort::new(&Why { code: 2, text: "the caller is neither the contract's owner nor an admin" });
pub const NESTED: Abort = Abort::new(&Why { code: 3, text: "a contract may not change the policy in its signer's name" });
pub const UNKNOWN_OPERATION: Abort = Abort::new(&Why { code: 4, text: "unknown operation, or a wrong number of operands" });
pub const BAD_VERSION: Abort = Abort::new(&Why { code: 5, text: "the version exists, or is not above the active one" });
pub const NOT_BUILDING: Abort = Abort::new(&Why { code: 6, text: "the version is not being written" });
pub const BASE_MOVED: Abort = Abort::new(&Why { code: 7, text: "the base is no longer the active version" });
pub const INCOMPLETE: Abort = Abort::new(&Why { code: 8, text: "count or digest differ from what was written" });
pub const NOT_ACTIVE: Abort = Abort::new(&Why { code: 9, text: "the version is not the active one" });
pub const DUPLICATE: Abort = Abort::new(&Why { code: 10, text: "the entity or rule was written before" });
pub const NOT_FOUND: Abort = Abort::new(&Why { code: 11, text: "there is no such entity, rule or delegation" });
pub const TOO_LARGE: Abort = Abort::new(&Why { code: 12, text: "the entity, rule, zone table or list is too large" });
pub const BAD_ENTITY: Abort = Abort::new(&Why { code: 13, text: "the entity has a wrong field" });
pub const BAD_RULE: Abort = Abort::new(&Why { code: 14, text: "the rule has a wrong field" });
pub const BAD_CONDITION: Abort = Abort::new(&Why { code: 15, text: "the rule's condition is malformed, too deep or too long" });
pub const BAD_HOURS: Abort = Abort::new(&Why { code: 16, text: "the rule's hours are out of range" });
pub const UNKNOWN_ZONE: Abort = Abort::new(&Why { code: 17, text: "the rule names a time zone that the policy does not hold" });
pub const BAD_ZONE: Abort = Abort::new(&Why { code: 18, text: "the time zone's table is malformed" });
pub const NOT_OWNER: Abort = Abort::new(&Why { code: 19, text: "the caller is not the resource's registered owner" });
pub const BAD_EXPIRY: Abort = Abort::new(&Why { code: 20, text: "the delegation expires in the past, or later than a year ahead" });
pub const BAD_REQUEST: Abort = Abort::new(&Why { code: 22, text: "the decision request is incomplete" });
pub const BAD_ADMINS: Abort = Abort::new(&Why { code: 23, text: "more than 32 admins, or one that is no account id" });
pub const BAD_NAME: Abort = Abort::new(&Why { code: 24, text: "a name is empty or too long" });
pub const NO_POLICY: Abort = Abort::new(&Why { code: 0xffff, text: "no policy is active" });
