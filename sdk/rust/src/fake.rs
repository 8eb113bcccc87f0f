//! The host of native tests: contracts as Rust functions on a ledger in
//! memory. It refuses what the node's host refuses: host functions that an
//! entry point does not have, keys, values, events and results that are too
//! long, too many scans, events or timers, contracts that call themselves.
//! What fails leaves no trace. It has no gas and no limit of memory.
//!
//! ```
//! use postern::{done, encode, fake, reply, Abort, Context, Item, Reply};
//!
//! const COUNT: Item<u64> = Item::new("count");
//!
//! fn execute(c: &Context) -> Reply {
//!     COUNT.set(&(COUNT.get()?.unwrap_or(0) + c.parse_message::<u64>()?));
//!     done()
//! }
//!
//! fn query(_: &Context) -> Reply {
//!     reply(&COUNT.load()?)
//! }
//!
//! postern::entry_points! { execute => execute, query => query }
//!
//! # fn main() {
//! fake::reset();
//! let counter = fake::deploy("counter", [1; 32], entries(), &fake::NOTHING).unwrap();
//! counter.by([2; 32]).execute(&5u64).unwrap();
//! assert_eq!(counter.query(&()).unwrap().to::<u64>(), 5);
//! assert_eq!(counter.execute(&"five").unwrap_err().abort, postern::MALFORMED);
//! # }
//! ```
//!
//! There is one host a thread, as tests run. Parts of a contract may be tested
//! without [`deploy`]: outside of entry points the functions work on
//! [`Host::state`], and all of them are there.

use crate::cbor::Writer;
use crate::codec::{decode, encode, Decode, Encode, Hash, Raw};
use crate::contract::{code, Code};
use crate::device::Status;
use crate::entry::{Abort, Reply};
use crate::fake_sha256;
use crate::input::{Context, Input};
use crate::observation::Observation;
use crate::role::Role;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::rc::Rc;

/// A message of no bytes.
pub const NOTHING: Raw<'static> = Raw(&[]);

const MAX_TRANSACTION: usize = 64 << 10;
const MAX_NAME: usize = 64;
const MAX_TOPIC: usize = 64;
const MAX_EVENT: usize = 4 << 10;
const MAX_EVENTS: usize = 64;
const MAX_SCANS: usize = 8;
const MAX_CALL_DEPTH: usize = 8;
const MAX_TEXT: usize = 256;
const MAX_LOG: usize = 4 << 10;
const MAX_TIMERS: usize = 1024;

/// A state: keys and values in order.
pub type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// An entry point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Entry {
    Init,
    Migrate,
    Execute,
    Timer,
    Query,
    Search,
    Decide,
    Observe,
}

impl Entry {
    /// All of them.
    pub const ALL: [Entry; 8] = [
        Entry::Init,
        Entry::Migrate,
        Entry::Execute,
        Entry::Timer,
        Entry::Query,
        Entry::Search,
        Entry::Decide,
        Entry::Observe,
    ];

    /// The export's name.
    pub fn name(self) -> &'static str {
        ["init", "migrate", "execute", "timer", "query", "search", "decide", "observe"][self as usize]
    }

    fn changes(self) -> bool {
        self <= Entry::Timer
    }

    // Whether the entry point has a host function that not all have.
    fn has(self, function: &str) -> bool {
        match function {
            "state_set" | "state_delete" | "emit" | "call" | "schedule" => self.changes(),
            "device_set_status" => self == Entry::Execute || self == Entry::Timer,
            "now" => self == Entry::Decide || self == Entry::Observe,
            "local_get" | "local_set" => self == Entry::Observe,
            _ => true,
        }
    }
}

type Handler = Rc<dyn Fn(&Context) -> Reply>;

/// A contract's entry points: those of [`entry_points!`](crate::entry_points),
/// or closures that stand for another contract.
#[derive(Clone, Default)]
pub struct Entries {
    handlers: BTreeMap<&'static str, Handler>,
}

impl Entries {
    /// No entry point.
    pub fn new() -> Entries {
        Entries::default()
    }

    /// Adds an entry point by its export's name.
    pub fn on(mut self, name: &'static str, handler: impl Fn(&Context) -> Reply + 'static) -> Entries {
        assert!(Entry::ALL.iter().any(|e| e.name() == name), "{} is no entry point", name);
        self.handlers.insert(name, Rc::new(handler));
        self
    }
}

/// An event that a contract emitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The contract's name.
    pub contract: String,
    /// The topic.
    pub topic: String,
    /// The data.
    pub data: Vec<u8>,
}

/// A timer that is not due yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// When it is due, ms since 1970.
    pub due: i64,
    /// Its number.
    pub number: u64,
    /// The contract's name.
    pub contract: String,
    /// What its `timer` gets.
    pub message: Vec<u8>,
}

/// A device on the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct DeviceRecord {
    pub owner: Hash,
    pub manufacturer: String,
    pub model: String,
    pub serial: String,
    pub status: Status,
    pub labels: BTreeMap<String, String>,
    pub reason: String,
    pub since: u64,
    pub enrolled: u64,
}

impl DeviceRecord {
    /// An active device of an owner, without labels.
    pub fn of(owner: Hash) -> DeviceRecord {
        DeviceRecord {
            owner,
            manufacturer: "ACME".into(),
            model: "M1".into(),
            serial: "0001".into(),
            status: Status::Active,
            labels: BTreeMap::new(),
            reason: String::new(),
            since: 0,
            enrolled: 0,
        }
    }

    /// The same with a label.
    pub fn label(mut self, name: &str, value: &str) -> DeviceRecord {
        self.labels.insert(name.into(), value.into());
        self
    }
}

impl Encode for DeviceRecord {
    fn encode(&self, w: &mut Writer) {
        w.map(7 + !self.labels.is_empty() as usize + !self.reason.is_empty() as usize);
        w.uint(1).bytes(&self.owner).uint(2).text(&self.manufacturer).uint(3).text(&self.model);
        w.uint(4).text(&self.serial).uint(5).uint(self.status as u64);
        if !self.labels.is_empty() {
            let mut labels: Vec<_> = self.labels.iter().collect();
            labels.sort_by_key(|(name, _)| (name.len(), name.to_string()));
            w.uint(6).map(labels.len());
            for (name, value) in labels {
                w.text(name).text(value);
            }
        }
        if !self.reason.is_empty() {
            w.uint(7).text(&self.reason);
        }
        w.uint(8).uint(self.since).uint(10).uint(self.enrolled);
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The host's code: [`code::ABORTED`] where the contract refused.
    pub code: Code,
    /// The contract's own code, where it refused.
    pub abort: u16,
    /// The text for logs.
    pub text: String,
}

impl Failure {
    fn trap(code: Code, text: impl Into<String>) -> Failure {
        Failure { code, abort: 0, text: text.into() }
    }

    /// Whether the contract refused for this reason.
    pub fn is(&self, abort: Abort) -> bool {
        self.code == code::ABORTED && self.abort == abort.code()
    }
}

/// What a call returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output(pub Vec<u8>);

impl Output {
    /// The value that it holds; panics where it holds none of the type.
    pub fn to<T: Decode<'static>>(&self) -> T {
        match decode(Vec::leak(self.0.clone())) {
            Ok(value) => value,
            Err(err) => panic!("{:?} in the output {:02x?}", err, self.0),
        }
    }
}

// What a failed call leaves as it was.
#[derive(Clone, Default)]
struct Ledger {
    contracts: BTreeMap<String, Installed>,
    events: Vec<Event>,
    timers: Vec<Timer>,
    devices: BTreeMap<Hash, DeviceRecord>,
    local: BTreeMap<(String, Hash), Vec<u8>>,
    next_timer: u64,
}

#[derive(Clone)]
struct Installed {
    owner: Hash,
    entries: Entries,
    state: State,
}

/// The host. [`with`] gives access to the thread's own.
#[derive(Default)]
pub struct Host {
    /// The state of the contract that runs; outside of calls, that of parts
    /// that are tested without a contract.
    pub state: State,
    /// The gateway's clock in ms; None when it is not trusted.
    pub now: Option<i64>,
    /// The block's time in ms; [`advance`] moves it.
    pub time: i64,
    /// The block's height.
    pub height: u64,
    /// How often state_get was called.
    pub reads: usize,
    /// Timers, in order of scheduling.
    pub timers: Vec<Timer>,
    /// Events that were not undone.
    pub events: Vec<Event>,
    /// Debug log lines.
    pub logs: Vec<String>,
    /// Device records by id.
    pub devices: BTreeMap<Hash, DeviceRecord>,
    /// The gateway's own records, by contract and device.
    pub local: BTreeMap<(String, Hash), Vec<u8>>,
    /// Signatures that verify accepts, as (key, message, signature).
    pub signatures: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>,
    contracts: BTreeMap<String, Installed>,
    next_timer: u64,
    frames: Vec<Frame>,
}

type Rows = std::vec::IntoIter<(Vec<u8>, Vec<u8>)>;

// A running call.
#[derive(Clone, Default)]
struct Frame {
    entry: Option<Entry>, // None outside of entry points
    contract: String,
    caller: Option<Hash>,
    observed: Option<Hash>, // the device that observe or evidence is about
    events: usize,          // emitted before the transaction
    scans: Vec<std::iter::Peekable<Rows>>,
}

impl Host {
    fn save(&self) -> Ledger {
        Ledger {
            contracts: self.contracts.clone(),
            events: self.events.clone(),
            timers: self.timers.clone(),
            devices: self.devices.clone(),
            local: self.local.clone(),
            next_timer: self.next_timer,
        }
    }

    fn restore(&mut self, saved: Ledger) {
        self.contracts = saved.contracts;
        self.events = saved.events;
        self.timers = saved.timers;
        self.devices = saved.devices;
        self.local = saved.local;
        self.next_timer = saved.next_timer;
    }

    // The running call; outside of calls, one without an entry point.
    fn frame(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        self.frames.last_mut().expect("a frame")
    }

    // The contracts that are running.
    fn depth(&self) -> usize {
        self.frames.iter().filter(|f| f.entry.is_some()).count()
    }

    // The key of the local record that the running call has.
    fn local_key(&mut self) -> (String, Hash) {
        let frame = self.frame();
        (frame.contract.clone(), frame.observed.unwrap_or_default())
    }

    fn swap_state(&mut self, contract: &str) {
        let installed = self.contracts.get_mut(contract).expect("the contract");
        std::mem::swap(&mut installed.state, &mut self.state);
    }
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::new(Host::default());
}

/// Runs `f` with the thread's host. The contract must not be called from it.
pub fn with<T>(f: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with(|h| f(&mut h.borrow_mut()))
}

/// Puts a new, empty host in place of the thread's.
pub fn reset() {
    with(|h| *h = Host::default());
}

/// A contract that was deployed, and who calls it: by itself, its owner.
#[derive(Clone, Copy, Debug)]
pub struct Deployed {
    name: &'static str,
    caller: Hash,
    roles: u64,
}

/// Deploys a contract and runs its `init` with the message, which is empty
/// where it has none.
pub fn deploy<M: Encode + ?Sized>(
    name: &'static str,
    owner: Hash,
    entries: Entries,
    message: &M,
) -> Result<Deployed, Failure> {
    assert!(valid_name(name), "{:?} names no contract", name);
    let deployed = Deployed { name, caller: owner, roles: 0 };
    let has_init = entries.handlers.contains_key("init");
    let installed = Installed { owner, entries, state: State::new() };
    with(|h| h.contracts.insert(name.to_string(), installed));
    if has_init {
        deployed.run(Entry::Init, message).map_err(|failure| {
            with(|h| h.contracts.remove(name));
            failure
        })?;
    } else {
        assert!(encode(message).is_empty(), "{} has no init for the message", name);
    }
    Ok(deployed)
}

/// Makes the next block, `ms` later than the last, and runs the timers that
/// are due then. Returns how each ended.
pub fn advance(ms: i64) -> Vec<Result<Output, Failure>> {
    let mut due = with(|h| {
        h.time += ms;
        h.height += 1;
        let now = h.time;
        let (due, rest) = std::mem::take(&mut h.timers).into_iter().partition(|t| t.due <= now);
        h.timers = rest;
        let due: Vec<Timer> = due;
        due
    });
    due.sort_by_key(|t| (t.due, t.number));
    due.into_iter().map(|t| top(&t.contract, Entry::Timer, None, None, 0, &t.message)).collect()
}

impl Deployed {
    /// The same contract, called by an account.
    pub fn by(self, caller: Hash) -> Deployed {
        Deployed { caller, ..self }
    }

    /// The same contract, called with a role besides those it has.
    pub fn with_role(self, role: Role) -> Deployed {
        Deployed { roles: self.roles | role.0, ..self }
    }

    /// Runs an entry point. The caller is a device where [`Host::devices`] has
    /// its record. Timers and queries have no caller: nobody signed them.
    pub fn run<M: Encode + ?Sized>(&self, entry: Entry, message: &M) -> Result<Output, Failure> {
        let unsigned = entry == Entry::Timer || entry == Entry::Query;
        let (caller, roles) = if unsigned { (None, 0) } else { (Some(self.caller), self.roles) };
        top(self.name, entry, caller, None, roles, encode(message))
    }

    /// Runs `observe` as a gateway does, with the device's local record.
    pub fn observe(&self, o: &Observation) -> Result<Output, Failure> {
        top(self.name, Entry::Observe, Some(o.device), Some(o.device), 0, encode(o))
    }

    /// Runs `execute` on what a device signed, which the caller submits.
    pub fn evidence(&self, o: &Observation) -> Result<Output, Failure> {
        top(self.name, Entry::Execute, Some(self.caller), Some(o.device), self.roles, encode(o))
    }

    /// Runs `execute` as a transaction does.
    pub fn execute<M: Encode + ?Sized>(&self, message: &M) -> Result<Output, Failure> {
        self.run(Entry::Execute, message)
    }

    /// Runs `query`.
    pub fn query<M: Encode + ?Sized>(&self, message: &M) -> Result<Output, Failure> {
        self.run(Entry::Query, message)
    }

    /// Runs `decide`.
    pub fn decide<M: Encode + ?Sized>(&self, request: &M) -> Result<Output, Failure> {
        self.run(Entry::Decide, request)
    }

    /// Puts other code in place of the contract's and runs its `migrate` in
    /// the contract's state. Where that fails, the old code stays.
    pub fn upgrade<M: Encode + ?Sized>(&self, entries: Entries, message: &M) -> Result<(), Failure> {
        let has_migrate = entries.handlers.contains_key("migrate");
        let replace = |entries| with(|h| std::mem::replace(&mut h.contracts.get_mut(self.name).expect("it").entries, entries));
        let old = replace(entries);
        if !has_migrate {
            assert!(encode(message).is_empty(), "{} has no migrate for the message", self.name);
            return Ok(());
        }
        self.run(Entry::Migrate, message).map(|_| ()).map_err(|failure| {
            replace(old);
            failure
        })
    }

    /// A copy of the contract's state.
    pub fn state(&self) -> State {
        with(|h| h.contracts[self.name].state.clone())
    }

    /// The topics of the events that it emitted, in order.
    pub fn topics(&self) -> Vec<String> {
        with(|h| h.events.iter().filter(|e| e.contract == self.name).map(|e| e.topic.clone()).collect())
    }

    /// The data of its last event with a topic; panics where there is none.
    pub fn event<T: Decode<'static>>(&self, topic: &str) -> T {
        let data = with(|h| {
            let found = h.events.iter().rev().find(|e| e.contract == self.name && e.topic == topic);
            found.unwrap_or_else(|| panic!("no event {:?}", topic)).data.clone()
        });
        Output(data).to()
    }
}

// What 1 to 64 of a-z, 0-9, '-', '.' and '_' is, beginning with one of the
// first two kinds.
fn valid_name(name: &str) -> bool {
    let alnum = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= MAX_NAME
        && bytes.first().map_or(false, |&c| alnum(c))
        && bytes.iter().all(|&c| alnum(c) || b"-._".contains(&c))
}

// Runs an entry point at the top level.
fn top(
    contract: &str,
    entry: Entry,
    caller: Option<Hash>,
    observed: Option<Hash>,
    roles: u64,
    message: &[u8],
) -> Result<Output, Failure> {
    let frame = with(|h| {
        assert_eq!(h.depth(), 0, "a test calls contracts from outside");
        h.frames.clear();
        let events = h.events.len();
        Frame { entry: Some(entry), contract: contract.to_string(), caller, observed, events, scans: vec![] }
    });
    run(frame, roles, None, message)
}

// Runs a call; what fails leaves no trace.
fn run(frame: Frame, roles: u64, parent: Option<String>, message: &[u8]) -> Result<Output, Failure> {
    let entry = frame.entry.expect("an entry point");
    let contract = frame.contract.clone();
    let found = with(|h| h.contracts.get(&contract).map(|c| c.entries.handlers.get(entry.name()).cloned()));
    let handler = match found {
        None => return Err(Failure::trap(code::UNKNOWN_CONTRACT, contract)),
        Some(None) => return Err(Failure::trap(code::NO_ENTRY_POINT, entry.name())),
        Some(Some(handler)) => handler,
    };
    let input = Vec::leak(with(|h| input(h, &frame, roles, parent, message)));
    let saved = with(|h| {
        let saved = h.save();
        h.swap_state(&contract);
        h.frames.push(frame);
        saved
    });
    let ended = catch_unwind(AssertUnwindSafe(|| handler(&Input::parse(input))));
    let outcome = outcome(ended);
    with(|h| {
        h.frames.pop();
        h.swap_state(&contract);
        if outcome.is_err() {
            h.restore(saved);
        }
    });
    outcome
}

fn outcome(ended: std::thread::Result<Reply>) -> Result<Output, Failure> {
    match ended {
        Ok(Ok(out)) if out.len() > crate::MAX_RESULT => Err(Failure::trap(code::RESULT_TOO_LONG, "")),
        Ok(Ok(out)) => Ok(Output(out.to_vec())),
        Ok(Err(abort)) => Err(Failure { code: code::ABORTED, abort: abort.code(), text: abort.to_string() }),
        Err(payload) => Err(match payload.downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(payload) => Failure::trap(code::UNREACHABLE, panic_text(&*payload)),
        }),
    }
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default()
}

// The input as the host encodes it.
fn input(h: &Host, frame: &Frame, roles: u64, parent: Option<String>, message: &[u8]) -> Vec<u8> {
    let entry = frame.entry.expect("an entry point");
    let device = frame.caller.filter(|_| parent.is_none()).and_then(|c| h.devices.get(&c));
    let transaction = Some(transaction_id(h)).filter(|_| entry.changes());
    let evidence = frame.observed.filter(|_| entry == Entry::Execute && parent.is_none());
    let domain = Some("domain").filter(|_| entry == Entry::Decide);
    let optional = [
        frame.caller.is_some(),
        roles != 0,
        device.is_some(),
        transaction.is_some(),
        domain.is_some(),
        parent.is_some(),
        evidence.is_some(),
    ];
    let mut w = Writer::new(message.len() + (8 << 10));
    w.array(2).map(5 + optional.iter().filter(|&&present| present).count());
    w.uint(1).bytes(&[0xc4; 32]).uint(2).uint(h.height).uint(3).int(h.time).uint(4).text(&frame.contract);
    frame.caller.iter().for_each(|c| w.uint(5).encoded(c));
    Some(roles).iter().filter(|&&r| r != 0).for_each(|r| w.uint(6).encoded(r));
    device.iter().for_each(|d| w.uint(7).encoded(*d));
    transaction.iter().for_each(|t| w.uint(8).encoded(t));
    w.uint(9).bytes(&h.contracts[&frame.contract].owner);
    domain.iter().for_each(|d| w.uint(10).encoded(*d));
    parent.iter().for_each(|p| w.uint(11).encoded(p.as_str()));
    evidence.iter().for_each(|d| w.uint(12).encoded(d));
    w.bytes(message).finish_here()
}

fn transaction_id(h: &Host) -> Hash {
    fake_sha256::digest(&[h.height.to_be_bytes(), (h.events.len() as u64).to_be_bytes()].concat())
}

impl Writer {
    fn encoded<T: Encode + ?Sized>(&mut self, value: &T) {
        value.encode(self);
    }

    fn finish_here(&mut self) -> Vec<u8> {
        let w = std::mem::replace(self, Writer::measure());
        w.finish().expect("an input that fits").to_vec()
    }
}

// Ends the running call. Outside of calls, a test's own mistake.
fn fail(code: Code, text: &str) -> ! {
    if with(|h| h.depth()) == 0 {
        panic!("the host refuses this with code {}: {}", code, text);
    }
    resume_unwind(Box::new(Failure::trap(code, text)))
}

/// The functions as the wasm host has them, over raw pointers.
#[allow(clippy::missing_safety_doc)]
pub(crate) mod raw {
    use super::*;
    use std::slice::{from_raw_parts, from_raw_parts_mut};

    unsafe fn copy(value: Option<&[u8]>, buf: *mut u8, cap: usize) -> i32 {
        let value = match value {
            Some(value) => value,
            None => return -1,
        };
        if value.len() <= cap {
            from_raw_parts_mut(buf, value.len()).copy_from_slice(value);
        }
        value.len() as i32
    }

    // Begins a host function: the entry point must have it.
    fn enter(function: &str) {
        if with(|h| h.frame().entry.map_or(false, |e| !e.has(function))) {
            fail(code::NOT_ALLOWED_HERE, function);
        }
    }

    unsafe fn limited(ptr: *const u8, len: usize, max: usize, too_long: Code) -> Vec<u8> {
        if len > max {
            fail(too_long, "");
        }
        from_raw_parts(ptr, len).to_vec()
    }

    unsafe fn state_key(ptr: *const u8, len: usize) -> Vec<u8> {
        if len == 0 {
            fail(code::KEY_TOO_LONG, "empty");
        }
        limited(ptr, len, crate::MAX_KEY, code::KEY_TOO_LONG)
    }

    unsafe fn text(ptr: *const u8, len: usize, max: usize) -> String {
        String::from_utf8_lossy(from_raw_parts(ptr, len.min(max))).into_owned()
    }

    pub unsafe fn state_get(key: *const u8, key_len: usize, buf: *mut u8, cap: usize) -> i32 {
        enter("state_get");
        let key = state_key(key, key_len);
        with(|h| {
            h.reads += 1;
            copy(h.state.get(&key).map(|v| &v[..]), buf, cap)
        })
    }

    pub unsafe fn state_set(key: *const u8, key_len: usize, val: *const u8, val_len: usize) {
        enter("state_set");
        let key = state_key(key, key_len);
        let value = limited(val, val_len, crate::MAX_VALUE, code::VALUE_TOO_LONG);
        with(|h| h.state.insert(key, value));
    }

    pub unsafe fn state_delete(key: *const u8, key_len: usize) {
        enter("state_delete");
        let key = state_key(key, key_len);
        with(|h| h.state.remove(&key));
    }

    pub unsafe fn state_scan(prefix: *const u8, prefix_len: usize, start: *const u8, start_len: usize) -> i32 {
        enter("state_scan");
        let prefix = limited(prefix, prefix_len, crate::MAX_KEY, code::KEY_TOO_LONG);
        let start = limited(start, start_len, crate::MAX_KEY, code::KEY_TOO_LONG);
        let handle = with(|h| {
            let rest = h.state.iter().filter(|(k, _)| k.starts_with(&prefix) && **k >= start);
            let rows: Vec<_> = rest.map(|(k, v)| (k.clone(), v.clone())).collect();
            let scans = &mut h.frame().scans;
            scans.push(rows.into_iter().peekable());
            scans.len() - 1
        });
        if handle == MAX_SCANS {
            fail(code::TOO_MANY_SCANS, "");
        }
        handle as i32
    }

    pub unsafe fn scan_next(handle: i32, buf: *mut u8, cap: usize) -> i32 {
        enter("scan_next");
        let row = with(|h| h.frame().scans.get_mut(handle as usize).map(|rows| rows.peek().cloned()));
        let (key, value) = match row {
            None => fail(code::BAD_ARGUMENT, "no such scan"),
            Some(None) => return -1,
            Some(Some(row)) => row,
        };
        let row = [&(key.len() as u32).to_le_bytes()[..], &key, &value].concat();
        if row.len() <= cap {
            with(|h| h.frame().scans[handle as usize].next());
        }
        copy(Some(&row), buf, cap)
    }

    pub unsafe fn local_get(buf: *mut u8, cap: usize) -> i32 {
        enter("local_get");
        with(|h| {
            let key = h.local_key();
            copy(h.local.get(&key).map(|v| &v[..]), buf, cap)
        })
    }

    pub unsafe fn local_set(ptr: *const u8, len: usize) {
        enter("local_set");
        let value = limited(ptr, len, crate::MAX_LOCAL, code::VALUE_TOO_LONG);
        with(|h| {
            let key = h.local_key();
            h.local.insert(key, value)
        });
    }

    pub unsafe fn emit(topic: *const u8, topic_len: usize, data: *const u8, data_len: usize) {
        enter("emit");
        let topic = limited(topic, topic_len, MAX_TOPIC, code::KEY_TOO_LONG);
        let data = limited(data, data_len, MAX_EVENT, code::VALUE_TOO_LONG);
        let topic = String::from_utf8(topic).expect("a topic is text");
        let fits = with(|h| {
            let (contract, before) = (h.frame().contract.clone(), h.frame().events);
            let fits = h.events.len() < before + MAX_EVENTS;
            h.events.push(Event { contract, topic, data });
            fits
        });
        if !fits {
            fail(code::TOO_MANY_EVENTS, "");
        }
    }

    // Runs another contract within this one.
    fn nested(entry: Entry, name: String, message: Vec<u8>) -> Result<Output, Failure> {
        let refuse = |code| Err(Failure::trap(code, name.clone()));
        if !valid_name(&name) {
            return refuse(code::UNKNOWN_CONTRACT);
        }
        if message.len() > MAX_TRANSACTION {
            return refuse(code::TOO_LARGE);
        }
        let (outer, around, runs) = with(|h| {
            (h.frame().clone(), h.depth(), h.frames.iter().any(|f| f.contract == name))
        });
        if runs {
            return refuse(code::REENTRANT);
        }
        if with(|h| !h.contracts.contains_key(&name)) {
            return refuse(code::UNKNOWN_CONTRACT);
        }
        if around > MAX_CALL_DEPTH {
            return refuse(code::CALL_DEPTH);
        }
        let frame = Frame { entry: Some(entry), contract: name.clone(), scans: vec![], ..outer.clone() };
        run(frame, 0, Some(outer.contract), &message)
    }

    unsafe fn answer(result: Result<Output, Failure>, buf: *mut u8, cap: usize) -> i64 {
        match result {
            Ok(out) if out.0.len() > cap => -(code::RESULT_TOO_LONG as i64),
            Ok(out) => copy(Some(&out.0), buf, cap) as i64,
            Err(failure) => -(failure.code as i64),
        }
    }

    pub unsafe fn call(name: *const u8, nlen: usize, msg: *const u8, mlen: usize, buf: *mut u8, cap: usize) -> i64 {
        enter("call");
        let result = nested(Entry::Execute, text(name, nlen, nlen), from_raw_parts(msg, mlen).to_vec());
        answer(result, buf, cap)
    }

    pub unsafe fn query(name: *const u8, nlen: usize, msg: *const u8, mlen: usize, buf: *mut u8, cap: usize) -> i64 {
        enter("query");
        let result = nested(Entry::Query, text(name, nlen, nlen), from_raw_parts(msg, mlen).to_vec());
        answer(result, buf, cap)
    }

    unsafe fn id(ptr: *const u8) -> Hash {
        let mut id = [0; 32];
        id.copy_from_slice(from_raw_parts(ptr, 32));
        id
    }

    pub unsafe fn device_get(device: *const u8, buf: *mut u8, cap: usize) -> i32 {
        enter("device_get");
        let record = with(|h| h.devices.get(&id(device)).map(encode));
        copy(record, buf, cap)
    }

    pub unsafe fn device_set_status(device: *const u8, status: i32, reason: *const u8, reason_len: usize) -> i32 {
        enter("device_set_status");
        let reason = limited(reason, reason_len, MAX_TEXT, code::VALUE_TOO_LONG);
        let result = match status {
            1..=5 => with(|h| set_status(h, id(device), Status::of(status as u64), reason)),
            _ => Err(code::BAD_STATUS),
        };
        match result {
            Ok(()) => 0,
            Err(code) => -(code as i32),
        }
    }

    fn set_status(h: &mut Host, id: Hash, status: Status, reason: Vec<u8>) -> Result<(), Code> {
        let reason = String::from_utf8(reason).map_err(|_| code::BAD_ARGUMENT)?;
        if reason.chars().any(char::is_control) {
            return Err(code::BAD_ARGUMENT);
        }
        let contract = h.frame().contract.clone();
        let owner = h.contracts.get(&contract).map(|c| c.owner);
        let height = h.height;
        let device = h.devices.get_mut(&id).ok_or(code::UNKNOWN_DEVICE)?;
        if owner.map_or(false, |owner| owner != device.owner) {
            return Err(code::NOT_PERMITTED);
        }
        if matches!(device.status, Status::Stolen | Status::Retired) {
            return Err(code::BAD_STATUS);
        }
        if status < device.status {
            return Err(code::NOT_PERMITTED); // people release devices, with a reason
        }
        if status == device.status {
            return Ok(());
        }
        device.status = status;
        device.reason = reason;
        device.since = height;
        Ok(())
    }

    pub unsafe fn schedule(due_ms: i64, msg: *const u8, msg_len: usize) -> i64 {
        enter("schedule");
        let message = limited(msg, msg_len, crate::MAX_VALUE, code::VALUE_TOO_LONG);
        let number = with(|h| {
            let contract = h.frame().contract.clone();
            if h.timers.iter().filter(|t| t.contract == contract).count() >= MAX_TIMERS {
                return None;
            }
            let (due, number) = (due_ms.max(h.time + 1), h.next_timer);
            h.next_timer += 1;
            h.timers.push(Timer { due, number, contract, message });
            Some(number as i64)
        });
        number.unwrap_or_else(|| fail(code::TOO_MANY_TIMERS, ""))
    }

    pub unsafe fn now() -> i64 {
        enter("now");
        with(|h| h.now.unwrap_or(-1))
    }

    pub unsafe fn sha256(ptr: *const u8, len: usize, out: *mut u8) {
        from_raw_parts_mut(out, 32).copy_from_slice(&fake_sha256::digest(from_raw_parts(ptr, len)));
    }

    pub unsafe fn verify(k: *const u8, klen: usize, m: *const u8, mlen: usize, s: *const u8, slen: usize) -> i32 {
        let vec = |ptr, len| from_raw_parts(ptr, len).to_vec();
        let wanted = (vec(k, klen), vec(m, mlen), vec(s, slen));
        with(|h| h.signatures.contains(&wanted) as i32)
    }

    pub unsafe fn log(ptr: *const u8, len: usize) {
        let line = text(ptr, len, MAX_LOG);
        with(|h| h.logs.push(line));
    }

    pub unsafe fn abort(abort: i32, ptr: *const u8, len: usize) -> ! {
        let failure = Failure { code: code::ABORTED, abort: abort as u16, text: text(ptr, len, MAX_TEXT) };
        if with(|h| h.depth()) == 0 {
            panic!("{:?}", failure);
        }
        resume_unwind(Box::new(failure))
    }
}

#[cfg(test)]
#[path = "fake_tests.rs"]
mod tests;
