use super::*;
use crate::{fake, Bytes};
use core::fmt::Debug;

fn encoded<K: Key>(key: &K, last: bool) -> Vec<u8> {
    let mut buf = KeyBuf::new("");
    key.append(&mut buf, last);
    buf.bytes().to_vec()
}

/// Keys in ascending order: so are their encodings, and they are read back.
fn ordered<K: Key + PartialEq + Debug>(keys: &[K]) {
    for last in [true, false] {
        for pair in keys.windows(2) {
            assert!(encoded(&pair[0], last) < encoded(&pair[1], last), "{:?}", pair);
        }
        for key in keys {
            let mut r = KeyReader { rest: encoded(key, last).leak() };
            assert_eq!(K::read(&mut r, last).as_ref(), Some(key));
            assert!(r.rest.is_empty());
        }
    }
}

#[test]
fn encodings_are_ordered_as_keys_are() {
    ordered(&[0u8, 1, 255]);
    ordered(&[0u32, 1, 255, 256, u32::MAX]);
    ordered(&[0u64, 255, 256, 1 << 40, u64::MAX]);
    ordered(&[i64::MIN, -256, -1, 0, 1, 255, 256, i64::MAX]);
    ordered(&[i32::MIN, -1, 0, i32::MAX]);
    ordered(&[false, true]);
    ordered(&[[0u8, 1], [1, 0]]);
    ordered(&["", "\0", "\0\0", "\0a", "a", "a\0", "a\0b", "ab", "b", "ä"]);
    ordered(&[Bytes(&[]), Bytes(&[0]), Bytes(&[0, 255]), Bytes(&[1]), Bytes(&[255, 255])]);
    ordered(&[("", 1u8), ("a", 0), ("a", 1), ("a\0", 0), ("aa", 0)]);
    ordered(&[("a", "", -1i64), ("a", "b", -2), ("a", "b\0", -3), ("a", "c", 0), ("b", "", 0)]);
}

#[test]
fn stored_keys_of_another_form_are_refused() {
    let text = |b: &'static [u8]| <(&str, u8)>::read(&mut KeyReader { rest: b }, true);
    assert_eq!(text(b"a\0\0\x05"), Some(("a", 5)));
    for wrong in [&b"a"[..], b"a\0", b"a\0\0", b"a\0\x01\0\0\x05", b"\xff\0\0\x05"] {
        assert_eq!(text(wrong), None, "{:x?}", wrong);
    }
    assert_eq!(bool::read(&mut KeyReader { rest: &[2] }, true), None);
    assert_eq!(u32::read(&mut KeyReader { rest: &[0, 0, 1] }, true), None);
}

const ITEM: Item<u64> = Item::new("item");
const MAP: Map<(u16, &str), i64> = Map::new("map/");

#[test]
fn items_hold_one_value() {
    fake::reset();
    assert_eq!((ITEM.get(), ITEM.exists()), (Ok(None), false));
    assert_eq!(ITEM.load().unwrap_err().code(), MISSING);
    ITEM.set(&5);
    assert_eq!((ITEM.load(), ITEM.exists()), (Ok(5), true));
    fake::with(|h| h.state.insert(b"item".to_vec(), vec![0x20]));
    assert_eq!(ITEM.get().unwrap_err().code(), CORRUPT);
    ITEM.delete();
    assert_eq!(ITEM.get(), Ok(None));
}

fn keys(entries: Entries<(u16, &'static str), i64>) -> Vec<(u16, &'static str)> {
    entries.map(|e| e.unwrap().0).collect()
}

#[test]
fn maps_are_walked_in_order() {
    fake::reset();
    let all = [(1, "a"), (1, "b"), (2, ""), (256, "z")];
    for (i, key) in all.iter().enumerate().rev() {
        MAP.set(key, &(i as i64));
    }
    ITEM.set(&1);
    assert_eq!(keys(MAP.iter()), all);
    assert_eq!(keys(MAP.iter_from(&(1, "aa"))), all[1..]);
    assert_eq!(keys(MAP.iter_of(&1u16)), all[..2]);
    assert_eq!(MAP.iter().take(2).map(|e| e.unwrap().1).sum::<i64>(), 1);
    MAP.delete(&(2, ""));
    assert_eq!((MAP.has(&(2, "")), MAP.has(&(1, "a")), MAP.get(&(256, "z"))), (false, true, Ok(Some(3))));
}

#[test]
fn walking_meets_what_is_not_of_its_type() {
    fake::reset();
    MAP.set(&(1, "a"), &1);
    fake::with(|h| h.state.insert(b"map/\0".to_vec(), vec![0]));
    let codes: Vec<_> = MAP.iter().map(|e| e.map_or_else(|a| a.code(), |_| 0)).collect();
    assert_eq!(codes, [CORRUPT, 0]);
}

#[test]
fn a_key_that_is_too_long_reaches_the_host_as_such() {
    let long: &'static str = Box::leak("x".repeat(300).into_boxed_str());
    let map: Map<&str, u8> = Map::new("m/");
    assert_eq!(map.key(&long).bytes().len(), MAX_KEY + 1);
    assert_eq!(map.key(&&long[..254]).bytes().len(), MAX_KEY);
}

// Keys that a hostile state holds never panic; what is read back is written to
// the same bytes.
fn read_back<K: Key + Ord + Clone>(b: &'static [u8], seen: &mut Vec<(K, &'static [u8])>) {
    let mut r = KeyReader { rest: b };
    if let Some(key) = K::read(&mut r, true).filter(|_| r.rest.is_empty()) {
        let mut again = KeyBuf::new("");
        key.append(&mut again, true);
        assert_eq!(again.bytes(), b);
        seen.push((key, b));
    }
}

fn harass<K: Key + Ord + Clone>(seed: u64, valid: &[K]) {
    let mut random = crate::hostile_tests::Random(seed);
    let mut seen: Vec<(K, &[u8])> = vec![];
    for _ in 0..5_000 {
        let mut key = KeyBuf::new("");
        valid[random.below(valid.len())].append(&mut key, true);
        read_back(random.mutated(key.bytes()).leak(), &mut seen);
        read_back(random.bytes(24).leak(), &mut seen);
    }
    assert!(seen.len() > 100, "{} keys were read", seen.len());
    for (a, b) in seen.iter().zip(&seen[1..]) {
        assert_eq!(a.0.cmp(&b.0), a.1.cmp(b.1), "keys sort as their types do");
    }
}

#[test]
fn keys_stand_hostile_bytes() {
    let bytes = crate::Bytes(b"\0\xff\0\0a");
    harass(1, &[(1u8, true), (255, false)]);
    harass(2, &[("a\0b", "c\0"), ("", "")]);
    harass(3, &[(bytes, -1i64), (crate::Bytes(b""), i64::MIN)]);
    harass(4, &[(bytes, "x", bytes), (bytes, "", crate::Bytes(b""))]);
    harass(5, &[(("a", 1u16), ("\0", 2u32))]);
}
