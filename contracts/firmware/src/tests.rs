//! Native tests: hostile bytes, shares, stages by time, on the SDK's fake host.
//! What a ledger makes of it, the steps in tests/ ask; the draft's examples, with
//! real signatures, the Go tests.

use crate::{codes, entries, suit};
use postern::cbor::Writer;
use postern::fake::{self, Deployed, DeviceRecord, NOTHING};
use postern::{encode, Bytes, Encode, Id, List};

const OWNER: [u8; 32] = [1; 32];
const MAKER: [u8; 32] = [2; 32];
const OPERATOR: [u8; 32] = [3; 32];
const KEY: [u8; 32] = [9; 32];
const VENDOR: [u8; 16] = [0xaa; 16];
const CLASS: [u8; 16] = [0xbb; 16];
const MINUTE: i64 = 60_000;

/// Encoded items, one after another, as one array.
struct Message(Vec<Vec<u8>>);

impl Encode for Message {
    fn encode(&self, w: &mut Writer) {
        w.array(self.0.len());
        for item in &self.0 {
            w.raw(item);
        }
    }
}

macro_rules! message {
    ($($item:expr),+) => { Message(vec![$(encode(&$item).to_vec()),+]) };
}

fn written(f: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::new(1024);
    f(&mut w);
    w.finish().unwrap().to_vec()
}

// A manifest with its head.
fn manifest(class: [u8; 16], sequence: u64, image: [u8; 32]) -> Vec<u8> {
    let digest = written(|w| {
        w.array(2).int(-16).bytes(&image);
    });
    let shared = written(|w| {
        w.array(6).uint(20).map(4).uint(1).bytes(&VENDOR).uint(2).bytes(&class).uint(3).bytes(&digest);
        w.uint(14).uint(7).uint(1).uint(15).uint(2).uint(15);
    });
    let common = written(|w| {
        w.map(2).uint(2).array(1).array(1).bytes(&[0]).uint(4).bytes(&shared);
    });
    let whole = written(|w| {
        w.map(4).uint(1).uint(1).uint(2).uint(sequence).uint(3).bytes(&common);
        w.uint(7).bytes(&[0x82, 3, 15]);
    });
    written(|w| {
        w.bytes(&whole);
    })
}

// An envelope whose one signature the host is told to accept.
fn envelope(sequence: u64, image: [u8; 32]) -> (Vec<u8>, [u8; 32]) {
    envelope_of(CLASS, sequence, image)
}

fn envelope_of(class: [u8; 16], sequence: u64, image: [u8; 32]) -> (Vec<u8>, [u8; 32]) {
    let manifest = manifest(class, sequence, image);
    let digest = postern::sha256(&manifest);
    let payload = written(|w| {
        w.array(2).int(-16).bytes(&digest);
    });
    let protected = [0xa1, 1, 0x27];
    let signed = encode(&("Signature1", Bytes(&protected), Bytes(&[]), Bytes(&payload))).to_vec();
    fake::with(|h| h.signatures.push((KEY.to_vec(), signed, vec![5; 64])));
    let block = written(|w| {
        w.tag(18).array(4).bytes(&protected).map(0).null().bytes(&[5; 64]);
    });
    let wrapper = written(|w| {
        w.array(2).bytes(&payload).bytes(&block);
    });
    let envelope = written(|w| {
        w.tag(107).map(2).uint(2).bytes(&wrapper).uint(3).raw(&manifest);
    });
    (envelope, digest)
}

fn check(envelope: &[u8]) -> Result<crate::manifest::Manifest, postern::Abort> {
    let keys: List<Bytes> = postern::decode(encode(&(Bytes(&KEY),))).unwrap();
    suit::check(envelope.to_vec().leak(), &keys)
}

#[test]
fn an_envelope_is_read() {
    fake::reset();
    let (envelope, digest) = envelope(4, [6; 32]);
    let m = check(&envelope).unwrap();
    assert_eq!((m.sequence, m.image.0, m.size, m.digest.0), (4, &[6; 32], 7, &digest));
}

#[test]
fn hostile_bytes_are_refused_without_a_panic() {
    fake::reset();
    let (envelope, _) = envelope(4, [6; 32]);
    let mut seed = 7u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    for _ in 0..20_000 {
        let mut bytes = envelope.clone();
        for _ in 0..1 + random() % 4 {
            let at = random() % bytes.len();
            match random() % 3 {
                0 => bytes[at] = random() as u8,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, random() as u8),
            }
        }
        assert!(bytes == envelope || check(&bytes).is_err());
    }
}

#[test]
fn sequences_stand_hostile_bytes() {
    fake::reset();
    let mut seed = 3u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u8
    };
    for _ in 0..50_000 {
        let bytes: Vec<u8> = (0..random() % 24).map(|i| if i == 0 { 0x80 | random() & 15 } else { random() & 0x9f }).collect();
        let mut found = Default::default();
        let _ = crate::sequence::read(bytes.leak(), crate::sequence::Place::Other, &mut found);
    }
}

// A line with a maker, an operator and a key, and ten devices of the owner's.
fn deployed() -> Deployed {
    fake::reset();
    fake::with(|h| {
        h.time = 1_000 * MINUTE;
        for i in 0..10 {
            h.devices.insert([0x70 + i; 32], DeviceRecord::of(OWNER));
        }
    });
    let c = fake::deploy("firmware", OWNER, entries(), &NOTHING).unwrap();
    line(c, "cam", CLASS);
    c
}

fn line(c: Deployed, name: &str, class: [u8; 16]) {
    let none = None::<&str>;
    c.execute(&message!(1u8, name, Bytes(&VENDOR), Bytes(&class), (Bytes(&[0]),), 1u8, 1u8, 1u8, none, none)).unwrap();
    c.execute(&message!(2u8, name, Bytes(&MAKER), 1u8)).unwrap();
    c.execute(&message!(2u8, name, Bytes(&OPERATOR), 2u8)).unwrap();
    c.execute(&message!(3u8, name, Bytes(&KEY))).unwrap();
    c.execute(&message!(5u8, name, Bytes(&OWNER), true)).unwrap();
}

// Proposes, approves and rolls a release out in stages of so many per cent,
// each held for so many ms.
fn rolled(c: Deployed, sequence: u64, stages: &[(u8, u64)]) {
    rolled_on(c, "cam", CLASS, sequence, stages);
}

fn rolled_on(c: Deployed, line: &str, class: [u8; 16], sequence: u64, stages: &[(u8, u64)]) {
    let (envelope, digest) = envelope_of(class, sequence, [sequence as u8; 32]);
    let uri = None::<&str>;
    c.by(MAKER).execute(&message!(6u8, line, Bytes(&envelope), (Bytes(&KEY),), "1", uri, ())).unwrap();
    c.by(OPERATOR).execute(&message!(7u8, line, sequence, Bytes(&digest))).unwrap();
    let stages: Vec<_> = stages.iter().map(|&(percent, hold)| (percent, None::<&str>, Some(hold))).collect();
    c.by(OPERATOR).execute(&message!(9u8, line, sequence, &stages[..], 500u16, 4u32)).unwrap();
}

fn confirm(c: Deployed, device: u8, sequence: u64, result: u16) -> Result<fake::Output, fake::Failure> {
    c.by([0x70 + device; 32]).execute(&message!(14u8, "cam", sequence, Bytes(&[sequence as u8; 32]), result))
}

fn pass(ms: i64) {
    fake::advance(ms).into_iter().for_each(|r| drop(r.unwrap()));
}

#[test]
fn stages_begin_by_time_to_the_last() {
    let c = deployed();
    rolled(c, 1, &[(0, 1), (10, 1), (50, 1), (100, 1)]);
    for stage in 1..4u8 {
        pass(MINUTE);
        assert_eq!(c.event::<(&str, u64, u8)>("staged"), ("cam", 1, stage));
    }
    pass(10 * MINUTE);
    assert_eq!(c.topics().iter().filter(|t| *t == "staged").count(), 4);
    assert!(fake::with(|h| h.timers.is_empty()), "an idle contract sets no timer");
}

// Lines whose stages begin in the same moment: no call of the timer may begin
// more scans than a call has, or no stage would ever begin again.
#[test]
fn many_lines_are_due_together() {
    let c = deployed();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    for (i, name) in names.iter().enumerate() {
        line(c, name, [i as u8 + 1; 16]);
        rolled_on(c, name, [i as u8 + 1; 16], 1, &[(0, MINUTE as u64), (50, MINUTE as u64), (100, 1)]);
    }
    (0..40).for_each(|_| pass(MINUTE / 10));
    let last = c.topics().iter().filter(|t| *t == "staged").count();
    assert_eq!(last, 3 * names.len());
}

#[test]
fn errors_stop_a_roll_out_only_above_rate_and_count() {
    let c = deployed();
    rolled(c, 1, &[(100, 1)]);
    for device in 0..2 {
        confirm(c, device, 1, 0).unwrap();
    }
    for device in 2..4 {
        confirm(c, device, 1, 1).unwrap();
    }
    assert!(!c.topics().contains(&"stopped".into()), "half of four are not more than half");
    confirm(c, 4, 1, 1).unwrap();
    assert_eq!(c.event::<(&str, u64, &str)>("stopped"), ("cam", 1, "error-rate"));
    // Further voices stop nothing twice.
    confirm(c, 5, 1, 1).unwrap();
    assert_eq!(c.topics().iter().filter(|t| *t == "stopped").count(), 1);
}

#[test]
fn a_device_keeps_a_history_of_bounded_length() {
    let c = deployed();
    rolled(c, 1, &[(100, 1)]);
    for i in 0..300u16 {
        confirm(c, 0, 1, i + 1).unwrap();
    }
    let kept = c.state().keys().filter(|k| k.starts_with(b"history/")).count();
    assert_eq!(kept, 256);
    assert!(confirm(c, 0, 1, 300).unwrap_err().is(codes::ALREADY_CONFIRMED));
}

#[test]
fn ever_earlier_stages_do_not_pile_up_timers() {
    let c = deployed();
    rolled(c, 1, &[(1, 3_000_000_000 / 2), (100, 1)]);
    for _ in 0..100 {
        c.by(OPERATOR).execute(&message!(11u8, "cam", 1u64, "look")).unwrap();
        c.by(OPERATOR).execute(&message!(12u8, "cam", 1u64)).unwrap();
        pass(1);
    }
    assert!(fake::with(|h| h.timers.len()) <= 200);
    assert_eq!(c.state().keys().filter(|k| k.starts_with(b"due/")).count(), 1);
}

#[test]
fn shares_are_even() {
    fake::reset();
    let manifest = Id::keep(&[4; 32]);
    let mut counts = [0; 100];
    for i in 0..20_000u32 {
        let device = Id::keep(&postern::sha256(&i.to_be_bytes()));
        counts[crate::rollout::share(&manifest, &device) as usize] += 1;
    }
    assert!(counts.iter().all(|&n| (130..270).contains(&n)), "{:?}", counts);
}
