use super::*;
use crate::{done, query, reply, schedule_message, Contract, Device, Item, Topic};

const OWNER: Hash = [1; 32];
const VALUE: Item<u64> = Item::new("value");

// Deploys a contract whose entry points all run `body`.
fn everywhere(body: impl Fn(&Context) -> Reply + Clone + 'static) -> Deployed {
    reset();
    let entries = Entry::ALL.iter().filter(|e| **e != Entry::Init);
    let entries = entries.fold(Entries::new(), |all, e| all.on(e.name(), body.clone()));
    deploy("it", OWNER, entries, &NOTHING).unwrap()
}

fn code_of(result: Result<Output, Failure>) -> Code {
    result.map_or_else(|f| f.code, |_| 0)
}

#[test]
fn each_entry_point_has_its_host_functions() {
    type Use = (&'static str, fn(), &'static [Entry]);
    use Entry::*;
    let changing: &[Entry] = &[Migrate, Execute, Timer];
    let all: &[Entry] = &Entry::ALL[1..];
    let uses: [Use; 11] = [
        ("state_get", || drop(crate::state_get(b"k")), all),
        ("state_set", || crate::state_set(b"k", b""), changing),
        ("state_delete", || crate::state_delete(b"k"), changing),
        ("state_scan", || drop(crate::Scan::new(b"", b"")), all),
        ("emit", || crate::emit("t", b""), changing),
        ("call", || drop(crate::call("x", b"")), changing),
        ("query", || drop(query("x", b"")), all),
        ("device_get", || drop(crate::device_get(&[0; 32])), all),
        ("device_set_status", || drop(crate::device_set_status(&[0; 32], Status::Active, "")), &[Execute, Timer]),
        ("schedule", || drop(crate::schedule(0, b"")), changing),
        ("now", || drop(crate::now()), &[Decide, Observe]),
    ];
    for (name, function, allowed) in uses {
        let it = everywhere(move |_| {
            function();
            done()
        });
        for entry in &Entry::ALL[1..] {
            let want = if allowed.contains(entry) { 0 } else { code::NOT_ALLOWED_HERE };
            assert_eq!(code_of(it.run(*entry, &NOTHING)), want, "{} in {:?}", name, entry);
        }
    }
}

#[test]
fn limits_are_those_of_the_host() {
    let long = |n: usize| -> &'static [u8] { vec![b'x'; n].leak() };
    let topic = move |n: usize| std::str::from_utf8(long(n)).unwrap();
    let cases: Vec<(Box<dyn Fn()>, Code)> = vec![
        (Box::new(move || crate::state_set(long(256), long(16384))), 0),
        (Box::new(move || crate::state_set(long(257), b"")), code::KEY_TOO_LONG),
        (Box::new(move || crate::state_set(b"", b"")), code::KEY_TOO_LONG),
        (Box::new(move || drop(crate::state_get(b""))), code::KEY_TOO_LONG),
        (Box::new(move || crate::state_delete(long(257))), code::KEY_TOO_LONG),
        (Box::new(move || crate::state_set(b"k", long(16385))), code::VALUE_TOO_LONG),
        (Box::new(move || crate::emit(topic(64), long(4096))), 0),
        (Box::new(move || crate::emit(topic(65), b"")), code::KEY_TOO_LONG),
        (Box::new(move || crate::emit("t", long(4097))), code::VALUE_TOO_LONG),
        (Box::new(|| (0..64).for_each(|_| crate::emit("t", b""))), 0),
        (Box::new(|| (0..65).for_each(|_| crate::emit("t", b""))), code::TOO_MANY_EVENTS),
        (Box::new(|| (0..8).for_each(|_| drop(crate::Scan::new(b"", b"")))), 0),
        (Box::new(|| (0..9).for_each(|_| drop(crate::Scan::new(b"", b"")))), code::TOO_MANY_SCANS),
        (Box::new(|| (0..1025).for_each(|_| drop(crate::schedule(0, b"")))), code::TOO_MANY_TIMERS),
        (Box::new(|| panic!("a mistake")), code::UNREACHABLE),
        (Box::new(|| crate::abort(7, b"no")), code::ABORTED),
    ];
    for (i, (body, want)) in cases.into_iter().enumerate() {
        reset();
        let entries = Entries::new().on("execute", move |_| {
            body();
            done()
        });
        let it = deploy("it", OWNER, entries, &NOTHING).unwrap();
        assert_eq!(code_of(it.execute(&NOTHING)), want, "case {}", i);
        if want != 0 {
            assert!(it.state().is_empty() && it.topics().is_empty() && with(|h| h.timers.is_empty()));
        }
    }
    let it = everywhere(move |_| Ok(long(16385)));
    assert_eq!(code_of(it.query(&NOTHING)), code::RESULT_TOO_LONG);
}

#[test]
fn what_fails_leaves_no_trace() {
    const NO: Abort = Abort::new(&crate::Why { code: 9, text: "no" });
    let it = everywhere(|c| {
        VALUE.set(&c.parse_message()?);
        Topic::new("set").emit(&1u64);
        crate::schedule(0, b"");
        crate::ensure!(VALUE.load()? != 13, NO);
        done()
    });
    it.execute(&5u64).unwrap();
    let failure = it.execute(&13u64).unwrap_err();
    assert!(failure.is(NO) && failure.text == "no");
    assert_eq!(it.state().len(), 1);
    assert_eq!(it.state()[&b"value"[..]], [5]);
    assert_eq!((it.topics().len(), with(|h| h.timers.len())), (1, 1));
}

#[test]
fn contracts_call_one_another_but_not_themselves() {
    let it = everywhere(|c| {
        VALUE.set(&1);
        match c.parse_message()? {
            0u64 => reply(&Contract::new("peer").call::<_, u64>(&5u64).unwrap_or(0)),
            1 => reply(&(Contract::new("peer").call::<_, u64>(&13u64).unwrap_err() as u64)),
            2 => reply(&(Contract::new("it").call::<_, u64>(&0u64).unwrap_err() as u64)),
            3 => reply(&(Contract::new("nobody").call::<_, u64>(&0u64).unwrap_err() as u64)),
            4 => reply(&(Contract::new("peer").query::<_, u64>(&0u64).unwrap_err() as u64)),
            _ => reply(&(Contract::new("peer").call::<_, &str>(&5u64).unwrap_err() as u64)),
        }
    });
    let peer = Entries::new().on("execute", |c| {
        let v: u64 = c.parse_message()?;
        assert_eq!((c.env.parent, c.env.roles, c.env.owner()), (Some(&b"it"[..]), 0, [7; 32]));
        VALUE.set(&v);
        crate::ensure!(v != 13, crate::Abort::new(&crate::Why { code: 9, text: "no" }));
        reply(&(v + 1))
    });
    let peer = deploy("peer", [7; 32], peer, &NOTHING).unwrap();
    let run = |n: u64| it.execute(&n).unwrap().to::<u64>() as Code;
    assert_eq!(run(0), 6);
    assert_eq!(run(1), code::ABORTED);
    assert_eq!(peer.state()[&b"value"[..]], [5], "what failed was undone");
    assert_eq!(run(2), code::REENTRANT);
    assert_eq!(run(3), code::UNKNOWN_CONTRACT);
    assert_eq!(run(4), code::NO_ENTRY_POINT);
    assert_eq!(run(5), code::BAD_RESULT);
    assert_eq!(it.state()[&b"value"[..]], [1]);
}

#[test]
fn timers_run_when_they_are_due() {
    reset();
    let entries = Entries::new()
        .on("execute", |c| {
            schedule_message(c.parse_message()?, &1u64);
            done()
        })
        .on("timer", |c| {
            assert_eq!(c.env.caller, None);
            VALUE.set(&(VALUE.get()?.unwrap_or(0) + c.parse_message::<u64>()?));
            done()
        });
    let it = deploy("it", OWNER, entries, &NOTHING).unwrap();
    it.execute(&100i64).unwrap();
    it.execute(&-5i64).unwrap();
    assert_eq!(advance(1).len(), 1, "an overdue timer waits for the next block");
    assert_eq!(advance(98).len(), 0);
    assert_eq!(advance(1), [Ok(Output(vec![]))]);
    assert_eq!(it.state()[&b"value"[..]], [2]);
}

#[test]
fn devices_change_their_status_by_the_rules() {
    let it = everywhere(|c| {
        let id = c.parse_message()?;
        let code = crate::device_set_status(&id, Status::Suspended, "loud").map_or_else(|code| code, |()| 0);
        reply(&(code as u64))
    });
    with(|h| {
        h.devices.insert([2; 32], DeviceRecord::of(OWNER).label("floor", "3"));
        h.devices.insert([3; 32], DeviceRecord::of([9; 32]));
        h.devices.insert([4; 32], DeviceRecord { status: Status::Stolen, ..DeviceRecord::of(OWNER) });
    });
    let run = |id: Hash| it.execute(&id).unwrap().to::<u64>() as Code;
    assert_eq!(run([2; 32]), 0);
    assert_eq!(run([3; 32]), code::NOT_PERMITTED);
    assert_eq!(run([4; 32]), code::BAD_STATUS);
    assert_eq!(run([5; 32]), code::UNKNOWN_DEVICE);
    let device = Device::get(&[2; 32]).unwrap();
    assert_eq!((device.status(), device.reason(), device.label("floor")), (Status::Suspended, "loud", Some("3")));
}

#[test]
fn a_failed_upgrade_keeps_the_old_code() {
    reset();
    let with_answer = |n: u64| Entries::new().on("query", move |_| reply(&n));
    let it = deploy("it", OWNER, with_answer(1), &NOTHING).unwrap();
    let answer = || it.query(&NOTHING).unwrap().to::<u64>();
    let migrating = with_answer(2).on("migrate", |c| {
        VALUE.set(&c.parse_message()?);
        done()
    });
    assert_eq!(it.upgrade(migrating.clone(), &"five").unwrap_err().abort, crate::MALFORMED);
    assert_eq!((answer(), it.state().len()), (1, 0));
    it.upgrade(migrating, &5u64).unwrap();
    assert_eq!((answer(), it.state().len()), (2, 1));
}

#[test]
fn the_environment_tells_who_calls() {
    let it = everywhere(|c| {
        let (env, floor) = (&c.env, c.env.device().and_then(|d| d.label("floor")));
        reply(&(env.caller()?, env.has_role(Role::AUDITOR), floor, env.require_owner().is_ok()))
    });
    type Answer = (Hash, bool, Option<&'static str>, bool);
    with(|h| h.devices.insert([2; 32], DeviceRecord::of(OWNER).label("floor", "3")));
    assert_eq!(it.execute(&NOTHING).unwrap().to::<Answer>(), (OWNER, false, None, true));
    let device = it.by([2; 32]).with_role(Role::AUDITOR);
    assert_eq!(device.execute(&NOTHING).unwrap().to::<Answer>(), ([2; 32], true, Some("3"), false));
    for unsigned in [Entry::Query, Entry::Timer] {
        assert_eq!(device.run(unsigned, &NOTHING).unwrap_err().abort, crate::NOT_PERMITTED);
    }
}

#[test]
fn local_records_are_one_devices_and_one_contracts() {
    use crate::{decode, local_get, local_set, Judgement, Observation, ObservationKind};
    fn count(c: &Context) -> Reply {
        let times = local_get().map_or(0, |b| b[0]) + 1;
        local_set(&[times]);
        let o: Observation = c.parse_message()?;
        crate::ensure!(o.time > 0, Abort::from(crate::cbor::Error::Field));
        Judgement { score: times as i64, ..Judgement::default() }.reply()
    }
    reset();
    let observer = || Entries::new().on("observe", count).on("execute", count);
    let (a, b) = (deploy("a", [1; 32], observer(), &NOTHING).unwrap(), deploy("b", [1; 32], observer(), &NOTHING).unwrap());
    let seen = |c: Deployed, device: u8, time: i64| {
        let out = c.observe(&Observation::new(ObservationKind::Flows, [device; 32], time, &[0x80])).map(|o| o.0);
        out.map(|o| decode::<Judgement>(o.leak()).unwrap().score).map_err(|f| f.code)
    };
    assert_eq!((seen(a, 7, 1), seen(a, 7, 2), seen(a, 8, 1), seen(b, 7, 1)), (Ok(1), Ok(2), Ok(1), Ok(1)));
    assert_eq!((seen(a, 7, 0), seen(a, 7, 3)), (Err(code::ABORTED), Ok(3)), "a refusal leaves the record as it was");
    let evidence = a.evidence(&Observation::new(ObservationKind::Flows, [7; 32], 1, &[0x80]));
    assert_eq!(evidence.unwrap_err().code, code::NOT_ALLOWED_HERE);
}

#[test]
fn evidence_names_its_device() {
    use crate::{Observation, ObservationKind};
    reset();
    let tell = |c: &Context| crate::reply(&c.env.evidence.map(crate::Bytes));
    let c = deploy("a", [1; 32], Entries::new().on("execute", tell), &NOTHING).unwrap();
    let o = Observation::new(ObservationKind::Flows, [7; 32], 1, &[0x80]);
    assert_eq!(c.evidence(&o).unwrap().to::<Option<crate::Bytes>>(), Some(crate::Bytes(&[7; 32])));
    assert_eq!(c.execute(&o).unwrap().to::<Option<crate::Bytes>>(), None);
}
