//! The only allocator of a guest: it bumps a pointer from the end of the
//! module's data through the memory's first pages, then grows the memory.
//! Nothing is ever freed: the host restores memory after each call.
//!
//! A guest whose memory grew is discarded by the host, which costs far more
//! than a restored one, so what runs often should fit the initial memory.

/// Borrows `len` zeroed bytes for the rest of the call.
pub fn buffer(len: usize) -> &'static mut [u8] {
    imp::allocate(len)
}

/// Borrows what `get` writes. It is told where, and that [`crate::MAX_VALUE`]
/// bytes fit; it returns how many there are, or less than 0 for nothing. Room
/// for the longest value is made first, so that one call of `get` is enough.
pub(crate) fn fill(get: impl FnOnce(*mut u8, usize) -> i32) -> Option<&'static [u8]> {
    let start = imp::reserve(crate::MAX_VALUE);
    let len = get(start, crate::MAX_VALUE);
    if len < 0 {
        return None;
    }
    Some(imp::allocate(len as usize))
}

#[cfg(target_arch = "wasm32")]
mod imp {
    use core::arch::wasm32;

    extern "C" {
        static __heap_base: u8;
    }

    const PAGE: usize = 64 << 10;
    // Bump pointer, 0 before the first allocation. A guest has one thread.
    static mut NEXT: usize = 0;

    // Where the next buffer starts; eight-byte steps keep them aligned.
    fn next() -> usize {
        unsafe {
            if NEXT == 0 {
                NEXT = &__heap_base as *const u8 as usize;
            }
            (NEXT + 7) & !7
        }
    }

    fn end() -> usize {
        wasm32::memory_size(0) * PAGE
    }

    /// Makes sure that the next `len` bytes exist and tells where they start.
    pub fn reserve(len: usize) -> *mut u8 {
        let start = next();
        let stop = match start.checked_add(len) {
            Some(stop) => stop,
            None => wasm32::unreachable(),
        };
        if stop > end() {
            let pages = (stop - end() + PAGE - 1) / PAGE;
            if wasm32::memory_grow(0, pages) == usize::MAX {
                wasm32::unreachable();
            }
        }
        start as *mut u8
    }

    pub fn allocate(len: usize) -> &'static mut [u8] {
        let start = reserve(len);
        // The range lies past all earlier ones and inside the memory, and is
        // zero: memory starts so, and no allocation is handed out twice.
        unsafe {
            NEXT = start as usize + len;
            core::slice::from_raw_parts_mut(start, len)
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod imp {
    use std::cell::Cell;

    thread_local! {
        // What reserve made and allocate has not handed out yet.
        static RESERVED: Cell<Option<&'static mut [u8]>> = Cell::new(None);
    }

    pub fn reserve(len: usize) -> *mut u8 {
        let buf: &'static mut [u8] = Box::leak(vec![0; len].into_boxed_slice());
        let start = buf.as_mut_ptr();
        RESERVED.with(|r| r.set(Some(buf)));
        start
    }

    pub fn allocate(len: usize) -> &'static mut [u8] {
        match RESERVED.with(|r| r.take()) {
            Some(buf) if len <= buf.len() => &mut buf[..len],
            _ => Box::leak(vec![0; len].into_boxed_slice()),
        }
    }
}
