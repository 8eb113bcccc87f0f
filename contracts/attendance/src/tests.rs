//! Native tests on the SDK's fake host. What the Wasm does on a ledger, the
//! scripts under tests/ ask.

use crate::codes::*;
use crate::homework::Work;
use crate::message::{Command, Question};
use crate::presence::Day;
use crate::pupil::Pupil;
use crate::{access, entries};
use postern::fake::{self, Deployed, DeviceRecord, NOTHING};
use postern::{
    decode, encode, Abort, Action, Bytes, DecisionRequest, Entity, Hash, Id, List, Status, Text, Verdict, MALFORMED,
};

#[path = "lesson_tests.rs"]
mod lessons;

const OWNER: Hash = [1; 32];
const OFFICE: Hash = [2; 32];
const TEACHER: Hash = [3; 32];
const OTHER_TEACHER: Hash = [4; 32];
const MOTHER: Hash = [5; 32];
const FATHER: Hash = [6; 32];
const PUPIL_KEY: Hash = [7; 32];
const MALLORY: Hash = [0x66; 32];
const READER: Hash = [0xd1; 32];
const STRAY: Hash = [0xd2; 32];
const KIM: Hash = [0xa1; 32];
const LEE: Hash = [0xa2; 32];

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Wednesday, 15 November 2023, 00:00 UTC; the school's clock is an hour ahead.
const WEDNESDAY: i64 = 1_700_006_400_000;
const TODAY: u32 = 19_676;
const LOCAL: i64 = -HOUR;

fn text<const N: usize>(s: &'static str) -> Text<'static, N> {
    Text::new(s).unwrap()
}

fn list<T: postern::Encode>(items: &[T]) -> List<'static, T> {
    decode(encode(items)).unwrap()
}

fn set_class(hours: &[(u8, u16, u16)], grace: u16, early: u16) -> Command {
    Command::SetClass { class: text("5b"), hours: list(hours), grace, early }
}

/// A school with a class from 8:00 to 12:00 of weekdays, whose pupils are missing
/// at 8:15, on a Wednesday at 6:00.
fn school() -> Deployed {
    fake::reset();
    fake::with(|h| {
        h.time = WEDNESDAY + LOCAL + 6 * HOUR;
        for id in [READER, STRAY] {
            h.devices.insert(id, DeviceRecord::of(OWNER));
        }
    });
    let it = fake::deploy("attendance", OWNER, entries(), &NOTHING).unwrap();
    it.execute(&Command::NameOffice { account: Id(&OFFICE), on: true }).unwrap();
    for message in [
        Command::SetZone { steps: list(&[(0i64, 60i64)]) },
        Command::SetTerm { number: 1, first: noon(TODAY - 10), last: noon(TODAY + 100) },
        Command::NameReader { device: Id(&READER), on: true },
        set_class(&[(0x1f, 8 * 60, 12 * 60)], 15, 60),
        Command::NameTeacher { class: text("5b"), account: Id(&TEACHER), on: true },
        Command::Place { pupil: Id(&KIM), class: Some(text("5b")), account: Some(Id(&PUPIL_KEY)) },
        Command::Place { pupil: Id(&LEE), class: Some(text("5b")), account: None },
        Command::SetParents { pupil: Id(&KIM), parents: list(&[Id(&MOTHER), Id(&FATHER)]) },
    ] {
        it.by(OFFICE).execute(&message).unwrap();
    }
    it
}

/// A time of a local day.
fn noon(day: u32) -> i64 {
    day as i64 * DAY + LOCAL + 12 * HOUR
}

/// Moves to a local time of the first day.
fn at(time: i64) {
    let now = fake::with(|h| h.time);
    for ended in fake::advance(WEDNESDAY + LOCAL + time - now) {
        ended.unwrap();
    }
}

fn see(it: &Deployed, pupil: &'static Hash, time: i64) -> u32 {
    it.by(READER).execute(&Command::Sight { sightings: list(&[(Id(pupil), WEDNESDAY + LOCAL + time)]) }).unwrap().to()
}

/// The pupils whose absence was told so far.
fn absent() -> Vec<Hash> {
    let events: Vec<Vec<u8>> =
        fake::with(|h| h.events.iter().filter(|e| e.topic == "absent").map(|e| e.data.clone()).collect());
    let pupil = |data: Vec<u8>| *decode::<(Id, u32, i64, List<'static, Id>)>(data.leak()).unwrap().0 .0;
    events.into_iter().map(pupil).collect()
}

fn day(it: &Deployed, pupil: &'static Hash, number: u32) -> Day {
    let question = Question::Days { term: 1, pupil: Id(pupil), from: number, limit: 1 };
    let rows: List<(u32, Day)> = it.query(&question).unwrap().to();
    let row = rows.iter().next().map(|row| row.unwrap());
    row.filter(|row| row.0 == number).map(|row| row.1).unwrap_or_default()
}

fn excuse(pupil: &'static Hash, from: u32, to: u32) -> Command {
    Command::Excuse { pupil: Id(pupil), from: noon(from), to: noon(to), excused: true, note: None }
}

fn refused(it: &Deployed, by: Hash, message: &Command, why: Abort) {
    let before = it.state();
    let failure = it.by(by).execute(message).unwrap_err();
    assert!(failure.is(why), "{:?}: {:?}, want {}", message, failure, why);
    assert_eq!(it.state(), before);
}

#[test]
fn parents_are_told_at_the_right_hour() {
    let it = school();
    at(7 * HOUR + 50 * MINUTE);
    assert_eq!(see(&it, &LEE, 7 * HOUR + 50 * MINUTE), 1);
    at(8 * HOUR + 15 * MINUTE - 1);
    assert!(absent().is_empty());
    at(8 * HOUR + 15 * MINUTE);
    assert_eq!(absent(), [KIM]);
    let told: (Id, u32, i64, List<'static, Id>) = it.event("absent");
    assert_eq!((told.1, told.2), (TODAY, WEDNESDAY + LOCAL + 8 * HOUR));
    assert_eq!(told.3.iter().map(|p| *p.unwrap().0).collect::<Vec<_>>(), [MOTHER, FATHER]);
    // It comes late, which is told once.
    at(9 * HOUR);
    see(&it, &KIM, 9 * HOUR);
    see(&it, &KIM, 9 * HOUR + 1);
    assert_eq!(it.topics().iter().filter(|t| *t == "arrived").count(), 1);
    assert_eq!(day(&it, &KIM, TODAY).alarms, 1);
    // The next day comes by itself, Saturday not.
    at(DAY + 8 * HOUR + 15 * MINUTE);
    assert_eq!(absent().len(), 3);
    at(2 * DAY + 9 * HOUR);
    at(3 * DAY + 9 * HOUR);
    assert_eq!(absent().len(), 5);
    assert_eq!(fake::with(|h| h.timers.len()), 1);
}

/// One who was there in the morning may be missing in the afternoon; a reader's
/// late word of the morning changes nothing of that, one of the hour does.
#[test]
fn afternoons_are_hours_of_their_own() {
    let it = school();
    it.by(OFFICE).execute(&set_class(&[(0x1f, 8 * 60, 12 * 60), (0x04, 14 * 60, 15 * 60)], 15, 60)).unwrap();
    at(8 * HOUR);
    see(&it, &KIM, 8 * HOUR);
    see(&it, &LEE, 8 * HOUR);
    at(13 * HOUR + 30 * MINUTE);
    see(&it, &LEE, 13 * HOUR);
    at(14 * HOUR + 15 * MINUTE);
    assert_eq!(absent(), [KIM]);
    assert_eq!(day(&it, &KIM, TODAY).alarms, 2);
    see(&it, &KIM, 11 * HOUR);
    assert!(!it.topics().contains(&"arrived".to_string()));
    see(&it, &KIM, 14 * HOUR + 10 * MINUTE);
    see(&it, &KIM, 14 * HOUR + 11 * MINUTE);
    assert_eq!(it.topics().iter().filter(|t| *t == "arrived").count(), 1);
}

#[test]
fn a_sighting_counts_from_its_edge_on() {
    for (time, missing) in [(7 * HOUR, false), (7 * HOUR - 1, true)] {
        let it = school();
        at(8 * HOUR);
        see(&it, &KIM, time);
        see(&it, &LEE, 7 * HOUR);
        at(8 * HOUR + 15 * MINUTE);
        assert_eq!(!absent().is_empty(), missing);
    }
}

#[test]
fn nobody_is_expected_on_days_off_and_outside_of_terms() {
    let it = school();
    it.by(OFFICE).execute(&Command::SetDaysOff { days: list(&[noon(TODAY)]), off: true }).unwrap();
    at(9 * HOUR);
    assert!(absent().is_empty());
    it.by(OFFICE).execute(&Command::SetTerm { number: 1, first: noon(TODAY), last: noon(TODAY + 1) }).unwrap();
    at(DAY + 9 * HOUR);
    assert_eq!(absent().len(), 2);
    at(2 * DAY + 9 * HOUR);
    assert_eq!(absent().len(), 2);
    assert!(fake::with(|h| h.timers.is_empty()), "after the term nothing ticks");
    // A new term begins anew, on its first day.
    it.by(OFFICE).execute(&Command::SetTerm { number: 2, first: noon(TODAY + 7), last: noon(TODAY + 50) }).unwrap();
    it.by(OFFICE).execute(&set_class(&[(0x1f, 8 * 60, 12 * 60)], 15, 60)).unwrap();
    at(6 * DAY + 9 * HOUR);
    assert_eq!(absent().len(), 2);
    at(7 * DAY + 8 * HOUR + 15 * MINUTE);
    assert_eq!(absent().len(), 4);
}

/// The school's clock is put forward by an hour: the alarm follows it.
#[test]
fn alarms_follow_the_clock() {
    let it = school();
    let change = WEDNESDAY + DAY;
    it.by(OFFICE).execute(&Command::SetZone { steps: list(&[(0i64, 60i64), (change, 120)]) }).unwrap();
    at(9 * HOUR);
    assert_eq!(absent().len(), 2);
    at(DAY + 7 * HOUR + 15 * MINUTE - 1); // 8:15 of the new clock
    assert_eq!(absent().len(), 2);
    at(DAY + 7 * HOUR + 15 * MINUTE);
    assert_eq!(absent().len(), 4);
}

#[test]
fn excused_is_not_missing() {
    let it = school();
    it.by(MOTHER).execute(&excuse(&KIM, TODAY, TODAY)).unwrap();
    it.by(TEACHER).execute(&excuse(&LEE, TODAY, TODAY)).unwrap();
    at(9 * HOUR);
    assert!(absent().is_empty());
    it.by(MOTHER).execute(&excuse(&KIM, TODAY + 1, TODAY + 1)).unwrap();
    it.by(OFFICE)
        .execute(&Command::Excuse {
            pupil: Id(&KIM),
            from: noon(TODAY + 1),
            to: noon(TODAY + 1),
            excused: false,
            note: None,
        })
        .unwrap();
    at(DAY + 9 * HOUR);
    assert_eq!(absent(), [KIM, LEE]);
}

/// Who lost custody had excused the child for days to come: it counts no more.
#[test]
fn an_excuse_ends_with_custody() {
    let it = school();
    it.by(FATHER).execute(&excuse(&KIM, TODAY, TODAY + 30)).unwrap();
    it.by(OFFICE).execute(&Command::SetParents { pupil: Id(&KIM), parents: list(&[Id(&MOTHER)]) }).unwrap();
    refused(&it, FATHER, &excuse(&KIM, TODAY, TODAY), NOT_PARENT);
    at(9 * HOUR);
    assert_eq!(absent(), [KIM, LEE]);
}

#[test]
fn excuses_have_edges() {
    let it = school();
    for who in [MALLORY, OTHER_TEACHER, PUPIL_KEY, READER] {
        refused(&it, who, &excuse(&KIM, TODAY, TODAY), NOT_PARENT);
    }
    refused(&it, MOTHER, &excuse(&LEE, TODAY, TODAY), NOT_PARENT);
    refused(&it, MOTHER, &excuse(&MALLORY, TODAY, TODAY), UNKNOWN_PUPIL);
    refused(&it, MOTHER, &excuse(&KIM, TODAY + 1, TODAY), BAD_TIME);
    refused(&it, MOTHER, &excuse(&KIM, TODAY, TODAY + 31), BAD_TIME);
    refused(&it, MOTHER, &excuse(&KIM, TODAY - 11, TODAY), BAD_TIME);
    refused(&it, MOTHER, &excuse(&KIM, 0, u32::MAX), BAD_TIME);
    refused(&it, MOTHER, &excuse(&KIM, TODAY + 101, TODAY + 101), BAD_TIME);
    let note = Some(Bytes(&[0; 257]));
    refused(
        &it,
        MOTHER,
        &Command::Excuse { pupil: Id(&KIM), from: noon(TODAY), to: noon(TODAY), excused: true, note },
        TOO_LONG,
    );
    at(15 * DAY);
    refused(&it, MOTHER, &excuse(&KIM, TODAY, TODAY), BAD_TIME);
    it.by(MOTHER).execute(&excuse(&KIM, TODAY + 1, TODAY + 31)).unwrap();
}

#[test]
fn only_the_schools_readers_see() {
    let it = school();
    let sightings = |n: usize, time: i64| Command::Sight { sightings: list(&vec![(Id(&KIM), WEDNESDAY + LOCAL + time); n]) };
    for who in [STRAY, MALLORY, OFFICE, MOTHER] {
        refused(&it, who, &sightings(1, 6 * HOUR), NOT_READER);
    }
    refused(&it, READER, &sightings(0, 0), TOO_MANY);
    refused(&it, READER, &sightings(33, 6 * HOUR), TOO_MANY);
    refused(&it, READER, &sightings(1, 6 * HOUR + 2 * MINUTE + 1), BAD_TIME);
    refused(&it, READER, &sightings(1, -30 * HOUR - 1), BAD_TIME);
    it.by(READER).execute(&sightings(32, 6 * HOUR + 2 * MINUTE)).unwrap();
    // One who left spoils no others, nor does a day outside of the term.
    assert_eq!(see(&it, &MALLORY, 6 * HOUR), 0);
    it.by(OFFICE).execute(&Command::SetTerm { number: 1, first: noon(TODAY + 1), last: noon(TODAY + 9) }).unwrap();
    assert_eq!(see(&it, &KIM, 6 * HOUR), 0);
    fake::with(|h| h.devices.get_mut(&READER).unwrap().status = Status::Stolen);
    refused(&it, READER, &sightings(1, 6 * HOUR), NOT_ACTIVE);
    it.by(OFFICE).execute(&Command::NameReader { device: Id(&READER), on: false }).unwrap();
    refused(&it, READER, &sightings(1, 6 * HOUR), NOT_READER);
}

/// A day of sightings keeps the first and the last, in whatever order they come.
#[test]
fn late_batches_keep_the_ends() {
    let it = school();
    at(13 * HOUR);
    for time in [9 * HOUR, 8 * HOUR, 10 * HOUR, 8 * HOUR] {
        see(&it, &KIM, time);
    }
    let seen = day(&it, &KIM, TODAY);
    assert_eq!((seen.first, seen.last), (Some(WEDNESDAY + LOCAL + 8 * HOUR), Some(WEDNESDAY + LOCAL + 10 * HOUR)));
}

fn pseudonym(i: u8) -> &'static Hash {
    let mut id = [0xb0; 32];
    id[31] = i;
    Box::leak(Box::new(id))
}

/// A class of 64 is looked after in steps, everybody once.
#[test]
fn large_classes_take_several_timers() {
    let it = school();
    for i in 0..62 {
        it.by(OFFICE).execute(&Command::Place { pupil: Id(pseudonym(i)), class: Some(text("5b")), account: None }).unwrap();
    }
    let one_more = Command::Place { pupil: Id(pseudonym(99)), class: Some(text("5b")), account: None };
    refused(&it, OFFICE, &one_more, CLASS_FULL);
    at(8 * HOUR + 15 * MINUTE);
    assert_eq!(absent().len(), 32);
    at(8 * HOUR + 15 * MINUTE + 1_000);
    at(8 * HOUR + 15 * MINUTE + 2_000);
    let mut told = absent();
    told.sort();
    told.dedup();
    assert_eq!((told.len(), absent().len()), (64, 64));
    at(8 * HOUR + 16 * MINUTE);
    assert_eq!(absent().len(), 64);
}

/// Many classes at one hour: all are looked after, in several blocks.
#[test]
fn many_classes_ring_at_once() {
    let it = school();
    for i in 0..10u8 {
        let name = Box::leak(format!("c{}", i).into_boxed_str());
        let hours = list(&[(0x1fu8, 8 * 60u16, 12 * 60u16)]);
        it.by(OFFICE).execute(&Command::SetClass { class: text(name), hours, grace: 15, early: 60 }).unwrap();
        it.by(OFFICE).execute(&Command::Place { pupil: Id(pseudonym(i)), class: Some(text(name)), account: None }).unwrap();
    }
    for extra in 0..4 {
        at(8 * HOUR + 15 * MINUTE + extra * 1_000);
    }
    assert_eq!(absent().len(), 12);
}

/// The chain stood still until the hour was over: nobody could be seen.
#[test]
fn a_stopped_chain_alarms_nobody() {
    let it = school();
    at(12 * HOUR);
    assert!(absent().is_empty());
    assert_eq!(it.topics().last().unwrap(), "alarm-missed");
    at(DAY + 9 * HOUR);
    assert_eq!(absent().len(), 2);
}

/// A timer whose payer had no gas left is gone; whoever is seen next brings
/// another.
#[test]
fn a_lost_timer_is_replaced() {
    let it = school();
    fake::with(|h| h.timers.clear());
    at(9 * HOUR);
    assert!(absent().is_empty());
    see(&it, &LEE, 9 * HOUR);
    at(9 * HOUR + 1_000);
    assert_eq!(absent(), [KIM]);
    at(DAY + 9 * HOUR);
    assert_eq!(absent().len(), 3);
}

/// A table that begins later stops no alarm.
#[test]
fn a_zone_that_begins_later_stops_nothing() {
    let it = school();
    it.by(OFFICE).execute(&Command::SetZone { steps: list(&[(WEDNESDAY + 50 * DAY, 60i64)]) }).unwrap();
    at(9 * HOUR);
    assert_eq!(absent().len(), 2);
}

#[test]
fn what_only_the_office_may() {
    let it = school();
    let messages = [
        Command::SetZone { steps: list(&[(0i64, 60i64)]) },
        Command::SetTerm { number: 1, first: noon(TODAY), last: noon(TODAY + 9) },
        Command::SetDaysOff { days: list(&[noon(TODAY)]), off: true },
        Command::NameReader { device: Id(&STRAY), on: true },
        set_class(&[(1, 0, 1)], 0, 0),
        Command::NameTeacher { class: text("5b"), account: Id(&MALLORY), on: true },
        Command::Place { pupil: Id(&LEE), class: None, account: None },
        Command::Remove { pupil: Id(&LEE) },
        Command::SetParents { pupil: Id(&KIM), parents: list(&[Id(&MALLORY)]) },
        Command::Offer { reward: 1, cost: Some(0), content: Id(&[0; 32]) },
        Command::Forget { term: 0 },
    ];
    for message in &messages {
        for who in [TEACHER, MOTHER, READER, MALLORY] {
            refused(&it, who, message, NOT_OFFICE);
        }
        it.by(OFFICE).execute(message).unwrap();
    }
    let name = Command::NameOffice { account: Id(&MALLORY), on: true };
    refused(&it, OFFICE, &name, NOT_OWNER);
    it.execute(&Command::NameOffice { account: Id(&OFFICE), on: false }).unwrap();
    refused(&it, OFFICE, &messages[0], NOT_OFFICE);
}

#[test]
fn what_the_office_writes_is_checked() {
    let it = school();
    let no = |message: Command, why| refused(&it, OFFICE, &message, why);
    no(set_class(&[(0, 0, 1)], 0, 0), BAD_HOURS);
    no(set_class(&[(128, 0, 1)], 0, 0), BAD_HOURS);
    no(set_class(&[(1, 1, 1)], 0, 0), BAD_HOURS);
    no(set_class(&[(1, 0, 1441)], 0, 0), BAD_HOURS);
    no(set_class(&[(1, 0, 1)], 241, 0), BAD_HOURS);
    no(set_class(&[(1, 0, 1)], 0, 241), BAD_HOURS);
    no(set_class(&[(1, 0, 1); 17], 0, 0), TOO_MANY);
    no(Command::SetClass { class: text(""), hours: list(&[(1u8, 0u16, 1u16)]), grace: 0, early: 0 }, BAD_NAME);
    no(Command::SetTerm { number: 0, first: noon(1), last: noon(2) }, BAD_TERM);
    no(Command::SetTerm { number: 2, first: noon(2), last: noon(1) }, BAD_TERM);
    no(Command::SetTerm { number: 2, first: 0, last: noon(366) }, BAD_TERM);
    no(Command::SetDaysOff { days: list::<i64>(&[]), off: true }, TOO_MANY);
    no(Command::SetDaysOff { days: list(&[1i64; 101]), off: true }, TOO_MANY);
    no(Command::NameReader { device: Id(&MALLORY), on: true }, NOT_ACTIVE);
    no(Command::NameTeacher { class: text("6a"), account: Id(&TEACHER), on: true }, UNKNOWN_CLASS);
    no(Command::Place { pupil: Id(&KIM), class: Some(text("6a")), account: None }, UNKNOWN_CLASS);
    no(Command::Remove { pupil: Id(&MALLORY) }, UNKNOWN_PUPIL);
    no(Command::SetParents { pupil: Id(&MALLORY), parents: list(&[Id(&MOTHER)]) }, UNKNOWN_PUPIL);
    no(Command::SetParents { pupil: Id(&KIM), parents: list(&[Id(&MOTHER); 5]) }, TOO_MANY);
    no(Command::SetZone { steps: list(&[(5i64, 0i64), (5, 0)]) }, BAD_ZONE);
    no(Command::SetZone { steps: list(&[(5i64, -841i64)]) }, BAD_ZONE);
    no(Command::SetZone { steps: list(&[(5i64, 0i64); 33]) }, TOO_MANY);
}

#[test]
fn without_a_term_there_is_nothing() {
    fake::reset();
    let it = fake::deploy("attendance", OWNER, entries(), &NOTHING).unwrap();
    refused(&it, OWNER, &set_class(&[(1, 0, 1)], 0, 0), NO_TERM);
}

#[test]
fn malformed_messages_are_refused() {
    let it = school();
    for message in [&[][..], &[0xff], &[0x80], &[0x81, 0x18, 0x63], &[0x82, 9, 1], &[0xa0], &[0x9f], &[0x82, 9, 0x58, 31]] {
        assert_eq!(it.by(OFFICE).execute(&postern::Raw(message)).unwrap_err().abort, MALFORMED, "{:x?}", message);
    }
}

/// Neither another contract nor evidence acts in its signer's name.
#[test]
fn nobody_acts_in_a_signers_name() {
    let it = school();
    let forward = |c: &postern::Context| postern::call("attendance", c.message).map_err(|code| code.into());
    let trap = fake::deploy("trap", MALLORY, fake::Entries::new().on("execute", forward), &NOTHING).unwrap();
    assert!(trap.by(OFFICE).execute(&Command::Remove { pupil: Id(&KIM) }).is_err());
    let o = postern::Observation::new(postern::ObservationKind::Telemetry, READER, 0, &[0x80]);
    assert!(it.by(OWNER).evidence(&o).unwrap_err().is(NESTED));
}
