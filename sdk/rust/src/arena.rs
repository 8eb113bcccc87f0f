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

/// Borrows what `get` writes. It is told where and how much fits, and returns
/// how much there is, or less than 0 for nothing; it writes only if that fits.
/// What does not fit the spare memory is asked for again once there is room.
pub(crate) fn fill(get: impl Fn(*mut u8, usize) -> i32) -> Option<&'static [u8]> {
    let (start, cap) = imp::spare();
    let len = get(start, cap);
    if len < 0 {
        return None;
    }
    let buf = imp::allocate(len as usize);
    if buf.as_ptr() != start as *const u8 || len as usize > cap {
        get(buf.as_mut_ptr(), len as usize);
    }
    Some(buf)
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

    pub fn spare() -> (*mut u8, usize) {
        let start = next();
        (start as *mut u8, end().saturating_sub(start))
    }

    pub fn allocate(len: usize) -> &'static mut [u8] {
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
        // The range lies past all earlier ones and inside the memory, and is
        // zero: memory starts so, and no allocation is handed out twice.
        unsafe {
            NEXT = stop;
            core::slice::from_raw_parts_mut(start as *mut u8, len)
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod imp {
    pub fn spare() -> (*mut u8, usize) {
        (core::ptr::NonNull::dangling().as_ptr(), 0)
    }

    pub fn allocate(len: usize) -> &'static mut [u8] {
        Box::leak(vec![0; len].into_boxed_slice())
    }
}
