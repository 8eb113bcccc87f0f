//! Why the contract refuses. Codes stand in outcomes and never change their
//! meaning; README.md and schema.json hold the same table. Code 1 is the SDK's,
//! for malformed CBOR.

postern::refusals! {
    pub NESTED = 2, "another contract, or evidence, may not act in its signer's name";
    pub NOT_OWNER = 3, "only the contract's owner may do this";
    pub NOT_OPERATOR = 4, "the sender is no operator";
    pub SAME_PERSON = 5, "the second person must be another one than the first";
    pub IS_DEVICE = 6, "a device cannot be an operator";
    pub NOT_ADDRESSED = 7, "the command is another device's";
    pub UNKNOWN_DEVICE = 8, "the device is not registered here";
    pub NOT_ACTIVE = 9, "the device is not enrolled, or not active";
    pub NO_LIMIT = 10, "no limit admits this action";
    pub OUT_OF_LIMIT = 11, "the value is below the least or above the most";
    pub STEP_TOO_LARGE = 12, "the value is too far from the one before";
    pub TOO_OFTEN = 13, "more commands than the limit admits";
    pub BAD_TIME = 14, "the times are over, in the wrong order or too far away";
    pub OUTSIDE_WINDOWS = 15, "the command's time does not lie within one of the limit's windows";
    pub TOO_MANY_OPEN = 16, "the device has as many open commands as it may have";
    pub UNKNOWN_COMMAND = 17, "there is no such command";
    pub NOT_PROPOSED = 18, "the command does not wait for approval";
    pub NOT_READY = 19, "the command was not approved";
    pub CLOSED = 20, "the command is closed";
    pub WITHDRAWN = 21, "who proposed or approved it is no operator any more";
    pub EXPIRED = 22, "its time is over";
    pub STOPPED = 23, "an emergency stop holds, or came after the command";
    pub NOT_STOPPED = 24, "this emergency stop does not hold";
    pub NOT_METER = 25, "the sender is no meter";
    pub NOT_NEWER = 26, "the reading is not newer than the last by ten seconds";
    pub UNKNOWN_CORRECTION = 27, "there is no such correction, or it was approved before";
    pub BAD_CORRECTION = 28, "the correction would leave a day below nothing, or beyond its range";
    pub BAD_LIMIT = 29, "a limit or a meter's rule with a field out of its range";
    pub BAD_NAME = 30, "a name is empty";
    pub TOO_MANY = 31, "the list is empty or too long";
    pub NO_OFFSET = 32, "the zone's table does not reach this time";
    pub BAD_ZONE = 33, "the zone's table is out of order or has a wrong offset";
}
