//! A contract whose messages are scripts of host functions. The same scripts
//! run over the fake host (here) and as Wasm over the node's host (the Go test
//! TestFakeHostOfTheRustSDK in contracts) and the ledger (TestFakeLedgerOfTheRustSDK
//! in runtime/scratch); both must end as testdata/conformance.txt and
//! testdata/ledger.txt say.

#![cfg_attr(target_arch = "wasm32", no_std)]

#[cfg(test)]
mod ledger_tests;
#[cfg(test)]
mod tests;

use postern::cbor::Writer;
use postern::{choice, Bytes, Code, Context, Device, Hash, List, Reply, Scan, Status};

postern::entry_points! {
    init => script,
    migrate => script,
    execute => script,
    timer => script,
    query => script,
    search => script,
    decide => script,
    observe => script,
}

choice! {
    /// One use of a host function. A filler is so many bytes of 'x'.
    pub enum Op {
        1 => Get { key: Bytes<'static> },
        2 => Set { key: Bytes<'static>, value: Bytes<'static> },
        3 => Delete { key: Bytes<'static> },
        4 => Scan { prefix: Bytes<'static>, start: Bytes<'static>, take: u32 },
        5 => Emit { topic: &'static str, data: Bytes<'static> },
        6 => Call { contract: &'static str },
        7 => Query { contract: &'static str },
        8 => Device { id: Hash },
        9 => SetStatus { id: Hash, reason: &'static str },
        10 => Schedule { due: i64, message: Bytes<'static> },
        11 => Now,
        12 => Sha256 { data: Bytes<'static> },
        13 => Verify { key: Bytes<'static>, message: Bytes<'static>, signature: Bytes<'static> },
        14 => Log { text: &'static str },
        15 => Abort { code: u16 },
        16 => Local,
        17 => SetFiller { key: u32, value: u32 },
        18 => EmitFiller { topic: u32, data: u32 },
        19 => ReplyFiller { size: u32 },
        20 => Who,
        21 => Panic,
        22 => CallWith { contract: &'static str, script: Bytes<'static> },
        23 => QueryWith { contract: &'static str, script: Bytes<'static> },
        24 => Mark { id: Hash, status: u32, reason: &'static str },
        25 => Marked { id: Hash },
        26 => ScheduleMany { due: i64, count: u32, message: Bytes<'static> },
        27 => Around,
        28 => MarkFiller { id: Hash, reason: u32 },
        29 => Keep { record: Bytes<'static> },
        30 => KeepFiller { size: u32 },
    }
}

fn script(c: &Context) -> Reply {
    let mut w = Writer::new(8 << 10);
    let ops: List<Op> = c.parse_message()?;
    w.array(ops.len());
    for op in ops.iter() {
        match op? {
            Op::ReplyFiller { size } => return Ok(filler(size).as_bytes()),
            op => run(c, op, &mut w),
        }
    }
    Ok(w.finish()?)
}

#[inline(never)]
fn filler(size: u32) -> &'static str {
    let b = postern::buffer(size as usize);
    b.fill(b'x');
    core::str::from_utf8(b).unwrap_or("")
}

// A chain of the lean profile compiles no function as long as these were in
// one, hence the attributes.
#[inline(never)]
fn run(c: &Context, op: Op, w: &mut Writer) {
    match op {
        Op::Get { key } => found(w, postern::state_get(key.0)),
        Op::Set { key, value } => drop(w.bool({
            postern::state_set(key.0, value.0);
            true
        })),
        Op::Delete { key } => drop(w.bool({
            postern::state_delete(key.0);
            true
        })),
        Op::Scan { prefix, start, take } => scan(w, prefix.0, start.0, take),
        Op::Call { contract } => result(w, postern::call(contract, b"")),
        Op::Query { contract } => result(w, postern::query(contract, b"")),
        Op::Device { id } => found(w, postern::device_get(&id)),
        Op::SetStatus { id, reason } => {
            result(w, postern::device_set_status(&id, Status::Suspended, reason).map(|()| &[][..]))
        }
        Op::Schedule { due, message } => drop(w.int(postern::schedule(due, message.0))),
        Op::Now => drop(w.int(postern::now().unwrap_or(-1))),
        Op::Sha256 { data } => drop(w.bytes(&postern::sha256(data.0))),
        Op::Verify { key, message, signature } => drop(w.bool(postern::verify(key.0, message.0, signature.0))),
        Op::Abort { code } => postern::abort(code, b"as told"),
        Op::Local => found(w, postern::local_get()),
        Op::Who => drop(w.array(3).int(c.env.time).bytes(c.env.caller.unwrap_or(&[])).text_bytes(c.env.contract)),
        Op::Panic => panic!("as told"),
        Op::CallWith { contract, script } => result(w, postern::call(contract, script.0)),
        Op::QueryWith { contract, script } => result(w, postern::query(contract, script.0)),
        Op::Mark { id, status, reason } => mark(w, &id, status, reason),
        Op::MarkFiller { id, reason } => mark(w, &id, Status::Suspended as u32, filler(reason)),
        Op::Marked { id } => marked(w, &id),
        Op::Around => drop(w.array(2).bytes(c.env.caller.unwrap_or(&[])).text_bytes(c.env.parent.unwrap_or(&[]))),
        told => tell(told, w),
    }
}

// What gives no result.
#[inline(never)]
fn tell(op: Op, w: &mut Writer) {
    match op {
        Op::Emit { topic, data } => postern::emit(topic, data.0),
        Op::Log { text } => postern::log(text),
        Op::Keep { record } => postern::local_set(record.0),
        Op::KeepFiller { size } => postern::local_set(filler(size).as_bytes()),
        Op::SetFiller { key, value } => postern::state_set(filler(key).as_bytes(), filler(value).as_bytes()),
        Op::EmitFiller { topic, data } => postern::emit(filler(topic), filler(data).as_bytes()),
        Op::ScheduleMany { due, count, message } => (0..count).for_each(|_| drop(postern::schedule(due, message.0))),
        _ => {}
    }
    w.null();
}

#[inline(never)]
fn mark(w: &mut Writer, id: &Hash, status: u32, reason: &str) {
    let status = [Status::Active, Status::Suspended, Status::Quarantined, Status::Stolen, Status::Retired][status as usize - 1];
    result(w, postern::device_set_status(id, status, reason).map(|()| &[][..]));
}

// Of a device's record what does not depend on how it was enrolled.
#[inline(never)]
fn marked(w: &mut Writer, id: &Hash) {
    match Device::get(id) {
        Some(device) => w.array(2).uint(device.status() as u64).text(device.reason()),
        None => w.null(),
    };
}

#[inline(never)]
fn found(w: &mut Writer, value: Option<&[u8]>) {
    match value {
        Some(value) => w.bytes(value),
        None => w.null(),
    };
}

#[inline(never)]
fn result(w: &mut Writer, result: Result<&[u8], Code>) {
    match result {
        Ok(out) => w.bytes(out),
        Err(code) => w.uint(code as u64),
    };
}

#[inline(never)]
fn scan(w: &mut Writer, prefix: &[u8], start: &[u8], take: u32) {
    let mut scan = Scan::new(prefix, start);
    w.array(take as usize);
    for _ in 0..take {
        match scan.next() {
            Some((key, value)) => w.array(2).bytes(key).bytes(value),
            None => w.null(),
        };
    }
}
