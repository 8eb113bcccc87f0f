//! Runs scripts over several contracts of the fake host: calls within calls,
//! devices' statuses, timers, and the limits of each. The Go test
//! TestFakeLedgerOfTheRustSDK in runtime/scratch plays testdata/ledger.txt on
//! a chain in memory. With POSTERN_WRITE=1 in the environment the file is
//! written anew from what the fake does; the Go test then tells whether the
//! ledger agrees.
//!
//! A line is "execute CONTRACT SCRIPT ENDED [EVENT …]", "query CONTRACT SCRIPT
//! ENDED" or "until TIME ENDED*COUNT …", of timers. ENDED is "ok:OUTPUT" or
//! "CODE:ABORT".

use crate::{entries, Op};
use postern::fake::{self, DeviceRecord, Failure, Output};
use postern::{encode, Bytes, Hash, Raw};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/ledger.txt");

/// The time at which a scratch chain begins, in ms.
const START: i64 = 1_767_600_000_000;
const HOUR: i64 = 3_600_000;

const CONTRACTS: [&str; 10] = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9"];

// The ids of a scratch chain's operator, ann, and two devices by their names.
const OPERATOR: &str = "66fef2c3f75f7d6a5fdc1ccca3f845523c6f6844c0e4f6aff133024801fa65f1";
const ANN: &str = "2d23f11d095ad955892cab04c9c84310748258528b0963158f3f2a3d7a79301b";
const LOCK: &str = "d6c4848c418d3d9cb0504286c24bd868cf315cbfad702b5ee0528e98eea8996c";
const ALIEN: &str = "839bbe1397ca328dd6fff179e969626cfc3a782903bec4f453f6913e798ac2ed";

fn id(hex: &str) -> Hash {
    let mut id = [0; 32];
    for (i, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
    }
    id
}

fn script(ops: Vec<Op>) -> Bytes<'static> {
    Bytes(encode(&ops[..]))
}

fn call(contract: &'static str, ops: Vec<Op>) -> Op {
    Op::CallWith { contract, script: script(ops) }
}

fn query(contract: &'static str, ops: Vec<Op>) -> Op {
    Op::QueryWith { contract, script: script(ops) }
}

fn get() -> Op {
    Op::Get { key: Bytes(b"k") }
}

fn set(value: &'static [u8]) -> Op {
    Op::Set { key: Bytes(b"k"), value: Bytes(value) }
}

fn emit(topic: &'static str) -> Op {
    Op::Emit { topic, data: Bytes(b"d") }
}

fn mark(device: &str, status: u32) -> Op {
    Op::Mark { id: id(device), status, reason: "why" }
}

fn marked(device: &str) -> Op {
    Op::Marked { id: id(device) }
}

fn at(hours: i64, ops: Vec<Op>) -> Op {
    Op::ScheduleMany { due: START + hours * HOUR, count: 1, message: script(ops) }
}

// From a contract each calls or asks the next, so many of them; the last runs ops.
fn chain(length: usize, ops: fn() -> Vec<Op>, link: fn(&'static str, Vec<Op>) -> Op) -> Vec<Op> {
    CONTRACTS[1..length].iter().rev().fold(ops(), |inner, contract| vec![link(contract, inner)])
}

enum Step {
    Execute(&'static str, Vec<Op>),
    Query(&'static str, Vec<Op>),
    Until(i64),
}

use Step::*;

fn calls() -> Vec<Step> {
    vec![
        Execute("c0", vec![set(b"0"), call("c1", vec![set(b"1"), emit("in"), Op::Around]), emit("out"), Op::Around]),
        Execute("c0", vec![get(), query("c1", vec![get(), Op::Around])]),
        Query("c0", vec![query("c1", vec![get(), Op::Around]), Op::Around]),
        // What fails within leaves no trace, what was around it does.
        Execute("c0", vec![set(b"x"), call("c1", vec![set(b"y"), emit("gone"), Op::Abort { code: 9 }]), emit("stays")]),
        Execute("c0", vec![call("c1", vec![set(b"y"), Op::Panic]), call("c1", vec![Op::Get { key: Bytes(b"") }])]),
        Query("c0", vec![get(), query("c1", vec![get()])]),
        // What fails around undoes what succeeded within.
        Execute("c0", vec![call("c1", vec![set(b"y"), emit("gone")]), Op::Abort { code: 9 }]),
        Query("c1", vec![get()]),
        Execute("c0", vec![call("c1", vec![set(b"new")]), query("c1", vec![get()])]),
        Execute("c0", vec![call("c0", vec![]), query("c0", vec![]), call("c1", vec![call("c0", vec![get()])])]),
        Execute("c0", vec![query("c1", vec![set(b"y")]), query("c1", vec![emit("no")]), query("c1", vec![call("c2", vec![])])]),
        Query("c0", vec![call("c1", vec![])]),
        Execute("c0", vec![call("nobody", vec![]), query("nobody", vec![]), call("", vec![]), query("A", vec![])]),
        Execute("c0", chain(8, || vec![set(b"deep")], call)),
        Execute("c0", chain(9, || vec![set(b"deep")], call)),
        Execute("c0", chain(10, || vec![set(b"deep")], call)),
        Query("c0", chain(9, || vec![get()], query)),
        Query("c0", chain(10, || vec![get()], query)),
        Execute("c0", vec![call("c1", vec![Op::ReplyFiller { size: 16385 }]), call("c1", vec![Op::ReplyFiller { size: 5 }])]),
        // The limit of events is the transaction's.
        Execute("c0", [vec![emit("a"); 60], vec![call("c1", vec![emit("b"); 5])], vec![emit("c"); 4]].concat()),
        Execute("c0", [vec![emit("a"); 60], vec![call("c1", vec![emit("b"); 4])], vec![emit("c")]].concat()),
        // The limit of scans is the call's.
        Execute("c0", {
            let scan = Op::Scan { prefix: Bytes(b""), start: Bytes(b""), take: 1 };
            [vec![scan; 8], vec![call("c1", vec![scan; 8]), call("c1", vec![scan; 9])]].concat()
        }),
    ]
}

fn devices() -> Vec<Step> {
    let filler = |reason| Op::MarkFiller { id: id(LOCK), reason };
    vec![
        Query("c0", vec![marked(LOCK), marked(ALIEN), marked(ANN)]),
        Execute("c0", vec![mark(LOCK, 2), marked(LOCK), mark(LOCK, 1), marked(LOCK), mark(LOCK, 1), mark(LOCK, 3)]),
        Execute("c0", vec![mark(ALIEN, 2), mark(ANN, 2), mark(OPERATOR, 2)]),
        Execute("c0", vec![Op::Mark { id: id(LOCK), status: 2, reason: "two\nlines" }, marked(LOCK)]),
        Execute("c0", vec![filler(256)]),
        Execute("c0", vec![filler(257)]),
        Execute("c0", vec![mark(LOCK, 5), Op::Abort { code: 9 }]),
        Execute("c0", vec![call("c1", vec![mark(LOCK, 5), Op::Abort { code: 9 }]), call("c1", vec![mark(LOCK, 2)])]),
        Query("c0", vec![query("c1", vec![mark(LOCK, 2)]), mark(LOCK, 2)]),
        Execute("c0", vec![at(1, vec![mark(LOCK, 4), marked(LOCK), mark(LOCK, 1)])]),
        Until(1),
        Execute("c0", vec![mark(LOCK, 1), mark(LOCK, 5), marked(LOCK)]),
    ]
}

fn timers() -> Vec<Step> {
    let many = |count| Op::ScheduleMany { due: START + 5 * HOUR, count, message: script(vec![]) };
    vec![
        Execute("c0", vec![at(3, vec![set(b"later"), emit("tick"), Op::Around]), at(2, vec![get(), set(b"sooner"), Op::Around])]),
        Execute("c1", vec![at(2, vec![set(b"z"), Op::Abort { code: 9 }]), at(2, vec![get()]), at(2, vec![Op::Panic])]),
        Execute("c1", vec![at(2, vec![]), Op::Abort { code: 9 }]),
        Execute("c0", vec![call("c1", vec![at(2, vec![call("c0", vec![get()])]), Op::Abort { code: 9 }])]),
        Execute("c0", vec![call("c1", vec![at(2, vec![call("c0", vec![get(), Op::Around])])])]),
        Query("c0", vec![query("c1", vec![at(2, vec![])])]),
        Until(2),
        Query("c1", vec![get()]),
        Execute("c1", vec![at(4, vec![at(5, vec![])])]),
        Until(3),
        Until(4),
        // As many at once as the gas of a transaction allows.
        Execute("c2", vec![many(200)]),
        Execute("c2", vec![many(200)]),
        Execute("c2", vec![many(200)]),
        Execute("c2", vec![many(200)]),
        Execute("c2", vec![many(200)]),
        Execute("c2", vec![many(25)]),
        Execute("c2", vec![many(24)]),
        Execute("c2", vec![many(1)]),
        Execute("c3", vec![many(1)]),
        Until(5),
        Execute("c2", vec![many(1)]),
        Until(6),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{:02x}", b)).collect()
}

fn ended(result: Result<Output, Failure>) -> String {
    match result {
        Ok(out) => format!("ok:{}", hex(&out.0)),
        Err(failure) => format!("{}:{}", failure.code, failure.abort),
    }
}

fn until(hours: i64) -> String {
    let mut runs: Vec<(String, usize)> = vec![];
    for result in fake::advance(START + hours * HOUR - fake::with(|h| h.time)) {
        let ended = ended(result);
        match runs.last_mut() {
            Some((last, count)) if *last == ended => *count += 1,
            _ => runs.push((ended, 1)),
        }
    }
    runs.iter().fold(format!("until {}", START + hours * HOUR), |line, (ended, n)| format!("{} {}*{}", line, ended, n))
}

fn play(contracts: &[fake::Deployed], step: Step) -> String {
    let by_name = |name| contracts[CONTRACTS.iter().position(|&c| c == name).unwrap()].by(id(ANN));
    match step {
        Until(hours) => until(hours),
        Query(name, ops) => {
            let script = encode(&ops[..]);
            format!("query {} {} {}", name, hex(script), ended(by_name(name).query(&Raw(script))))
        }
        Execute(name, ops) => {
            let (script, before) = (encode(&ops[..]), fake::with(|h| h.events.len()));
            let line = format!("execute {} {} {}", name, hex(script), ended(by_name(name).execute(&Raw(script))));
            let event = |e: &fake::Event| format!(" {}/{}/{}", e.contract, e.topic, hex(&e.data));
            fake::with(|h| h.events[before..].iter().fold(line, |line, e| line + &event(e)))
        }
    }
}

#[test]
fn the_fake_ledger_does_what_the_file_says() {
    fake::reset();
    fake::with(|h| {
        h.time = START;
        h.devices.insert(id(LOCK), DeviceRecord::of(id(OPERATOR)));
        h.devices.insert(id(ALIEN), DeviceRecord::of(id(ANN)));
    });
    let init = encode(&[][..] as &[Op]);
    let contracts = CONTRACTS.map(|name| fake::deploy(name, id(OPERATOR), entries(), &Raw(init)).unwrap());
    let steps = calls().into_iter().chain(devices()).chain(timers());
    let got: Vec<String> = steps.map(|step| play(&contracts, step)).collect();
    if std::env::var_os("POSTERN_WRITE").is_some() {
        std::fs::write(FILE, got.join("\n") + "\n").unwrap();
    }
    let file = std::fs::read_to_string(FILE).unwrap();
    let want: Vec<&str> = file.lines().collect();
    for (n, (got, want)) in got.iter().zip(&want).enumerate() {
        assert_eq!(got, want, "line {}", n + 1);
    }
    assert_eq!(got.len(), want.len());
}
