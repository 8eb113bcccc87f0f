//! Why the contract refuses. Codes stand in outcomes and never change their
//! meaning; README.md and the Go package hold the same table. Code 1 is the
//! SDK's, for malformed CBOR.

use postern::Abort;

pub const NOT_ADMIN: Abort = Abort::new(2, "the caller is neither the contract's owner nor an admin");
pub const NESTED: Abort = Abort::new(3, "a contract may not change the policy in its signer's name");
pub const UNKNOWN_OPERATION: Abort = Abort::new(4, "unknown operation, or a wrong number of operands");
pub const BAD_VERSION: Abort = Abort::new(5, "the version exists, or is not above the active one");
pub const NOT_BUILDING: Abort = Abort::new(6, "the version is not being written");
pub const BASE_MOVED: Abort = Abort::new(7, "the base is no longer the active version");
pub const INCOMPLETE: Abort = Abort::new(8, "count or digest differ from what was written");
pub const NOT_ACTIVE: Abort = Abort::new(9, "the version is not the active one");
pub const DUPLICATE: Abort = Abort::new(10, "the entity or rule was written before");
pub const NOT_FOUND: Abort = Abort::new(11, "there is no such entity, rule or delegation");
pub const TOO_LARGE: Abort = Abort::new(12, "the entity, rule, zone table or list is too large");
pub const BAD_ENTITY: Abort = Abort::new(13, "the entity has a wrong field");
pub const BAD_RULE: Abort = Abort::new(14, "the rule has a wrong field");
pub const BAD_CONDITION: Abort = Abort::new(15, "the rule's condition is malformed, too deep or too long");
pub const BAD_HOURS: Abort = Abort::new(16, "the rule's hours are out of range");
pub const UNKNOWN_ZONE: Abort = Abort::new(17, "the rule names a time zone that the policy does not hold");
pub const BAD_ZONE: Abort = Abort::new(18, "the time zone's table is malformed");
pub const NOT_OWNER: Abort = Abort::new(19, "the caller is not the resource's registered owner");
pub const BAD_EXPIRY: Abort = Abort::new(20, "the delegation expires in the past, or later than a year ahead");
pub const NO_POLICY: Abort = Abort::new(21, "no policy is active");
pub const BAD_REQUEST: Abort = Abort::new(22, "the decision request is incomplete");
pub const BAD_ADMINS: Abort = Abort::new(23, "more than 32 admins, or one that is no account id");
pub const BAD_NAME: Abort = Abort::new(24, "a name is empty or too long");
