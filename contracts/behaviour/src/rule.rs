//! Rules on what telemetry says, by the name of the record. A rule is an array,
//! null where it says nothing:
//!
//! ```text
//! [name, unit, least, most, change a minute, texts, next, bool, weight, theft]
//! ```
//!
//! name: the record's name or what it ends in, after one of - : . / _; least,
//! most and change: numbers; texts: the texts that may be told, or an empty array
//! where any may, but the one before must stay; next: for each of them the texts,
//! by their place, that may follow it; bool: what must be told;
//! weight: what breaking it adds to the score, 0 for what the kind of finding
//! does; theft: it is a sign of theft.

use crate::codes::*;
use postern::cbor::{Cursor, Decimal, Kind, Reader};
use postern::Abort;

/// How many rules a profile may have.
pub const MAX_RULES: usize = 32;
/// Bytes of all rules: one value of the state holds them.
const MAX_BYTES: usize = 12 << 10;
const MAX_NAME: usize = 64;
/// How many texts a rule may name.
pub const MAX_TEXTS: usize = 32;
const MAX_WEIGHT: u64 = 1_000_000;

/// A rule that was checked before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rule<'a> {
    pub name: &'a [u8],
    pub unit: Option<&'a [u8]>,
    pub least: Option<Decimal>,
    pub most: Option<Decimal>,
    pub change: Option<Decimal>,
    /// The texts as they are encoded.
    pub texts: Option<&'a [u8]>,
    next: Option<&'a [u8]>,
    pub bool: Option<bool>,
    pub weight: u64,
    pub theft: bool,
}

impl<'a> Rule<'a> {
    /// Whether the rule is about records of a name.
    pub fn concerns(&self, name: &[u8]) -> bool {
        name.ends_with(self.name)
            && match name[..name.len() - self.name.len()].last() {
                None => true,
                Some(c) => b"-:./_".contains(c),
            }
    }

    /// The place of a text among those that may be told.
    pub fn place(&self, text: &[u8]) -> Option<u64> {
        let mut c = Cursor::new(self.texts?);
        (0..c.uint()).find(|_| c.bytes() == text)
    }

    /// Whether any text may be told, but the one before must stay.
    pub fn stays(&self) -> bool {
        self.texts == Some(&[0x80])
    }

    /// Whether the text at one place may follow that at another.
    pub fn follows(&self, before: u64, after: u64) -> bool {
        if before == after || self.stays() {
            return before == after;
        }
        let mut c = match self.next {
            Some(next) => Cursor::new(next),
            None => return true,
        };
        if before >= c.uint() {
            return false;
        }
        (0..before).for_each(|_| c.skip());
        (0..c.uint()).any(|_| c.uint() == after)
    }

    fn read(c: &mut Cursor<'a>) -> Rule<'a> {
        c.uint();
        Rule {
            name: c.bytes(),
            unit: present(c).map(|mut c| c.bytes()),
            least: present(c).map(decimal),
            most: present(c).map(decimal),
            change: present(c).map(decimal),
            texts: present(c).map(|mut c| c.raw()),
            next: present(c).map(|mut c| c.raw()),
            bool: present(c).map(|mut c| c.bool()),
            weight: c.uint(),
            theft: c.bool(),
        }
    }
}

// A cursor at the item, None where it is null; steps over it.
fn present<'a>(c: &mut Cursor<'a>) -> Option<Cursor<'a>> {
    let item = c.raw();
    Some(Cursor::new(item)).filter(|_| item != [0xf6])
}

fn decimal(mut c: Cursor) -> Decimal {
    let mut head = c;
    if head.head().0 != 6 {
        return Decimal { exponent: 0, mantissa: c.int() };
    }
    c.uint();
    c.uint();
    Decimal { exponent: c.int(), mantissa: c.int() }
}

/// Reads encoded rules, which were checked before, and returns how many.
pub fn read<'a>(raw: &'a [u8], rules: &mut [Rule<'a>; MAX_RULES]) -> usize {
    let mut c = Cursor::new(raw);
    let count = if raw.is_empty() { 0 } else { (c.uint() as usize).min(MAX_RULES) };
    rules[..count].iter_mut().for_each(|rule| *rule = Rule::read(&mut c));
    count
}

/// Checks an encoded array of rules and returns how many there are.
#[inline(never)]
pub fn check(raw: &[u8]) -> Result<u64, Abort> {
    let mut r = Reader::new(raw);
    let count = r.array()?;
    if raw.len() > MAX_BYTES || count > MAX_RULES {
        return Err(TOO_LARGE);
    }
    for i in 0..count {
        check_rule(&mut r).map_err(|e| e.of_item(i))?;
    }
    Ok(count as u64)
}

fn check_rule(r: &mut Reader) -> Result<(), Abort> {
    r.array_of(10)?;
    let name = r.text()?;
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(BAD_NAME);
    }
    optional(r, |r| Ok(r.text().map(|_| ())?))?;
    let least = optional(r, |r| Ok(r.decimal()?))?;
    let most = optional(r, |r| Ok(r.decimal()?))?;
    let change = optional(r, |r| Ok(r.decimal()?))?;
    let reversed = matches!((least, most), (Some(least), Some(most)) if least > most);
    if reversed || change.map_or(false, |c| c.mantissa < 0) {
        return Err(BAD_RULE);
    }
    let texts = optional(r, check_texts)?;
    optional(r, |r| check_next(r, texts.ok_or(BAD_RULE)?))?;
    optional(r, |r| Ok(r.bool()?))?;
    r.uint_max(MAX_WEIGHT)?;
    r.bool()?;
    Ok(())
}

fn optional<'a, T>(r: &mut Reader<'a>, read: impl Fn(&mut Reader<'a>) -> Result<T, Abort>) -> Result<Option<T>, Abort> {
    if r.kind()? == Kind::Null {
        r.null()?;
        return Ok(None);
    }
    read(r).map(Some)
}

fn check_texts(r: &mut Reader) -> Result<usize, Abort> {
    let count = r.array()?;
    if count > MAX_TEXTS {
        return Err(BAD_RULE);
    }
    for _ in 0..count {
        r.text()?;
    }
    Ok(count)
}

fn check_next(r: &mut Reader, texts: usize) -> Result<(), Abort> {
    if r.array()? != texts {
        return Err(BAD_RULE);
    }
    for _ in 0..texts {
        for _ in 0..r.array()? {
            r.uint_max(texts as u64 - 1)?;
        }
    }
    Ok(())
}
