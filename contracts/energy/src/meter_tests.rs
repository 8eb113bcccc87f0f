//! Native tests of meters and corrections.

use super::*;

fn readings(list_of: &[Reading]) -> Command {
    Command::Read { readings: list(list_of) }
}

fn day(it: &Deployed, number: i64) -> Day {
    let rows: List<(u32, Day)> =
        it.query(&Question::Days { meter: Id(&METER), from: number as u32, limit: 1 }).unwrap().to();
    let found = rows.iter().next().map(|row| row.unwrap());
    found.filter(|row| row.0 as i64 == number).map(|row| row.1).unwrap_or_default()
}

#[test]
fn readings_add_up_by_day() {
    let it = grid();
    let midnight = START - START % DAY + DAY;
    it.by(METER).execute(&readings(&[(START - HOUR, 100_000, None), (START, 105_000, Some(5_000))])).unwrap();
    fake::advance(3 * HOUR);
    it.by(METER).execute(&readings(&[(midnight - 10_000, 110_000, None), (midnight, 110_000, None)])).unwrap();
    it.by(METER).execute(&readings(&[(midnight + HOUR, 112_000, None)])).unwrap();
    let first = START / DAY;
    assert_eq!(day(&it, first), Day { energy: 10_000, readings: 3, flags: 0, corrected: 0 });
    refused(&it, METER, &readings(&[(midnight + HOUR + 9_999, 112_000, None)]), NOT_NEWER);
}

#[test]
fn nobody_writes_anothers_reading() {
    let it = grid();
    for who in [OWNER, ANNA, INVERTER, MALLORY] {
        refused(&it, who, &readings(&[(START, 1, None)]), NOT_METER);
    }
    fake::with(|h| h.devices.get_mut(&METER).unwrap().status = Status::Quarantined);
    refused(&it, METER, &readings(&[(START, 1, None)]), NOT_ACTIVE);
}

#[test]
fn doubtful_readings_are_told_and_not_counted() {
    let it = grid();
    let read = |at: i64, counter: u64, power: Option<i64>| {
        it.by(METER).execute(&readings(&[(at, counter, power)])).unwrap().to::<u64>()
    };
    fake::advance(40 * HOUR);
    assert_eq!(read(START, 50_000, None), 0);
    assert_eq!(read(START + HOUR, 61_001, None), 0, "11 kWh in an hour, and the last digit");
    assert_eq!(read(START + 2 * HOUR, 72_003, None), 1, "one more is too much");
    assert_eq!(it.event::<(Hash, u8, i64, u64)>("flagged"), (METER, meter::TOO_FAST, START + 2 * HOUR, 72_003));
    assert_eq!(read(START + 3 * HOUR, 61_000, None), 1);
    assert_eq!(it.event::<(Hash, u8, i64, u64)>("flagged").1, meter::ROLLBACK);
    assert_eq!(read(START + 4 * HOUR, 61_001, Some(11_001)), 1);
    assert_eq!(it.event::<(Hash, u8, i64, u64)>("flagged").1, meter::OUT_OF_RANGE);
    assert_eq!(read(START + 6 * HOUR + 1, 61_001, None), 1);
    assert_eq!(it.event::<(Hash, u8, i64, u64)>("flagged").1, meter::GAP);
    let last: Meter = it.query(&Question::Meter { meter: Id(&METER) }).unwrap().to::<Option<Meter>>().unwrap();
    assert_eq!((last.counter, last.flags), (61_001, 4));
    let flags: List<(u8, Flag)> = it.query(&Question::Flags { meter: Id(&METER), after: Some(1), limit: 64 }).unwrap().to();
    assert_eq!(
        flags.iter().map(|row| row.unwrap().1.kind).collect::<Vec<_>>(),
        [meter::ROLLBACK, meter::OUT_OF_RANGE, meter::GAP]
    );
    assert_eq!(day(&it, START / DAY).energy + day(&it, START / DAY + 1).energy, 11_001);
}

/// A meter that goes mad fills no state.
#[test]
fn flags_are_a_ring() {
    let it = grid();
    fake::advance(20 * DAY);
    it.by(METER).execute(&readings(&[(START, 9, None)])).unwrap();
    for i in 0..300 {
        it.by(METER).execute(&readings(&[(START + (i + 1) * 10_000, 1, None)])).unwrap();
    }
    assert_eq!(it.state().keys().filter(|k| k.starts_with(b"flag/")).count(), 256);
}

#[test]
fn readings_have_limits() {
    let it = grid();
    refused(&it, METER, &readings(&[]), TOO_MANY);
    refused(&it, METER, &readings(&[(START, 1, None); 25]), TOO_MANY);
    refused(&it, METER, &readings(&[(START + 120_001, 1, None)]), BAD_TIME);
    refused(&it, METER, &readings(&[(START - 32 * DAY - 1, 1, None)]), BAD_TIME);
    refused(&it, METER, &readings(&[(i64::MIN, 1, None)]), BAD_TIME);
    refused(&it, METER, &readings(&[(START, u64::MAX, None)]), BAD_LIMIT);
    it.by(METER).execute(&readings(&[(START, 1, Some(i64::MIN))])).unwrap();
    refused(&it, METER, &readings(&[(START, 1, None)]), NOT_NEWER);
    refused(&it, METER, &readings(&[(START - HOUR, 1, None)]), NOT_NEWER);
}

pub fn correction(energy: i64, counter: Option<u64>) -> Command {
    Command::ProposeCorrection {
        meter: Id(&METER),
        day: (START / DAY) as u32,
        energy,
        counter,
        reason: text("meter exchanged"),
    }
}

#[test]
fn two_persons_correct() {
    let it = grid();
    it.by(METER).execute(&readings(&[(START - HOUR, 1_000, None), (START, 2_000, None)])).unwrap();
    refused(&it, METER, &correction(1, None), NOT_OPERATOR);
    let n = propose(&it, ANNA, correction(-400, Some(7)));
    for who in [ANNA, ANNAS_OTHER] {
        refused(&it, who, &Command::ApproveCorrection { correction: n }, SAME_PERSON);
    }
    assert_eq!(day(&it, START / DAY).corrected, 0);
    it.by(BERT).execute(&Command::ApproveCorrection { correction: n }).unwrap();
    assert_eq!(day(&it, START / DAY), Day { energy: 1_000, readings: 2, flags: 0, corrected: -400 });
    refused(&it, BERT, &Command::ApproveCorrection { correction: n }, UNKNOWN_CORRECTION);
    let too_much = propose(&it, ANNA, correction(-601, None));
    refused(&it, BERT, &Command::ApproveCorrection { correction: too_much }, BAD_CORRECTION);
    fake::advance(HOUR);
    assert_eq!(it.by(METER).execute(&readings(&[(START + HOUR, 8, None)])).unwrap().to::<u64>(), 0, "it goes on from 7");
    let old = propose(&it, ANNA, correction(1, None));
    fake::advance(7 * DAY);
    refused(&it, BERT, &Command::ApproveCorrection { correction: old }, EXPIRED);
}
