//! The host of native tests: a map for the state, a settable clock, and a
//! record of what the contract did. One host a thread, as tests run.

use crate::fake_sha256;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// A state: keys and values in order.
pub type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// The host. [`with`] gives access to the thread's own.
#[derive(Default)]
pub struct Host {
    /// The contract's state.
    pub state: State,
    /// The gateway's clock in ms; None when it is not trusted.
    pub now: Option<i64>,
    /// How often state_get was called.
    pub reads: usize,
    /// Timers as (due ms, message), in order of scheduling.
    pub timers: Vec<(i64, Vec<u8>)>,
    /// Events as (topic, data).
    pub events: Vec<(String, Vec<u8>)>,
    /// Debug log lines.
    pub logs: Vec<String>,
    /// The gateway-local record.
    pub local: Option<Vec<u8>>,
    /// Device records by id.
    pub devices: BTreeMap<[u8; 32], Vec<u8>>,
    /// Statuses that were set, as (id, status, reason).
    pub statuses: Vec<([u8; 32], u8, String)>,
    /// Signatures that verify accepts, as (key, message, signature).
    pub signatures: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>,
    /// What call and query answer, by contract and message; others are
    /// unknown contracts (code 111).
    pub answers: BTreeMap<(String, Vec<u8>), Vec<u8>>,
    scans: Vec<Vec<(Vec<u8>, Vec<u8>)>>,
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

/// What a contract aborts with when it calls `abort` itself: the panic's
/// payload. Contracts return an Abort instead, so tests rarely see it.
pub struct Aborted {
    /// The contract's code.
    pub code: u16,
    /// The text.
    pub text: String,
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

    unsafe fn vec(ptr: *const u8, len: usize) -> Vec<u8> {
        from_raw_parts(ptr, len).to_vec()
    }

    unsafe fn string(ptr: *const u8, len: usize) -> String {
        String::from_utf8(vec(ptr, len)).expect("UTF-8")
    }

    pub unsafe fn state_get(key: *const u8, key_len: usize, buf: *mut u8, cap: usize) -> i32 {
        assert!(key_len > 0 && key_len <= crate::MAX_KEY, "key of {} bytes", key_len);
        with(|h| {
            h.reads += 1;
            copy(h.state.get(from_raw_parts(key, key_len)).map(|v| &v[..]), buf, cap)
        })
    }

    pub unsafe fn state_set(key: *const u8, key_len: usize, val: *const u8, val_len: usize) {
        assert!(key_len > 0 && key_len <= crate::MAX_KEY, "key of {} bytes", key_len);
        assert!(val_len <= crate::MAX_VALUE, "value of {} bytes", val_len);
        with(|h| h.state.insert(vec(key, key_len), vec(val, val_len)));
    }

    pub unsafe fn state_delete(key: *const u8, key_len: usize) {
        with(|h| h.state.remove(from_raw_parts(key, key_len)));
    }

    pub unsafe fn state_scan(prefix: *const u8, prefix_len: usize, start: *const u8, start_len: usize) -> i32 {
        let (prefix, start) = (vec(prefix, prefix_len), vec(start, start_len));
        with(|h| {
            let rest = h.state.iter().filter(|(k, _)| k.starts_with(&prefix) && **k >= start);
            let mut entries: Vec<_> = rest.map(|(k, v)| (k.clone(), v.clone())).collect();
            entries.reverse();
            h.scans.push(entries);
            assert!(h.scans.len() <= 8, "more than 8 scans");
            h.scans.len() as i32 - 1
        })
    }

    pub unsafe fn scan_next(handle: i32, buf: *mut u8, cap: usize) -> i32 {
        with(|h| {
            let entries = &mut h.scans[handle as usize];
            let (key, value) = match entries.last() {
                Some(entry) => entry,
                None => return -1,
            };
            let mut row = (key.len() as u32).to_le_bytes().to_vec();
            row.extend(key);
            row.extend(value);
            if row.len() <= cap {
                entries.pop();
            }
            copy(Some(&row), buf, cap)
        })
    }

    pub unsafe fn local_get(buf: *mut u8, cap: usize) -> i32 {
        with(|h| copy(h.local.as_deref(), buf, cap))
    }

    pub unsafe fn local_set(ptr: *const u8, len: usize) {
        with(|h| h.local = Some(vec(ptr, len)));
    }

    pub unsafe fn emit(topic: *const u8, topic_len: usize, data: *const u8, data_len: usize) {
        with(|h| h.events.push((string(topic, topic_len), vec(data, data_len))));
    }

    pub unsafe fn call(name: *const u8, nlen: usize, msg: *const u8, mlen: usize, buf: *mut u8, cap: usize) -> i64 {
        const UNKNOWN_CONTRACT: i64 = -111;
        let key = (string(name, nlen), vec(msg, mlen));
        with(|h| match h.answers.get(&key) {
            Some(answer) => copy(Some(answer), buf, cap) as i64,
            None => UNKNOWN_CONTRACT,
        })
    }

    pub use call as query;

    pub unsafe fn device_get(id: *const u8, buf: *mut u8, cap: usize) -> i32 {
        with(|h| copy(h.devices.get(from_raw_parts(id, 32)).map(|v| &v[..]), buf, cap))
    }

    pub unsafe fn device_set_status(id: *const u8, status: i32, reason: *const u8, reason_len: usize) -> i32 {
        const UNKNOWN_DEVICE: i32 = -102;
        let mut key = [0; 32];
        key.copy_from_slice(from_raw_parts(id, 32));
        with(|h| {
            if !h.devices.contains_key(&key) {
                return UNKNOWN_DEVICE;
            }
            h.statuses.push((key, status as u8, string(reason, reason_len)));
            0
        })
    }

    pub unsafe fn schedule(due_ms: i64, msg: *const u8, msg_len: usize) -> i64 {
        with(|h| {
            h.timers.push((due_ms, vec(msg, msg_len)));
            h.timers.len() as i64
        })
    }

    pub unsafe fn now() -> i64 {
        with(|h| h.now.unwrap_or(-1))
    }

    pub unsafe fn sha256(ptr: *const u8, len: usize, out: *mut u8) {
        from_raw_parts_mut(out, 32).copy_from_slice(&fake_sha256::digest(from_raw_parts(ptr, len)));
    }

    pub unsafe fn verify(k: *const u8, klen: usize, m: *const u8, mlen: usize, s: *const u8, slen: usize) -> i32 {
        let wanted = (vec(k, klen), vec(m, mlen), vec(s, slen));
        with(|h| h.signatures.contains(&wanted) as i32)
    }

    pub unsafe fn log(ptr: *const u8, len: usize) {
        with(|h| h.logs.push(string(ptr, len)));
    }

    pub unsafe fn abort(code: i32, ptr: *const u8, len: usize) -> ! {
        std::panic::panic_any(Aborted { code: code as u16, text: string(ptr, len) })
    }
}
