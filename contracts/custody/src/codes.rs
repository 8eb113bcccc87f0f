//! Why the contract refuses. Codes stand in outcomes and never change their
//! meaning; schema.json and README.md tell more of each than the texts here, which
//! are for logs. Code 1 is the SDK's, for malformed messages, names that are empty
//! or too long, and quantities that are none.

postern::refusals! {
    pub NOT_OWNER = 2, "the sender is not the contract's owner";
    pub NESTED = 3, "a contract calls";
    pub NOT_MAKER = 4, "the sender is no maker";
    pub NOT_IMPORTER = 5, "the sender may not bring items in";
    pub NOT_HOLDER = 6, "the sender does not hold the item";
    pub FOREIGN_ID = 7, "the id is not the maker's";
    pub EXISTS = 8, "the id is taken";
    pub UNKNOWN_ITEM = 9, "there is no such item";
    pub ENDED = 10, "the item was destroyed, split up or used up";
    pub HAS_OFFER = 11, "the item, or what it lies in, is offered";
    pub NO_OFFER = 12, "there is no such open offer";
    pub NOT_TAKER = 13, "the offer is to somebody else";
    pub EXPIRED = 14, "the offer has expired";
    pub BAD_TIME = 15, "a time is not ahead, or too far ahead";
    pub BAD_TAKER = 16, "the holder cannot be the taker";
    pub PACKED = 17, "the item is packed";
    pub NOT_PACKED = 18, "the item is not in this container";
    pub CYCLE = 19, "the container would lie within itself";
    pub TOO_DEEP = 20, "containers would nest deeper than 8";
    pub NOT_EMPTY = 21, "something is packed in the item";
    pub NO_BATCH = 22, "the item has no quantity";
    pub TOO_MUCH = 23, "more than the batch holds";
    pub TOO_MANY = 24, "too many, or none";
    pub RECALLED = 25, "the item is recalled";
    pub NOT_AUTHORISED = 26, "the sender may not recall this";
    pub NO_RECALL = 27, "there is no such recall, or it was lifted";
    pub IS_RECALLED = 28, "this is recalled already";
    pub EXPECTED = 29, "the item's arrival is expected already";
    pub NOT_EXPECTED = 30, "the item's arrival is not expected";
    pub NOT_RECEIVER = 31, "the sender does not expect the item";
    pub TAKEN_IN = 32, "it was taken in before";
    pub TOO_LARGE = 33, "more than 15,000 bytes";
    pub NO_DOCUMENT = 34, "the sender has begun no such document";
    pub BAD_EVENT = 35, "the lists do not fit the effect";
    pub BAD_PARTY = 36, "there are no such rights";
    pub BAD_SUBJECT = 37, "neither an item, nor a class, nor a lot of one";
}
