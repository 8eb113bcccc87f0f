use super::*;
use crate::{decode, encode};

#[test]
fn judgements_round_trip() {
    let full = Judgement {
        level: Level::Quarantine,
        score: -3,
        reason: 4,
        reason_id: "flow",
        timer: 60_000,
        findings: &[0x81, 0x61, b'x'],
    };
    for j in [full, Judgement { findings: &[], ..full }, Judgement::default()] {
        assert_eq!(decode(encode(&j)), Ok(j));
    }
    assert_eq!(decode::<Judgement>(&[0xa1, 1, 4]), Err(Error::Range));
    assert_eq!(decode::<Judgement>(&[0xa1, 6, 0x81, 1]), Err(Error::Kind));
}

fn observation(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut b = vec![0xa4, 1, kind, 2, 0x58, 32];
    b.extend([9; 32]);
    b.extend([3, 5, 4]);
    b.extend(payload);
    b
}

#[test]
fn items_are_read_until_the_first_error() {
    let b = observation(2, &[0x83, 0xa2, 1, 1, 3, 0x44, 10, 0, 0, 1, 0xa1, 1, 2, 0xa0]);
    let o: Observation = decode(&b).unwrap();
    let flows: Vec<Result<Flow, Error>> = o.items().collect();
    assert_eq!((o.len(), flows.len()), (3, 2));
    let first = flows[0].unwrap();
    assert_eq!((first.to_device, first.remote, first.ethertype), (true, &[10, 0, 0, 1][..], 0x0800));
    assert_eq!(flows[1], Err(Error::Range));
}

#[test]
fn what_is_left_over_is_an_error() {
    let silences = |payload: &[u8]| {
        let b = observation(3, payload).leak();
        decode::<Observation>(b).unwrap().items().collect::<Vec<Result<Silence, Error>>>()
    };
    assert_eq!(silences(&[0x81, 0xa1, 1, 7]), [Ok(Silence { last: 7 })]);
    assert_eq!(silences(&[0x81, 0xa1, 1, 7, 0]), [Ok(Silence { last: 7 }), Err(Error::Leftover)]);
    assert_eq!(silences(&[0x81, 0xa1, 1, 0x18, 7]), [Err(Error::Head)], "not canonical within");
    assert_eq!(silences(&[0x81]), []);
    assert_eq!(silences(&[0x80, 0x80]), [Err(Error::Leftover)]);
}

#[test]
fn flows_are_of_ip_or_of_a_type() {
    let flow = |b: &'static [u8]| decode::<Flow>(b).map(|f| f.ethertype);
    assert_eq!(flow(&[0xa1, 10, 0x19, 8, 6]), Ok(0x0806));
    assert_eq!(flow(&[0xa1, 1, 0]), Err(Error::Field), "neither");
    assert_eq!(flow(&[0xa1, 3, 0x43, 1, 2, 3]), Err(Error::Field), "an address of three bytes");
    assert_eq!(flow(&[0xa2, 3, 0x44, 1, 2, 3, 4, 10, 0x19, 0x86, 0xdd]), Err(Error::Field), "IPv6 from an IPv4 address");
    assert_eq!(flow(&[0xa1, 2, 0x19, 1, 0]), Err(Error::Range), "a protocol above 255");
}

#[test]
fn incomplete_observations_are_refused() {
    for kind in [0, 6, 23] {
        assert_eq!(decode::<Observation>(&observation(kind, &[0x80])), Err(Error::Field));
    }
    assert_eq!(decode::<Observation>(&observation(1, &[0xa0])), Err(Error::Field), "no array");
    assert_eq!(decode::<Observation>(&[0xa1, 1, 1]), Err(Error::Field));
}

#[test]
fn silence_and_denials() {
    assert_eq!(decode(&[0xa1, 1, 0x18, 40]), Ok(Silence { last: 40 }));
    assert!(decode::<Silence>(&[0xa0]).is_err() && decode::<Silence>(&[0xa1, 2, 5]).is_err());
    let d = Denial { domain: "d", code: 300, action: "a", resource: "r" };
    assert_eq!(decode(&[0xa4, 1, 0x61, b'd', 2, 0x19, 1, 0x2c, 3, 0x61, b'a', 4, 0x61, b'r']), Ok(d));
}

#[test]
fn decimals_compare_exactly() {
    let d = |mantissa, exponent| Decimal { mantissa, exponent };
    let ascending =
        [d(i64::MIN, 0), d(-5, 0), d(-1, -18), d(0, 0), d(1, -18), d(999_999_999_999_999_999, -18), d(1, 0), d(11, -1), d(i64::MAX, 0)];
    for pair in ascending.windows(2) {
        assert!(pair[0] < pair[1], "{:?}", pair);
    }
    assert_eq!(d(15, -1).scaled(), 1_500_000_000_000_000_000);
}

#[test]
fn hostile_observations_do_no_harm() {
    let mut random = crate::hostile_tests::Random(7);
    let seeds: [&[u8]; 4] = [
        &[0x81, 0xa3, 1, 0x61, b't', 4, 0xc4, 0x82, 0x20, 0x18, 0xd7, 6, 0xf5],
        &[0x81, 0xa4, 2, 6, 3, 0x44, 10, 0, 0, 1, 4, 0x19, 1, 0xbb, 8, 0x61, b'x'],
        &[0x81, 0xa1, 1, 7],
        &[0x81, 0xa2, 1, 0x61, b'd', 2, 1],
    ];
    for i in 0..20_000 {
        let message = random.mutated(&observation(1 + (i % 5) as u8, seeds[i % 4])).leak();
        if let Ok(o) = decode::<Observation>(message) {
            let _ = o.items::<Measurement>().map(|m| m.is_ok()).count() + o.items::<Flow>().map(|f| f.is_ok()).count();
            let _ = o.items::<Silence>().map(|m| m.is_ok()).count() + o.items::<Denial>().map(|f| f.is_ok()).count();
        }
    }
}
