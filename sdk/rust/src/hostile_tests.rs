//! Hostile bytes against everything that reads a message: random ones, and
//! valid messages with bytes changed. No reader panics, and what it takes has
//! one encoding, which is what it read. Seeded, so that a failure repeats.

use crate::cbor::Decimal;
use crate::codec::{decode, encode, Bytes, Decode, Encode, Hash, List, Raw, Text};
use crate::{choice, record, DecisionRequest};
use std::fmt::Debug;

const ROUNDS: usize = 20_000;

/// A generator of pseudo-random numbers: splitmix64.
pub(crate) struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A byte, mostly one that means something to CBOR or to a key.
    fn byte(&mut self) -> u8 {
        const TELLING: [u8; 16] = [0, 1, 2, 0x18, 0x1b, 0x20, 0x40, 0x61, 0x81, 0x82, 0xa1, 0xc4, 0xf4, 0xf6, 0xff, b'a'];
        match self.below(3) {
            0 => self.next() as u8,
            _ => TELLING[self.below(TELLING.len())],
        }
    }

    pub(crate) fn bytes(&mut self, max: usize) -> Vec<u8> {
        (0..self.below(max + 1)).map(|_| self.byte()).collect()
    }

    /// The same bytes with a few changed, added, taken away or said again.
    pub(crate) fn mutated(&mut self, valid: &[u8]) -> Vec<u8> {
        let mut b = valid.to_vec();
        for _ in 0..1 + self.below(3) {
            let at = self.below(b.len() + 1);
            match self.below(5) {
                0 if at < b.len() => b[at] ^= 1 << self.below(8),
                1 if at < b.len() => b[at] = self.byte(),
                2 if at < b.len() => drop(b.remove(at)),
                3 => b.truncate(at),
                4 => b.extend_from_within(at..),
                _ => b.insert(at, self.byte()),
            }
        }
        b
    }
}

record! {
    struct Inner {
        1 => id: Hash,
        2 => note: Option<Text<'static, 8>>,
        9 => amount: Option<Decimal>,
    }
}

record! {
    struct Outer {
        0 => a: u8,
        1 => b: Option<i32>,
        5 => name: &'static str,
        24 => inner: Inner,
        25 => list: Option<List<'static, Inner>>,
        300 => rest: Option<Raw<'static>>,
    }
}

choice! {
    enum Message {
        1 => Nothing,
        2 => Numbers { a: u8, b: u16, c: u32, d: u64, e: i32, f: i64 },
        3 => Texts { short: Text<'static, 3>, long: &'static str, bytes: Bytes<'static>, four: [u8; 4] },
        24 => Whole { outer: Outer, truth: bool },
        256 => Tuple { pair: (u8, Option<bool>), triple: ((), (u64,), Decimal), maybe: Option<Inner> },
    }
}

fn outer() -> Outer {
    let inner = Inner { id: [7; 32], note: Text::new("é"), amount: Some(Decimal { exponent: -2, mantissa: 15 }) };
    let list = decode(encode(&[inner, Inner { note: None, ..inner }][..])).unwrap();
    Outer { a: 1, b: Some(-300), name: "n", inner, list: Some(list), rest: Some(Raw(&[0x82, 1, 0xa1, 0x61, b'k', 0xf6])) }
}

fn messages() -> Vec<Message> {
    let inner = outer().inner;
    vec![
        Message::Nothing,
        Message::Numbers { a: 255, b: 256, c: 1 << 16, d: u64::MAX, e: i32::MIN, f: i64::MIN },
        Message::Texts { short: Text::new("abc").unwrap(), long: "\u{10ffff}", bytes: Bytes(&[0, 255]), four: [1, 2, 3, 4] },
        Message::Whole { outer: outer(), truth: true },
        Message::Tuple { pair: (24, None), triple: ((), (23,), Decimal { exponent: 0, mantissa: -1 }), maybe: Some(inner) },
    ]
}

// Reads bytes, which must not panic; tells whether they were taken. What was
// taken must encode to the same bytes.
fn taken<T: Decode<'static> + Encode + Debug>(b: &[u8]) -> bool {
    let value = decode::<T>(b.to_vec().leak());
    if let Ok(value) = &value {
        assert_eq!(encode(value), b, "{:?}", value);
    }
    value.is_ok()
}

// Plays valid messages of a type, changed and unchanged, and random bytes.
fn harass<T: Decode<'static> + Encode + Debug>(seed: u64, valid: &[T]) {
    let mut random = Random(seed);
    let (mut accepted, mut refused) = (0, 0);
    for value in valid {
        assert!(taken::<T>(encode(value)), "{:?}", value);
    }
    for _ in 0..ROUNDS {
        let at = random.below(valid.len());
        for b in [random.mutated(encode(&valid[at])), random.bytes(40)] {
            if taken::<T>(&b) {
                accepted += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert!(accepted > 10 && refused > 10, "{} were taken, {} refused", accepted, refused);
}

#[test]
fn messages_stand_hostile_bytes() {
    harass(1, &messages());
}

#[test]
fn records_stand_hostile_bytes() {
    harass(2, &[outer(), Outer { b: None, list: None, rest: None, ..outer() }]);
}

#[test]
fn single_values_stand_hostile_bytes() {
    harass(3, &[Text::<5>::new("abcde").unwrap()]);
    harass(4, &[(1u8, "a", Bytes(b"b"), Some(true)), (255, "", Bytes(b""), None)]);
    harass(5, &[Decimal { exponent: -18, mantissa: i64::MIN + 1 }, Decimal { exponent: 0, mantissa: 10 }]);
    harass(6, &[Raw(&[0xa2, 1, 0x80, 0x61, b'a', 0xc4, 0x82, 0x20, 1])]);
}

// A list is checked item by item, also when its items are of another type.
#[test]
fn lists_stand_items_of_other_types() {
    let mut random = Random(7);
    let valid = encode(outer().list.as_ref().unwrap());
    let mut items = [0, 0];
    for _ in 0..ROUNDS {
        let b = random.mutated(valid).leak();
        if let Ok(list) = decode::<List<Inner>>(b) {
            assert_eq!(list.iter().count(), list.len());
            list.iter().for_each(|item| items[item.is_ok() as usize] += 1);
        }
    }
    assert!(items[0] > 100 && items[1] > 100, "{:?}", items);
}

// A decision request is read lazily: what its parser takes, all its parts are
// there to be looked at.
#[test]
fn decision_requests_stand_hostile_bytes() {
    let mut random = Random(8);
    // {1: {1: "user", 2: "u"}, 2: {1: "open"}, 3: {1: "door", 2: "d", 3: {"k": 1}}, 4: {}}
    let valid = b"\xa4\x01\xa2\x01\x64user\x02\x61u\x02\xa1\x01\x64open\x03\xa3\x01\x64door\x02\x61d\x03\xa1\x61k\x01\x04\xa0";
    decode::<DecisionRequest>(valid).unwrap();
    let mut taken = 0;
    for _ in 0..ROUNDS {
        if let Ok(request) = decode::<DecisionRequest>(random.mutated(valid).leak()) {
            taken += 1;
            let _ = format!("{:?}", request);
        }
    }
    assert!(taken > 100, "{} were taken", taken);
}
