//! Why the contract refuses. Codes stand in outcomes and never change their
//! meaning; schema.json and README.md hold the same table. Code 1 is the SDK's,
//! for malformed messages, names that are empty or too long, and quantities
//! that are none.

postern::refusals! {
    pub NOT_OWNER = 2, "the sender is not the contract's owner";
    pub NESTED = 3, "a contract may not act in its signer's name";
    pub NOT_MAKER = 4, "the sender is no maker";
    pub NOT_IMPORTER = 5, "the item is not known here, and the sender may not bring it in";
    pub NOT_HOLDER = 6, "the sender does not hold the item";
    pub FOREIGN_ID = 7, "the id lies outside of the maker's prefixes";
    pub EXISTS = 8, "the id is taken";
    pub UNKNOWN_ITEM = 9, "there is no such item";
    pub ENDED = 10, "the item was destroyed, split up or used up";
    pub HAS_OFFER = 11, "the item, or what it is packed in, is offered to somebody";
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
    pub TOO_MANY = 24, "too many items, parts or prefixes, or none";
    pub RECALLED = 25, "the item is recalled: it goes back to its maker or to a destroyer";
    pub NOT_AUTHORISED = 26, "the sender may not recall this";
    pub NO_RECALL = 27, "there is no such recall, or it was lifted";
    pub IS_RECALLED = 28, "this is recalled already";
    pub EXPECTED = 29, "the item's arrival is expected already";
    pub NOT_EXPECTED = 30, "the item's arrival is not expected";
    pub NOT_RECEIVER = 31, "the sender neither expects the item nor should receive it";
    pub TAKEN_IN = 32, "the event, or the document's place, was taken in before";
    pub TOO_LARGE = 33, "the event or document is larger than 15,000 bytes";
    pub NO_DOCUMENT = 34, "the sender has begun no such document, or it ends before this place";
    pub BAD_EVENT = 35, "the event's lists do not fit what it does";
    pub BAD_PARTY = 36, "there are no such rights";
    pub BAD_SUBJECT = 37, "a recall is of an item, of a class, or of a lot of a class";
}
