//! Why the contract refuses. Codes stand in outcomes and never change their
//! meaning; README.md and the Go package hold the same table. Code 1 is the
//! SDK's, for malformed CBOR.

postern::refusals! {
    pub NOT_LOADER = 2, "the caller is neither the contract's owner nor a loader";
    pub NESTED = 3, "a contract may not change profiles in its signer's name";
    pub UNKNOWN_OPERATION = 4, "unknown operation, or a wrong number of operands";
    pub BAD_VERSION = 5, "the version exists, or is not above the active one";
    pub NOT_BUILDING = 6, "the version is not being written";
    pub BASE_MOVED = 7, "the base is no longer the active version";
    pub INCOMPLETE = 8, "count or digest differ from what was written";
    pub NO_SUCH_PROFILE = 9, "no such profile is active";
    pub DUPLICATE = 10, "the page was written before";
    pub TOO_LARGE = 11, "the profile, page, rule or list is too large";
    pub BAD_PROFILE = 12, "the profile has a wrong field";
    pub BAD_PAGE = 13, "the page has a malformed entry";
    pub BAD_RULE = 14, "the telemetry rule has a wrong field";
    pub BAD_SITE = 15, "the site has a malformed network, or classes out of order";
    pub BAD_NAME = 16, "a name is empty or too long";
    pub BAD_LOADERS = 17, "more than 32 loaders, or one that is no account id";
    pub NO_PROFILE = 18, "no profile is assigned to the device";
    pub TOO_MANY = 19, "the observation holds more than 256 items, or none";
    pub WRONG_DEVICE = 20, "the evidence is about another device than the one that signed it";
    pub NOT_EVIDENCE = 21, "a device cannot give evidence of this kind";
    pub OLD_EVIDENCE = 22, "the evidence is not newer than the last, or not of the last day";
    pub BAD_HOURS = 23, "the hours or their time zone are malformed";
}
