//! Runs the scripts over the fake host. With POSTERN_WRITE=1 in the
//! environment the file of expectations is written anew; the Go test then
//! tells whether the node's host agrees.

use crate::{entries, Op};
use postern::fake::{self, Deployed, Entry};
use postern::{encode, Bytes, Raw};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/conformance.txt");

fn set(key: &'static [u8], value: &'static [u8]) -> Op {
    Op::Set { key: Bytes(key), value: Bytes(value) }
}

fn get(key: &'static [u8]) -> Op {
    Op::Get { key: Bytes(key) }
}

fn scan(prefix: &'static [u8], start: &'static [u8], take: u32) -> Op {
    Op::Scan { prefix: Bytes(prefix), start: Bytes(start), take }
}

// One use of each function, for every entry point.
fn each_function() -> Vec<Op> {
    vec![
        get(b"k"),
        set(b"k", b"v"),
        Op::Delete { key: Bytes(b"k") },
        scan(b"", b"", 1),
        Op::Emit { topic: "t", data: Bytes(b"d") },
        Op::Call { contract: "nobody" },
        Op::Query { contract: "nobody" },
        Op::Device { id: [7; 32] },
        Op::SetStatus { id: [7; 32], reason: "r" },
        Op::Schedule { due: 5, message: Bytes(b"m") },
        Op::Now,
        Op::Sha256 { data: Bytes(b"abc") },
        Op::Verify { key: Bytes(&[0; 32]), message: Bytes(b"m"), signature: Bytes(&[0; 64]) },
        Op::Log { text: "l" },
        Op::Abort { code: 4711 },
        Op::Local,
        Op::Keep { record: Bytes(b"kept") },
        Op::Local,
        Op::KeepFiller { size: 4096 },
        Op::KeepFiller { size: 4097 },
        Op::Who,
        Op::Panic,
    ]
}

// Scripts of transactions, in order: each sees what those before it changed.
fn scripts() -> Vec<Vec<Op>> {
    vec![
        vec![set(b"a/1", b"one"), set(b"a/2", b""), set(b"a", b"x"), set(b"b", b"y"), scan(b"a/", b"", 3)],
        vec![scan(b"a/", b"a/2", 2), scan(b"", b"a/", 4), scan(b"c", b"", 1)],
        vec![set(b"a/1", b"other"), Op::Abort { code: 3 }],
        vec![get(b"a/1"), get(b"none")],
        vec![get(b"")],
        vec![Op::Delete { key: Bytes(b"none") }, Op::Delete { key: Bytes(b"") }],
        vec![Op::SetFiller { key: 256, value: 16384 }],
        vec![Op::SetFiller { key: 257, value: 0 }],
        vec![Op::SetFiller { key: 1, value: 16385 }],
        vec![Op::EmitFiller { topic: 64, data: 4096 }, Op::EmitFiller { topic: 0, data: 0 }],
        vec![Op::EmitFiller { topic: 65, data: 0 }],
        vec![Op::EmitFiller { topic: 0, data: 4097 }],
        vec![Op::EmitFiller { topic: 1, data: 1 }; 64],
        vec![Op::EmitFiller { topic: 1, data: 1 }; 65],
        vec![scan(b"", b"", 1); 8],
        vec![scan(b"", b"", 1); 9],
        vec![Op::ReplyFiller { size: 16384 }],
        vec![Op::ReplyFiller { size: 16385 }],
        vec![Op::Call { contract: "" }, Op::Call { contract: "No Name" }, Op::Query { contract: "-x" }],
        vec![Op::Schedule { due: 0, message: Bytes(b"") }, Op::Schedule { due: -1, message: Bytes(b"m") }],
        vec![Op::Abort { code: 0 }],
        vec![Op::Abort { code: 65535 }],
    ]
}

fn line(it: &Deployed, entry: Entry, script: &[u8]) -> String {
    let hex = |b: &[u8]| b.iter().map(|c| format!("{:02x}", c)).collect::<String>();
    let ended = match it.run(entry, &Raw(script)) {
        Ok(out) => format!("ok {}", hex(&out.0)),
        Err(failure) => format!("trap {} {}", failure.code, failure.abort),
    };
    format!("{} {} {}\n", entry.name(), hex(script), ended)
}

#[test]
fn the_fake_host_does_what_the_file_says() {
    fake::reset();
    fake::with(|h| (h.now, h.time) = (Some(1234), 1000));
    let init = encode(&[][..] as &[Op]);
    let it = fake::deploy("it", [1; 32], entries(), &Raw(init)).unwrap();
    let mut got = String::new();
    for entry in Entry::ALL {
        for op in each_function() {
            got += &line(&it, entry, encode(&[op][..]));
        }
        got += &line(&it, entry, &[0xff]);
    }
    for script in scripts() {
        got += &line(&it, Entry::Execute, encode(&script[..]));
    }
    if std::env::var_os("POSTERN_WRITE").is_some() {
        std::fs::write(FILE, &got).unwrap();
    }
    let want = std::fs::read_to_string(FILE).unwrap();
    for (n, (got, want)) in got.lines().zip(want.lines()).enumerate() {
        assert_eq!(got, want, "line {}", n + 1);
    }
    assert_eq!(got.len(), want.len());
}
