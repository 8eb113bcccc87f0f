//! The host's functions, safe to call. Which entry point has which function
//! is the host's rule: one that is not there ends the call, and so does an
//! argument that is longer than the host admits.

use crate::arena;
use crate::device::Status;
use crate::{MAX_KEY, MAX_LOCAL, MAX_RESULT, MAX_VALUE};

// The longest entry that a scan gives: its key's length, key and value.
const MAX_ROW: usize = 4 + MAX_KEY + MAX_VALUE;

#[cfg(target_arch = "wasm32")]
mod raw {
    #[link(wasm_import_module = "postern")]
    extern "C" {
        pub fn state_get(key: *const u8, key_len: usize, buf: *mut u8, cap: usize) -> i32;
        pub fn state_set(key: *const u8, key_len: usize, val: *const u8, val_len: usize);
        pub fn state_delete(key: *const u8, key_len: usize);
        pub fn state_scan(prefix: *const u8, prefix_len: usize, start: *const u8, start_len: usize) -> i32;
        pub fn scan_next(handle: i32, buf: *mut u8, cap: usize) -> i32;
        pub fn local_get(buf: *mut u8, cap: usize) -> i32;
        pub fn local_set(ptr: *const u8, len: usize);
        pub fn emit(topic: *const u8, topic_len: usize, data: *const u8, data_len: usize);
        pub fn call(name: *const u8, name_len: usize, msg: *const u8, msg_len: usize, buf: *mut u8, cap: usize) -> i64;
        pub fn query(name: *const u8, name_len: usize, msg: *const u8, msg_len: usize, buf: *mut u8, cap: usize) -> i64;
        pub fn device_get(id: *const u8, buf: *mut u8, cap: usize) -> i32;
        pub fn device_set_status(id: *const u8, status: i32, reason: *const u8, reason_len: usize) -> i32;
        pub fn schedule(due_ms: i64, msg: *const u8, msg_len: usize) -> i64;
        pub fn now() -> i64;
        pub fn sha256(ptr: *const u8, len: usize, out: *mut u8);
        pub fn verify(key: *const u8, key_len: usize, msg: *const u8, msg_len: usize, sig: *const u8, sig_len: usize) -> i32;
        pub fn log(ptr: *const u8, len: usize);
        pub fn abort(code: i32, ptr: *const u8, len: usize) -> !;
    }
}

#[cfg(not(target_arch = "wasm32"))]
use crate::fake::raw;

// Every unsafe block below passes pointers and lengths of live slices; the
// host writes at most the capacity that it is told.

fn found(n: i32) -> Option<usize> {
    if n < 0 {
        None
    } else {
        Some(n as usize)
    }
}

/// Reads a value into memory that lives as long as the call.
#[inline(never)] // of all functions the one that contracts call in most places
pub fn state_get(key: &[u8]) -> Option<&'static [u8]> {
    arena::fill(MAX_VALUE, |buf, cap| unsafe { raw::state_get(key.as_ptr(), key.len(), buf, cap) } as i64).ok()
}

/// Reads a value into `buf` and returns its length. Where the value is longer
/// than `buf`, nothing is copied.
pub fn state_get_into(key: &[u8], buf: &mut [u8]) -> Option<usize> {
    found(unsafe { raw::state_get(key.as_ptr(), key.len(), buf.as_mut_ptr(), buf.len()) })
}

/// Whether there is a value.
pub fn state_has(key: &[u8]) -> bool {
    state_get_into(key, &mut []).is_some()
}

/// Writes a value.
pub fn state_set(key: &[u8], value: &[u8]) {
    unsafe { raw::state_set(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
}

/// Deletes a value; a missing one is fine.
pub fn state_delete(key: &[u8]) {
    unsafe { raw::state_delete(key.as_ptr(), key.len()) }
}

/// An ordered scan over the keys with a prefix, as the state was at its start.
pub struct Scan {
    handle: i32,
    buf: &'static mut [u8],
}

impl Scan {
    /// Scans the keys with `prefix` that are not below `start`.
    pub fn new(prefix: &[u8], start: &[u8]) -> Scan {
        let handle = unsafe { raw::state_scan(prefix.as_ptr(), prefix.len(), start.as_ptr(), start.len()) };
        Scan { handle, buf: arena::buffer(MAX_ROW) }
    }

    /// The next key and value; they live until the next call.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<(&[u8], &[u8])> {
        let n = found(unsafe { raw::scan_next(self.handle, self.buf.as_mut_ptr(), self.buf.len()) })?;
        let key_len = u32::from_le_bytes([self.buf[0], self.buf[1], self.buf[2], self.buf[3]]) as usize;
        Some(self.buf[4..n].split_at(key_len))
    }
}

/// A scan whose entries each get memory of their own.
pub(crate) struct Rows {
    handle: i32,
}

/// Begins a scan as [`Scan::new`] does.
pub(crate) fn rows(prefix: &[u8], start: &[u8]) -> Rows {
    Rows { handle: unsafe { raw::state_scan(prefix.as_ptr(), prefix.len(), start.as_ptr(), start.len()) } }
}

impl Rows {
    /// The next key and value.
    pub fn next(&mut self) -> Option<(&'static [u8], &'static [u8])> {
        let row = arena::fill(MAX_ROW, |buf, cap| unsafe { raw::scan_next(self.handle, buf, cap) } as i64).ok()?;
        let (head, rest) = row.split_at(row.len().min(4));
        let key_len = head.iter().rev().fold(0, |n, &c| n << 8 | c as usize);
        Some(rest.split_at(key_len.min(rest.len())))
    }
}

/// Reads the record that this gateway keeps of the observed device for this
/// contract; None where there is none, or none any more. Only `observe` has it.
pub fn local_get() -> Option<&'static [u8]> {
    arena::fill(MAX_LOCAL, |buf, cap| unsafe { raw::local_get(buf, cap) } as i64).ok()
}

/// Writes that record: at most [`MAX_LOCAL`](crate::MAX_LOCAL) bytes.
pub fn local_set(value: &[u8]) {
    unsafe { raw::local_set(value.as_ptr(), value.len()) }
}

/// Emits an event.
pub fn emit(topic: &str, data: &[u8]) {
    unsafe { raw::emit(topic.as_ptr(), topic.len(), data.as_ptr(), data.len()) }
}

/// Runs another contract's `execute` and returns its result, or the host's
/// code if it failed; its changes are then undone. See
/// [`Contract`](crate::Contract) for values instead of bytes.
pub fn call(name: &str, message: &[u8]) -> Result<&'static [u8], u16> {
    let (n, m) = (name, message);
    arena::fill(MAX_RESULT, |buf, cap| unsafe { raw::call(n.as_ptr(), n.len(), m.as_ptr(), m.len(), buf, cap) })
        .map_err(|code| -code as u16)
}

/// Runs another contract's `query`; it changes nothing.
pub fn query(name: &str, message: &[u8]) -> Result<&'static [u8], u16> {
    let (n, m) = (name, message);
    arena::fill(MAX_RESULT, |buf, cap| unsafe { raw::query(n.as_ptr(), n.len(), m.as_ptr(), m.len(), buf, cap) })
        .map_err(|code| -code as u16)
}

/// Reads the record of a device, a CBOR map; [`Device`](crate::Device) reads
/// its fields.
pub fn device_get(id: &[u8; 32]) -> Option<&'static [u8]> {
    arena::fill(MAX_VALUE, |buf, cap| unsafe { raw::device_get(id.as_ptr(), buf, cap) } as i64).ok()
}

/// Sets a graver status of a device of the contract's owner (one it is bound to: up to `Quarantined`),
/// for a reason of at most 256 bytes, or returns the host's code. In `execute` and `timer` only.
pub fn device_set_status(id: &[u8; 32], status: Status, reason: &str) -> Result<(), u16> {
    match unsafe { raw::device_set_status(id.as_ptr(), status as i32, reason.as_ptr(), reason.len()) } {
        0 => Ok(()),
        n => Err(-n as u16),
    }
}

/// Runs this contract's `timer` with the message at the first block whose
/// time is at or past `due_ms`, and returns the timer's number.
pub fn schedule(due_ms: i64, message: &[u8]) -> i64 {
    unsafe { raw::schedule(due_ms, message.as_ptr(), message.len()) }
}

/// The gateway's clock in milliseconds since 1970, or None when it is not
/// trusted. In `decide` and `observe` only.
pub fn now() -> Option<i64> {
    match unsafe { raw::now() } {
        n if n < 0 => None,
        n => Some(n),
    }
}

/// The SHA-256 digest of `data`.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    unsafe { raw::sha256(data.as_ptr(), data.len(), out.as_mut_ptr()) };
    out
}

/// Whether `sig` is a good signature: ed25519 for a 32-byte key, ECDSA P-256
/// with SHA-256 for a 33-byte compressed key.
pub fn verify(key: &[u8], message: &[u8], sig: &[u8]) -> bool {
    1 == unsafe { raw::verify(key.as_ptr(), key.len(), message.as_ptr(), message.len(), sig.as_ptr(), sig.len()) }
}

/// Writes to the node's debug log.
pub fn log(text: &str) {
    log_bytes(text.as_bytes())
}

/// Writes a text that may be cut off within a letter.
pub(crate) fn log_bytes(text: &[u8]) {
    unsafe { raw::log(text.as_ptr(), text.len()) }
}

/// Ends the call with the contract's own code and a text for logs.
pub fn abort(code: u16, text: &[u8]) -> ! {
    unsafe { raw::abort(code as i32, text.as_ptr(), text.len()) }
}
