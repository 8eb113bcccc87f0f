//! Why the contract refuses. A code never changes its meaning.

postern::refusals! {
    pub NOT_DEVICE = 2, "no active device";
    pub NOT_NOTARY = 3, "the sender is neither the device nor named by its owner";
    pub NOT_OWNER = 4, "the sender does not own the device";
    pub NOT_AUTHORITY = 5, "the sender is neither the contract's owner nor an authority";
    pub BAD_COUNT = 6, "a batch holds from 1 to 1,048,576 readings";
    pub BAD_SPAN = 7, "the time span ends before it begins, or in the future";
    pub KNOWN_ROOT = 8, "the device has notarised this root before";
    pub BAD_PERIOD = 9, "a period is from a minute to 100 years";
    pub NO_RECORD = 10, "no such record";
    pub BAD_PATH = 11, "an audit path has at most 20 hashes, and its leaf is one of the batch";
    pub BAD_LIMIT = 12, "a page holds from 1 to 64 entries";
    pub NOT_CHANGED = 13, "that is how it is already";
}
