//! Short codes and sets of them: the fields of a data set and the purposes of
//! a contract are lists of at most 32 codes, and whatever is granted is a set of
//! bits over one.

use crate::codes::*;
use postern::{List, Text};

/// How many codes a list has at most: one for each bit of a set.
pub const MAX_CODES: usize = 32;
/// Bytes of the longest code.
pub const MAX_CODE: usize = 24;
/// Bytes of a data set's longest name.
pub const MAX_NAME: usize = 64;

pub type Code = Text<'static, MAX_CODE>;
pub type Name = Text<'static, MAX_NAME>;
pub type Codes = List<'static, Code>;

/// Whether a text is 1 or more of a-z, 0-9, '-', '.' and '_'.
pub fn is_code(text: &str) -> bool {
    let known = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-._".contains(&c);
    !text.is_empty() && text.bytes().all(known)
}

/// Refuses a text that is no code.
pub fn require_code(text: &str) {
    must(is_code(text), &BAD_CODE);
}

/// Refuses a list of which no set can be made.
pub fn require_codes(list: &Codes) {
    let all = Read::of(list);
    for (i, code) in all.codes().iter().enumerate() {
        must(is_code(code) && !all.codes()[..i].contains(code), &BAD_CODE);
    }
}

/// A list that was read once, to be looked into often.
struct Read {
    codes: [&'static str; MAX_CODES],
    count: usize,
}

impl Read {
    fn of(list: &Codes) -> Read {
        let count = list.len();
        must((1..=MAX_CODES).contains(&count), &TOO_MANY);
        let mut read = Read { codes: [""; MAX_CODES], count };
        for (slot, code) in read.codes.iter_mut().zip(list.iter()) {
            *slot = sound(code).as_str();
        }
        read
    }

    fn codes(&self) -> &[&'static str] {
        self.codes.get(..self.count).unwrap_or_default()
    }

    fn bit(&self, wanted: &str) -> Option<u32> {
        self.codes().iter().position(|code| *code == wanted).map(|bit| 1 << bit)
    }
}

/// The set of some codes; None where one is not known.
pub fn set(known: &Codes, wanted: &Codes) -> Option<u32> {
    let (known, wanted) = (Read::of(known), Read::of(wanted));
    wanted.codes().iter().try_fold(0, |set, code| Some(set | known.bit(code)?))
}

/// The set of one code; None where it is not known.
pub fn bit(known: &Codes, wanted: &str) -> Option<u32> {
    Read::of(known).bit(wanted)
}

/// The set of codes that must be known.
pub fn set_of(known: &Codes, wanted: &Codes) -> u32 {
    there(set(known, wanted), &UNKNOWN_CODE)
}

/// Whether a set holds all of another.
pub fn covers(set: u32, other: u32) -> bool {
    set & other == other
}
