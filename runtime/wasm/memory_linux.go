package wasm

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// freshEvery is the number of resets after which a memory gives up its
	// private pages, when it has more than keptPages: so a call that wrote
	// much does not burden all that follow, and giving up, which lets every
	// page fault again, happens seldom.
	freshEvery = 256
	keptPages  = 16
)

// Bits of an entry of /proc/self/pagemap, one for each page of an address
// space, as the kernel's Documentation/admin-guide/mm/pagemap.rst has them.
const (
	pagePresent = 1 << 63
	pageSwapped = 1 << 62
	pageOfFile  = 1 << 61 // of a file: in a private mapping, not written to
)

// extent is a stretch of the image file.
type extent struct {
	at   int64
	size int
}

// imageFile holds the images of all codes in one unnamed file in memory, of
// which the memories of instances are private mappings: the kernel copies a
// page when it is first written to.
type imageFile struct {
	fd       int
	pageSize int
	pagemap  int // -1 where the kernel does not tell

	mu  sync.Mutex
	end int64 // guarded by mu
}

// openImageFile makes an image file. Where memory files are forbidden, or
// pages are larger than a page of WebAssembly, it fails.
func openImageFile() (*imageFile, error) {
	f := &imageFile{pageSize: os.Getpagesize(), pagemap: -1}
	if wasmPage%f.pageSize != 0 || f.pageSize%imagePage != 0 {
		return nil, fmt.Errorf("pages of %d bytes", f.pageSize)
	}
	var err error
	f.fd, err = unix.MemfdCreate("postern-images", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		f.fd, err = unix.MemfdCreate("postern-images", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("making a memory file: %w", err)
	}
	if err := f.try(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// close frees the images. No memory may be in use.
func (f *imageFile) close() {
	f.closePagemap()
	unix.Close(f.fd)
}

// try sees whether the system does what memories rely on: some emulators do not
// give up pages, and some kernels, and processes that may not look into
// themselves, have no pagemap, or one that says nothing.
func (f *imageFile) try() error {
	content := make([]byte, 2*wasmPage)
	content[0], content[wasmPage] = 1, 1
	img := newImage(content)
	if err := f.keep(&img); err != nil {
		return err
	}
	defer f.drop(&img)
	made, err := f.memory(&img, img.size)
	if err != nil {
		return err
	}
	defer made.Free()
	m := made.(*mappedMemory)
	m.bytes(img.size)[wasmPage] += m.bytes(img.size)[0]
	if f.pagemap, err = unix.Open("/proc/self/pagemap", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		f.pagemap = -1
	} else if !m.tells(wasmPage) {
		f.closePagemap()
	}
	if m.giveUp(); !img.equal(m.bytes(img.size)) {
		return errors.New("pages cannot be given up")
	}
	return nil
}

// tells says whether the pagemap shows the page at written, and no other, to
// be the memory's own.
func (m *mappedMemory) tells(written int) bool {
	sum := 0
	err := m.private(func(at int) { sum += at })
	return err == nil && sum == written
}

func (f *imageFile) closePagemap() {
	if f.pagemap >= 0 {
		unix.Close(f.pagemap)
		f.pagemap = -1
	}
}

// keep moves an image's data into the file.
func (f *imageFile) keep(img *image) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.end
	// What follows the last page that is not zero is no part of the file: a
	// page of a file takes room as soon as somebody touches it.
	size := max(f.pageSize, (img.filled()+f.pageSize-1)&^(f.pageSize-1))
	f.end += int64(size) // even if this fails: what was written stays
	if err := unix.Ftruncate(f.fd, f.end); err != nil {
		return fmt.Errorf("enlarging the image file: %w", err)
	}
	for i := range img.at {
		page := img.page(i)
		for done := 0; done < len(page); {
			n, err := unix.Pwrite(f.fd, page[done:], at+int64(i*imagePage+done))
			if err != nil {
				return fmt.Errorf("writing an image: %w", err)
			}
			done += n
		}
	}
	mapped, err := unix.Mmap(f.fd, at, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mapping an image: %w", err)
	}
	img.data, img.file = mapped, extent{at: at, size: size}
	for i := range img.at {
		if img.at[i] >= 0 {
			img.at[i] = int32(i)
		}
	}
	return nil
}

// drop frees an image that was kept. Offsets in the file are never used
// again: only the pages are given back.
func (f *imageFile) drop(img *image) {
	if !img.kept() {
		return
	}
	unix.Munmap(img.data)
	unix.Fallocate(f.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, img.file.at, int64(img.file.size))
	img.data, img.file = nil, extent{}
}

// mappedMemory is a memory whose pages are those of the image until they are
// written to; beyond the image's extent they are zero until then. Its addresses
// are reserved up to its maximum, so it never moves.
type mappedMemory struct {
	file     *imageFile
	image    *image
	base     unsafe.Pointer
	reserved int
	usable   int // bytes from base that may be accessed
	size     int
	shrink   bool
	refusal  error // of the last growth, see refused
	written  int   // bytes of pages that are not the image's any more
	resets   int
}

// memory maps an image that was kept. maximum is in bytes.
func (f *imageFile) memory(img *image, maximum int) (memory, error) {
	maximum = max(maximum, img.size)
	base, err := unix.MmapPtr(-1, 0, nil, uintptr(maximum), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserving a memory of %d bytes: %w", maximum, err)
	}
	m := &mappedMemory{file: f, image: img, base: base, reserved: maximum, usable: img.file.size, size: img.size}
	_, err = unix.MmapPtr(f.fd, img.file.at, base, uintptr(img.file.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED)
	if err != nil {
		m.Free()
		return nil, fmt.Errorf("mapping a memory of %d bytes: %w", img.size, err)
	}
	if m.Reallocate(uint64(img.size)) == nil {
		m.Free()
		return nil, m.refusal
	}
	return m, nil
}

// bytes is the memory from its beginning.
func (m *mappedMemory) bytes(n int) []byte { return unsafe.Slice((*byte)(m.base), n) }

// Reallocate implements experimental.LinearMemory. It gives nil when the system
// has no more. The guest sees a growth that failed, but nobody sees what it
// makes of that: refused ends the call with a fault.
func (m *mappedMemory) Reallocate(size uint64) []byte {
	n := max(int(size), m.image.size)
	if m.shrink {
		n = m.image.size
	}
	if n > m.reserved {
		m.refusal = fmt.Errorf("%d bytes of memory, %d are reserved", n, m.reserved)
		return nil
	}
	if n > m.usable {
		if err := unix.Mprotect(m.bytes(n)[m.usable:], unix.PROT_READ|unix.PROT_WRITE); err != nil {
			m.refusal = fmt.Errorf("enlarging a memory to %d bytes: %w", n, err)
			return nil
		}
		m.usable = n
	}
	m.size = n
	return m.bytes(n)
}

// Free implements experimental.LinearMemory.
func (m *mappedMemory) Free() {
	if m.base != nil {
		unix.MunmapPtr(m.base, uintptr(m.reserved))
		m.base = nil
	}
}

func (m *mappedMemory) setShrink(on bool) { m.shrink = on }

func (m *mappedMemory) refused() error {
	err := m.refusal
	m.refusal = nil
	return err
}

func (m *mappedMemory) resident() int { return m.written }

func (m *mappedMemory) reset(dirty int) {
	if dirty <= straightBytes {
		m.image.setBack(m.bytes(dirty), 0, dirty)
		m.written = max(m.written, (dirty+m.file.pageSize-1)&^(m.file.pageSize-1))
		return
	}
	m.resets++
	stale := m.resets%freshEvery == 0 && m.written > keptPages*m.file.pageSize
	if stale || m.file.pagemap < 0 || !m.setBackPrivate(dirty) {
		m.giveUp()
	}
}

// setBackPrivate sets back the pages below dirty that were written to since
// they were mapped, which are few. It fails when the kernel does not tell.
func (m *mappedMemory) setBackPrivate(dirty int) bool {
	mem, written := m.bytes(m.size), 0
	err := m.private(func(at int) {
		written += m.file.pageSize
		if at < dirty {
			m.image.setBack(mem, at, at+m.file.pageSize)
		}
	})
	m.written = written
	return err == nil
}

// private calls found for each page that is not the image's any more.
func (m *mappedMemory) private(found func(at int)) error {
	var entries [512]uint64
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&entries)), 8*len(entries))
	first := int64(uintptr(m.base)) / int64(m.file.pageSize)
	pages := m.size / m.file.pageSize
	for done := 0; done < pages; {
		want := min(len(entries), pages-done)
		n, err := unix.Pread(m.file.pagemap, raw[:8*want], 8*(first+int64(done)))
		if err != nil {
			return fmt.Errorf("reading the pagemap: %w", err)
		}
		if n != 8*want {
			return fmt.Errorf("reading the pagemap: %d bytes of %d", n, 8*want)
		}
		for i, e := range entries[:want] {
			if e&(pagePresent|pageSwapped) != 0 && e&pageOfFile == 0 {
				found((done + i) * m.file.pageSize)
			}
		}
		done += want
	}
	return nil
}

// giveUp lets go of every page that was written to: what is read next is the
// image, and zero beyond it.
func (m *mappedMemory) giveUp() {
	if err := unix.Madvise(m.bytes(m.usable), unix.MADV_DONTNEED); err != nil {
		m.image.setBack(m.bytes(m.usable), 0, m.usable)
		m.written = m.usable
		return
	}
	m.written = 0
}
