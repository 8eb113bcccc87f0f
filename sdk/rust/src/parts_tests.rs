//! Ids, pages and alarms.

use crate::*;

struct Long;

impl Encode for Long {
    fn encode(&self, w: &mut cbor::Writer) {
        w.bytes(&[7; 4000]);
    }
}

#[test]
fn a_page_ends_where_a_result_does() {
    fake::reset();
    let mut rows = Rows::new(64);
    while rows.add(&Long) {}
    assert_eq!(rows.len(), 4);
    assert!(!rows.add(&1u8), "a row follows one that did not fit");
    let page = rows.reply().unwrap();
    assert!(page.len() <= MAX_RESULT);
    assert_eq!(decode::<List<Bytes>>(page).unwrap().len(), 4);
}

#[test]
fn a_page_has_what_was_asked_for() {
    fake::reset();
    assert!(!Rows::new(0).add(&1u8));
    let mut rows = Rows::new(2);
    assert!(rows.is_empty() && rows.add(&1u8) && !rows.add(&2u8) && !rows.add(&3u8));
    assert_eq!(rows.reply().unwrap(), [0x82, 1, 2]);
}

#[test]
fn ids_are_hashes() {
    fake::reset();
    let hash = [9; 32];
    let id = Id::keep(&hash);
    assert_eq!(encode(&id), encode(&hash));
    assert!(decode::<Id>(encode(&Bytes(&[9; 31]))).is_err());
    const BY_ID: Map<(Id, u8), u8> = Map::new("x/");
    const BY_HASH: Map<(Hash, u8), u8> = Map::new("x/");
    BY_ID.set(&(id, 1), &5);
    assert_eq!(BY_HASH.get(&(hash, 1)), Ok(Some(5)));
    assert_eq!(BY_ID.iter().next(), Some(Ok(((id, 1), 5))));
}

const DUE: Map<(i64, u64), ()> = Map::new("due/");
const DONE: Topic<(i64, u64, i64)> = Topic::new("done");
const ALARM: Alarm = Alarm::new("alarm/");

fn entries() -> fake::Entries {
    fn execute(c: &Context) -> Reply {
        let (at, number): (i64, u64) = c.parse_message()?;
        DUE.set(&(at, number), &());
        ALARM.arm(&c.env, at, &())?;
        done()
    }
    fn timer(c: &Context) -> Reply {
        ALARM.rang(&c.env)?;
        for (i, entry) in DUE.iter().enumerate() {
            let ((at, number), ()) = entry?;
            if at > c.env.time || i == 2 {
                ALARM.arm(&c.env, at, &())?;
                break;
            }
            DUE.delete(&(at, number));
            DONE.emit(&(at, number, c.env.time));
        }
        done()
    }
    fake::Entries::new().on("execute", execute).on("timer", timer)
}

/// Whatever is set, and in whatever order: few timers wait, and all is done in time.
fn all_in_time(times: impl Iterator<Item = i64>) {
    fake::reset();
    let c = fake::deploy("reminder", [1; 32], entries(), &fake::NOTHING).unwrap();
    let start = fake::with(|h| h.time);
    let mut count = 0;
    for (number, after) in times.enumerate() {
        c.execute(&(start + after, number as u64)).unwrap();
        count += 1;
    }
    let mut most = 0;
    while fake::with(|h| {
        most = most.max(h.timers.len());
        h.timers.iter().map(|t| t.due).min()
    })
    .map(|due| fake::advance(due - fake::with(|h| h.time)).into_iter().for_each(|run| drop(run.unwrap())))
    .is_some()
    {}
    assert!(most <= 200, "{} timers", most);
    let told = fake::with(|h| core::mem::take(&mut h.events));
    assert_eq!(told.len(), count);
    for event in told {
        let (at, number, when): (i64, u64, i64) = decode(event.data.leak()).unwrap();
        let late = 250 * (2 + count as i64 / 2); // two are done with a timer
        assert!((at..=at + late).contains(&when), "{} due at {}, done at {}", number, at, when);
    }
}

const DAY: i64 = 24 * 3_600_000;

#[test]
fn ever_earlier_times() {
    all_in_time((0..300).map(|n| 40 * DAY - n * DAY / 8));
    all_in_time((0..300).map(|n| 10_000 - 33 * n));
    all_in_time((0..100).map(|n| (1 << 45) >> (n % 46)));
}

#[test]
fn times_that_are_over_or_far() {
    all_in_time([-1, 0, 1, 249, 250, 251, 499, 500, 501, DAY, 36_500 * DAY].into_iter());
    all_in_time(core::iter::once(365 * DAY));
}

#[test]
fn a_far_time_takes_few_steps() {
    fake::reset();
    let c = fake::deploy("reminder", [1; 32], entries(), &fake::NOTHING).unwrap();
    let start = fake::with(|h| h.time);
    c.execute(&(start + 365 * DAY, 1u64)).unwrap();
    let mut steps = 0;
    while let Some(due) = fake::with(|h| h.timers.first().map(|t| t.due)) {
        fake::advance(due - fake::with(|h| h.time));
        steps += 1;
    }
    assert!((5..30).contains(&steps), "{} steps", steps);
}

#[test]
fn a_timer_that_was_lost_is_forgotten() {
    fake::reset();
    let c = fake::deploy("reminder", [1; 32], entries(), &fake::NOTHING).unwrap();
    let start = fake::with(|h| h.time);
    c.execute(&(start + 300, 1u64)).unwrap();
    fake::with(|h| h.timers.clear());
    fake::with(|h| h.time += 5_000);
    c.execute(&(start + 6_000, 2u64)).unwrap();
    for run in fake::advance(2_000) {
        run.unwrap();
    }
    assert_eq!(fake::with(|h| h.events.len()), 2);
}
