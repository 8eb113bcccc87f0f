//! Native tests: the parts, and the contract on the SDK's fake host. What its
//! Wasm does with real traffic, the Go tests ask.

use crate::finding::KINDS;
use crate::page::{self, Bucket};
use crate::profile::Settings;
use crate::record::{Record, Tracked};
use crate::{codes, entries, hours};
use postern::cbor::{Decimal, Writer};
use postern::fake::{self, Deployed, DeviceRecord, NOTHING};
use postern::{encode, Judgement, Level, Observation, ObservationKind, Raw, Status};

const OWNER: [u8; 32] = [1; 32];
const DEVICE: [u8; 32] = [7; 32];
const DAY: i64 = 24 * 3_600_000;

fn settings(half_life: u64, bytes: u64) -> Settings<'static> {
    let none: &[u8] = &[];
    let body = {
        let mut w = Writer::new(256);
        w.array(7).text("").uint(48).uint(0).uint(0).array(0);
        w.array(10).uint(0).uint(10).uint(50).uint(100).uint(half_life).uint(0).uint(bytes).uint(0);
        w.array(KINDS);
        (0..KINDS).for_each(|_| {
            w.uint(10);
        });
        w.null().array(0).raw(none);
        w.finish().unwrap()
    };
    crate::profile::Profile::of(body).settings
}

#[test]
fn scores_halve_in_a_line() {
    let s = settings(1000, 0);
    let mut record = Record::read(None);
    record.age(0, &s);
    record.add(100, 8);
    let mut seen = vec![];
    for _ in 0..5 {
        record.age(record.time + 500, &s);
        seen.push(record.score / 1024);
    }
    assert_eq!(seen, [75, 56, 42, 31, 23], "each step loses a quarter");
    record.age(record.time + 64_000, &s);
    assert_eq!((record.score, record.theft), (0, 0));
    record.add(u64::MAX, u64::MAX);
    record.add(u64::MAX, 1);
    record.age(i64::MAX, &s);
    assert_eq!(record.score, 0);
}

#[test]
fn records_are_read_back() {
    let s = settings(1000, 3_600_000);
    let mut record = Record::read(None);
    record.age(5_000, &s);
    record.add(7, 3);
    assert!(!record.report(2) && !record.transfer(10, 3_600_000));
    record.evidence = 4_000;
    for i in 0..70 {
        let value = Decimal { exponent: -2, mantissa: i - 35 };
        record.follow(Tracked { id: i as u64, time: 1_000 + i, value, place: 1 });
    }
    let encoded = record.encode();
    assert!(encoded.len() < postern::MAX_LOCAL);
    let mut back = Record::read(Some(encoded));
    assert_eq!((back.time, back.score, back.theft, back.last, back.evidence), (5_000, 7 * 1024, 3 * 1024, 5_000, 4_000));
    assert_eq!(back.encode(), encoded);
    // The oldest gave way, and the newest are known.
    let known = back.follow(Tracked { id: 69, ..Tracked::default() }).unwrap();
    assert_eq!((known.time, known.value), (1_069, Decimal { exponent: -2, mantissa: 34 }));
    assert_eq!(back.follow(Tracked { id: 0, time: 9_999, ..Tracked::default() }), None);
}

#[test]
fn other_records_are_as_none() {
    for raw in [&b""[..], b"\x80", b"\xff\xff", b"\x98\xff", b"\x88\x1b\xff\xff\xff\xff\xff\xff\xff\xff"] {
        let mut record = Record::read(Some(raw));
        record.age(1, &settings(1, 1));
        record.add(1, 1);
        assert!(record.encode().len() < postern::MAX_LOCAL);
    }
}

#[test]
fn networks_hold_addresses() {
    let holds = |network: &[u8], bits, address: &[u8]| page::contains(network, bits, address);
    assert!(holds(&[10, 0, 0, 0], 8, &[10, 255, 1, 1]) && !holds(&[10, 0, 0, 0], 8, &[11, 0, 0, 0]));
    assert!(holds(&[172, 16, 0, 0], 12, &[172, 31, 1, 1]) && !holds(&[172, 16, 0, 0], 12, &[172, 32, 0, 0]));
    assert!(holds(&[0; 4], 0, &[255; 4]) && !holds(&[0; 4], 0, &[0; 16]));
    assert!(holds(&[1, 2, 3, 4], 32, &[1, 2, 3, 4]) && !holds(&[1, 2, 3, 4], 32, &[1, 2, 3, 5]));
    assert!(holds(&[0xff; 16], 128, &[0xff; 16]));
}

#[test]
fn pages_stand_hostile_bytes() {
    let mut seed = 7u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u8
    };
    for _ in 0..50_000 {
        let page: Vec<u8> = (0..random() % 40).map(|_| random() & [0x0f, 0xff][(random() & 1) as usize]).collect();
        let count = page::entries(&page).count();
        if let Ok(n) = page::check(&page, 0, 0, 32) {
            assert_eq!(n as usize, count);
        }
    }
}

#[test]
fn buckets_are_those_of_the_go_package() {
    assert_eq!(Bucket::Any.number(false, &[], 1023), 19);
    assert_eq!(Bucket::Name.number(true, &[b"api.example.com"], 1023), 608);
}

// Hours of every day from 22:00 to 06:00, an hour east of Greenwich.
fn night() -> &'static [u8] {
    let mut w = Writer::new(64);
    w.array(2).array(2).int(4_000_000_000).array(2).int(0).int(3600);
    w.array(1).array(3).uint(0x7f).uint(22 * 60).uint(6 * 60);
    w.finish().unwrap()
}

#[test]
fn hours_may_run_past_midnight() {
    hours::check(&mut postern::cbor::Reader::new(night())).unwrap();
    let outside = |hour: i64| hours::outside(night(), 20_000 * DAY + (hour - 1) * 3_600_000);
    assert!(!outside(22) && !outside(24) && !outside(29) && outside(30) && outside(21));
    assert!(!hours::outside(night(), -DAY), "before the table");
    assert!(!hours::outside(&[0xf6], 0));
}

// A profile that judges temperatures: [name, unit, least, most, …].
fn deployed() -> Deployed {
    fake::reset();
    fake::with(|h| {
        h.time = 100 * DAY;
        h.now = Some(100 * DAY);
        h.devices.insert(DEVICE, DeviceRecord::of(OWNER));
    });
    let c = fake::deploy("behaviour", OWNER, entries(), &NOTHING).unwrap();
    let mut body = Writer::new(512);
    body.array(7).text("").uint(48).uint(0).uint(0).array(0);
    body.array(10).uint(0).uint(10).uint(50).uint(30).uint(600_000).uint(0).uint(0).uint(60_000).array(KINDS);
    (0..KINDS).for_each(|_| {
        body.uint(10);
    });
    body.null().array(0);
    let body = body.finish().unwrap();
    c.execute(&(1u64, "it", 1u64, Raw(body))).unwrap();
    let mut rules = Writer::new(64);
    rules.array(1).array(10).text("temperature").null().int(-10).int(50);
    (0..4).for_each(|_| {
        rules.null();
    });
    rules.uint(0).bool(false);
    let receipt = c.execute(&(3u64, "it", 1u64, Raw(rules.finish().unwrap()))).unwrap();
    let (_, count, digest) = receipt.to::<(u64, u64, postern::Bytes)>();
    let activate = |count: u64| {
        let mut w = Writer::new(128);
        w.array(6).uint(4).text("it").uint(1).uint(0).uint(count).bytes(digest.0);
        c.execute(&Raw(w.finish().unwrap()))
    };
    assert!(activate(count + 1).unwrap_err().is(codes::INCOMPLETE));
    activate(count).unwrap();
    c.execute(&(6u64, postern::Bytes(&DEVICE), "it")).unwrap();
    c
}

fn temperature(value: i64) -> &'static [u8] {
    let mut w = Writer::new(64);
    w.array(1).map(2).uint(1).text("a:temperature").uint(4).int(value);
    w.finish().unwrap()
}

#[test]
fn a_gateway_keeps_its_own_record() {
    let c = deployed();
    let observe = |value, time: i64| {
        let o = Observation::new(ObservationKind::Telemetry, DEVICE, time, temperature(value));
        c.observe(&o).unwrap().to::<Judgement>()
    };
    let now = 100 * DAY;
    assert_eq!(observe(20, now), Judgement { timer: 60_000, ..Judgement::default() });
    let alert = observe(51, now);
    assert_eq!((alert.level, alert.score, alert.reason_id), (Level::Alert, 10, "value-out-of-range"));
    assert_eq!(alert.findings, encode(&("a:temperature = 51 is above its range",)));
    observe(51, now);
    assert_eq!(observe(-11, now).level, Level::Quarantine);
    assert_eq!(fake::with(|h| h.devices[&DEVICE].status), Status::Active, "a gateway alone touches no status");
    fake::with(|h| h.local.clear());
    assert_eq!(observe(51, now).score, 10);
}

#[test]
fn evidence_quarantines() {
    let c = deployed().by([9; 32]);
    let now = 100 * DAY;
    let evidence = |time| c.evidence(&Observation::new(ObservationKind::Telemetry, DEVICE, time, temperature(99)));
    evidence(now).unwrap();
    assert!(evidence(now).unwrap_err().is(codes::OLD_EVIDENCE));
    evidence(now + 1).unwrap();
    assert_eq!(fake::with(|h| h.devices[&DEVICE].status), Status::Active);
    let last = evidence(now + 2).unwrap().to::<Judgement>();
    assert_eq!((last.level, last.score, last.findings), (Level::Quarantine, 30, &[][..]));
    let device = fake::with(|h| h.devices[&DEVICE].clone());
    assert_eq!((device.status, &device.reason[..]), (Status::Quarantined, "behaviour: value-out-of-range"));
    assert_eq!(c.topics(), ["profile-activated", "judged", "judged", "judged"]);
}
