//! Why the contract refuses. Codes stand in outcomes and never change their
//! meaning; README.md and schema.json hold the same table. Code 1 is the SDK's,
//! for malformed CBOR.

postern::refusals! {
    pub NESTED = 2, "another contract, or evidence, may not act in its signer's name";
    pub NOT_OWNER = 3, "only the contract's owner may do this";
    pub NOT_OFFICE = 4, "the sender is not the school's office";
    pub NOT_TEACHER = 5, "the sender does not teach the class";
    pub NOT_PARENT = 6, "the sender may not act for this pupil";
    pub NOT_READER = 7, "the sender is no reader of the school";
    pub NOT_ACTIVE = 8, "the device is not enrolled, or not active";
    pub UNKNOWN_CLASS = 9, "there is no such class";
    pub UNKNOWN_PUPIL = 10, "there is no such pupil, or it is in no class";
    pub CLASS_FULL = 11, "the class has as many pupils as it may have";
    pub BAD_NAME = 12, "a class's name is empty";
    pub BAD_HOURS = 13, "hours with days or minutes out of their range";
    pub BAD_TIME = 14, "a time or day is too far away, in the wrong order or outside of the term";
    pub NO_TERM = 15, "there is no term yet";
    pub BAD_TERM = 16, "the term ends before it begins, lasts longer than a year or is an earlier one";
    pub NOT_PAST = 17, "the term is not past";
    pub TOO_MANY = 18, "the list is empty or too long";
    pub TOO_LONG = 19, "the text is too long";
    pub UNKNOWN_HOMEWORK = 20, "the pupil's class has no such homework";
    pub NOT_HANDED_IN = 21, "the homework was not handed in";
    pub CONFIRMED = 22, "the homework was confirmed before";
    pub TOO_MANY_POINTS = 23, "more points than one may give at once";
    pub UNKNOWN_REWARD = 24, "there is no such reward";
    pub TOO_FEW_POINTS = 25, "the pupil has not so many points";
    pub BAD_ZONE = 26, "the zone's table is out of order or has a wrong offset";
}
