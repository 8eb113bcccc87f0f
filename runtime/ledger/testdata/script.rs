//! A contract that does what its message says: the ledger's tests drive the
//! host functions with it. A message is a sequence of commands
//!
//!     op u8 | n u64le | length of a u16le | a | length of b u16le | b
//!
//! whose outputs follow one another in the result. Build it with
//!
//!     rustc --edition 2021 --target wasm32-unknown-unknown --crate-type cdylib \
//!         -C opt-level=z -C panic=abort -C lto -C strip=symbols \
//!         -C link-arg=-zstack-size=16384 -o script.wasm script.rs
//!
//! and, with `--cfg plain -o plain.wasm`, as another code that says so where
//! it is asked and has no migrate.
#![no_std]

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

#[link(wasm_import_module = "postern")]
extern "C" {
    fn state_get(k: *const u8, kl: usize, b: *mut u8, bl: usize) -> i32;
    fn state_set(k: *const u8, kl: usize, v: *const u8, vl: usize);
    fn state_delete(k: *const u8, kl: usize);
    fn state_scan(p: *const u8, pl: usize, s: *const u8, sl: usize) -> i32;
    fn scan_next(h: i32, b: *mut u8, bl: usize) -> i32;
    fn emit(t: *const u8, tl: usize, d: *const u8, dl: usize);
    fn call(n: *const u8, nl: usize, m: *const u8, ml: usize, b: *mut u8, bl: usize) -> i64;
    fn query(n: *const u8, nl: usize, m: *const u8, ml: usize, b: *mut u8, bl: usize) -> i64;
    fn device_get(id: *const u8, b: *mut u8, bl: usize) -> i32;
    fn device_set_status(id: *const u8, s: i32, r: *const u8, rl: usize) -> i32;
    fn schedule(due: i64, m: *const u8, ml: usize) -> i64;
    fn now() -> i64;
    fn abort(code: i32, t: *const u8, tl: usize) -> !;
}

#[cfg(not(plain))]
const NAME: &[u8] = b"script";
#[cfg(not(plain))]
const PERMIT: &[u8] = &[0xa1, 0x01, 0xf5];
#[cfg(plain)]
const NAME: &[u8] = b"plain";
#[cfg(plain)]
const PERMIT: &[u8] = &[0xa2, 0x01, 0xf5, 0x02, 0x05]; // with the reason 5

const SIZE: usize = 96 << 10;
static mut INPUT: [u8; SIZE] = [0; SIZE];
static mut STORED: [u8; 16 << 10] = [0; 16 << 10];
static mut OUTPUT: [u8; 17 << 10] = [0; 17 << 10];
static mut USED: usize = 0;

#[no_mangle]
pub unsafe extern "C" fn alloc(size: usize) -> *mut u8 {
    if size > SIZE {
        core::arch::wasm32::unreachable()
    }
    INPUT.as_mut_ptr()
}

unsafe fn put(b: &[u8]) {
    OUTPUT[USED..USED + b.len()].copy_from_slice(b);
    USED += b.len();
}

/// Skips one head of CBOR and gives its major type and argument.
fn head(b: &[u8], at: &mut usize) -> (u8, usize) {
    let first = b[*at];
    *at += 1;
    let n = match first & 31 {
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        v => return (first >> 5, v as usize),
    };
    let mut v = 0usize;
    for _ in 0..n {
        v = v << 8 | b[*at] as usize;
        *at += 1;
    }
    (first >> 5, v)
}

fn skip(b: &[u8], at: &mut usize) {
    let (major, n) = head(b, at);
    match major {
        2 | 3 => *at += n,
        4 => (0..n).for_each(|_| skip(b, at)),
        5 => (0..2 * n).for_each(|_| skip(b, at)),
        6 => skip(b, at),
        _ => {}
    }
}

/// The message within an input: array(2) [environment, message].
fn message(input: &[u8]) -> &[u8] {
    let mut at = 1;
    skip(input, &mut at);
    let (_, n) = head(input, &mut at);
    &input[at..at + n]
}

fn part<'a>(b: &'a [u8], at: &mut usize) -> &'a [u8] {
    let n = b[*at] as usize | (b[*at + 1] as usize) << 8;
    let p = &b[*at + 2..*at + 2 + n];
    *at += 2 + n;
    p
}

unsafe fn run(input: &[u8], script: &[u8]) {
    let mut at = 0;
    while at < script.len() {
        let op = script[at];
        let mut n = [0u8; 8];
        n.copy_from_slice(&script[at + 1..at + 9]);
        let n = i64::from_le_bytes(n);
        at += 9;
        let a = part(script, &mut at);
        let b = part(script, &mut at);
        step(input, op, n, a, b);
    }
}

unsafe fn step(input: &[u8], op: u8, n: i64, a: &[u8], b: &[u8]) {
    let free = OUTPUT[USED..].as_mut_ptr();
    let room = OUTPUT.len() - USED;
    match op {
        b's' => state_set(a.as_ptr(), a.len(), b.as_ptr(), b.len()),
        b'd' => state_delete(a.as_ptr(), a.len()),
        b'g' => match state_get(a.as_ptr(), a.len(), free, room) {
            -1 => put(b"-"),
            got => USED += got as usize,
        },
        b'n' => {
            let h = state_scan(a.as_ptr(), a.len(), b.as_ptr(), b.len());
            for _ in 0..n {
                scan_step(h);
            }
        }
        b'N' => scan_step(n as i32),
        b'e' => emit(a.as_ptr(), a.len(), b.as_ptr(), b.len()),
        b'c' | b'q' => {
            let f = if op == b'c' { call } else { query };
            let got = f(a.as_ptr(), a.len(), b.as_ptr(), b.len(), free.add(8), room - 8);
            put(&got.to_le_bytes());
            if got > 0 {
                USED += got as usize;
            }
        }
        b'D' => match device_get(a.as_ptr(), free, room) {
            -1 => put(b"-"),
            got => USED += got as usize,
        },
        b'S' => put(&device_set_status(a.as_ptr(), n as i32, b.as_ptr(), b.len()).to_le_bytes()),
        b't' => put(&schedule(n, a.as_ptr(), a.len()).to_le_bytes()),
        b'w' => put(&now().to_le_bytes()),
        b'x' => abort(n as i32, a.as_ptr(), a.len()),
        b'u' => core::arch::wasm32::unreachable(),
        b'l' => loop {
            core::ptr::write_volatile(INPUT.as_mut_ptr(), 1);
        },
        b'r' => put(a),
        b'V' => put(NAME),
        b'E' => emit(a.as_ptr(), a.len(), NAME.as_ptr(), NAME.len()),
        b'i' => put(input),
        b'm' => put(message(input)),
        _ => abort(9999, a.as_ptr(), 0),
    }
}

/// Puts the next entry of a scan: key=value; or . at its end.
unsafe fn scan_step(h: i32) {
    let at = USED;
    let got = scan_next(h, OUTPUT[at..].as_mut_ptr(), OUTPUT.len() - at);
    if got < 0 {
        put(b".");
        return;
    }
    let key = u32::from_le_bytes([OUTPUT[at], OUTPUT[at + 1], OUTPUT[at + 2], OUTPUT[at + 3]]) as usize;
    OUTPUT.copy_within(at + 4..at + 4 + key, at);
    OUTPUT[at + key] = b'=';
    OUTPUT.copy_within(at + 4 + key..at + got as usize, at + key + 1);
    USED = at + got as usize - 3;
    put(b";");
}

unsafe fn entry(ptr: *const u8, len: usize) -> u64 {
    let input = core::slice::from_raw_parts(ptr, len);
    run(input, message(input));
    result()
}

unsafe fn result() -> u64 {
    (OUTPUT.as_ptr() as u64) << 32 | USED as u64
}

#[no_mangle]
pub unsafe extern "C" fn init(ptr: *const u8, len: usize) -> u64 {
    entry(ptr, len)
}

#[cfg(not(plain))]
#[no_mangle]
pub unsafe extern "C" fn migrate(ptr: *const u8, len: usize) -> u64 {
    entry(ptr, len)
}

#[no_mangle]
pub unsafe extern "C" fn execute(ptr: *const u8, len: usize) -> u64 {
    entry(ptr, len)
}

#[no_mangle]
pub unsafe extern "C" fn timer(ptr: *const u8, len: usize) -> u64 {
    entry(ptr, len)
}

#[no_mangle]
#[export_name = "query"]
pub unsafe extern "C" fn query_entry(ptr: *const u8, len: usize) -> u64 {
    entry(ptr, len)
}

/// Runs the script in the state under "decide"; without one it permits.
#[no_mangle]
pub unsafe extern "C" fn decide(ptr: *const u8, len: usize) -> u64 {
    let input = core::slice::from_raw_parts(ptr, len);
    match state_get(b"decide".as_ptr(), 6, STORED.as_mut_ptr(), STORED.len()) {
        -1 => put(PERMIT),
        n => run(input, &STORED[..n as usize]),
    }
    result()
}
