package wasm

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/seed79541315/postern/abi"
)

// wasiModule is the module of the functions that a program for WASI (preview
// 1) imports. Guests of the wide profile may import those in wasiFuncs.
const wasiModule = "wasi_snapshot_preview1"

// The answers of WASI functions in use: an errno of preview 1.
const (
	wasiSuccess uint32 = 0
	wasiBadFile uint32 = 8  // EBADF
	wasiInvalid uint32 = 28 // EINVAL
	wasiNoSys   uint32 = 52 // ENOSYS
)

// wasiEpoch is what every clock shows when a code's first instruction runs, in
// ns. Go's runtime refuses a clock that shows 0.
const wasiEpoch = 1_000_000_000

// wasiFunc is a WASI function: its type in the letters of abi.HostType, its
// price, and what it does with the parameters in s. Every function but
// proc_exit returns an errno.
type wasiFunc struct {
	name, params, results string
	cost                  hostCost
	body                  func(f *frame, c hostCost, s []uint64) uint32
}

// Prices of WASI functions: one that looks at nothing, one that writes some
// words, and those whose work depends on a size.
var (
	wasiCostNone   = hostCost{50, 0}
	wasiCostWords  = hostCost{100, 0}
	wasiCostRandom = hostCost{100, 2}
	wasiCostPoll   = hostCost{200, 8}
	wasiCostWrite  = hostCost{500, 8}
)

// wasiFuncs are the functions that the standard library of Go imports, sorted
// by name. Their answers depend on what the guest did in the same call alone.
//
//	args, environ      there are none
//	clock_time_get     every clock shows one second after the epoch, and what
//	                   the guest slept since the code was initialised
//	clock_res_get      1 ns
//	poll_oneoff        sleeping advances the clocks and takes no time; files
//	                   are bad ones
//	random_get         zeros
//	fd_write           descriptors 1 and 2 are the node's debug log
//	fd_fdstat_get      descriptors 1 and 2 are character devices to write to
//	sched_yield        nothing
//	proc_exit          ends the call with CodeExited
//	other fd_, path_   EBADF: there are no files
//	proc_raise, sock_  ENOSYS
//
// Pointers outside the memory trap with CodeBadPointer; functions that fail
// whatever they are given do not look at theirs.
var wasiFuncs = []wasiFunc{
	{"args_get", "ii", "i", wasiCostNone, wasiNothing},
	{"args_sizes_get", "ii", "i", wasiCostWords, wasiNoStrings},
	{"clock_res_get", "ii", "i", wasiCostWords, wasiResolution},
	{"clock_time_get", "ili", "i", wasiCostWords, wasiTime},
	{"environ_get", "ii", "i", wasiCostNone, wasiNothing},
	{"environ_sizes_get", "ii", "i", wasiCostWords, wasiNoStrings},
	{"fd_advise", "illi", "i", wasiCostNone, wasiNoFile},
	{"fd_allocate", "ill", "i", wasiCostNone, wasiNoFile},
	{"fd_close", "i", "i", wasiCostNone, wasiNoFile},
	{"fd_datasync", "i", "i", wasiCostNone, wasiNoFile},
	{"fd_fdstat_get", "ii", "i", wasiCostWords, wasiFileStatus},
	{"fd_fdstat_set_flags", "ii", "i", wasiCostNone, wasiNoFile},
	{"fd_fdstat_set_rights", "ill", "i", wasiCostNone, wasiNoFile},
	{"fd_filestat_get", "ii", "i", wasiCostNone, wasiNoFile},
	{"fd_filestat_set_size", "il", "i", wasiCostNone, wasiNoFile},
	{"fd_filestat_set_times", "illi", "i", wasiCostNone, wasiNoFile},
	{"fd_pread", "iiili", "i", wasiCostNone, wasiNoFile},
	{"fd_prestat_dir_name", "iii", "i", wasiCostNone, wasiNoFile},
	{"fd_prestat_get", "ii", "i", wasiCostNone, wasiNoFile},
	{"fd_pwrite", "iiili", "i", wasiCostNone, wasiNoFile},
	{"fd_read", "iiii", "i", wasiCostNone, wasiNoFile},
	{"fd_readdir", "iiili", "i", wasiCostNone, wasiNoFile},
	{"fd_renumber", "ii", "i", wasiCostNone, wasiNoFile},
	{"fd_seek", "ilii", "i", wasiCostNone, wasiNoFile},
	{"fd_sync", "i", "i", wasiCostNone, wasiNoFile},
	{"fd_tell", "ii", "i", wasiCostNone, wasiNoFile},
	{"fd_write", "iiii", "i", wasiCostWrite, wasiWrite},
	{"path_create_directory", "iii", "i", wasiCostNone, wasiNoFile},
	{"path_filestat_get", "iiiii", "i", wasiCostNone, wasiNoFile},
	{"path_filestat_set_times", "iiiilli", "i", wasiCostNone, wasiNoFile},
	{"path_link", "iiiiiii", "i", wasiCostNone, wasiNoFile},
	{"path_open", "iiiiillii", "i", wasiCostNone, wasiNoFile},
	{"path_readlink", "iiiiii", "i", wasiCostNone, wasiNoFile},
	{"path_remove_directory", "iii", "i", wasiCostNone, wasiNoFile},
	{"path_rename", "iiiiii", "i", wasiCostNone, wasiNoFile},
	{"path_symlink", "iiiii", "i", wasiCostNone, wasiNoFile},
	{"path_unlink_file", "iii", "i", wasiCostNone, wasiNoFile},
	{"poll_oneoff", "iiii", "i", wasiCostPoll, wasiPoll},
	{"proc_exit", "i", "", wasiCostNone, wasiExit},
	{"proc_raise", "i", "i", wasiCostNone, wasiUnknown},
	{"random_get", "ii", "i", wasiCostRandom, wasiRandom},
	{"sched_yield", "", "i", wasiCostNone, wasiNothing},
	{"sock_accept", "iii", "i", wasiCostNone, wasiUnknown},
	{"sock_recv", "iiiiii", "i", wasiCostNone, wasiUnknown},
	{"sock_send", "iiiii", "i", wasiCostNone, wasiUnknown},
	{"sock_shutdown", "ii", "i", wasiCostNone, wasiUnknown},
}

// wasiFunc finds a WASI function by its name, nil if there is none.
func (r *rules) wasiFunc(name string) *wasiFunc {
	i, ok := slices.BinarySearchFunc(r.wasi, name, func(fn wasiFunc, name string) int { return strings.Compare(fn.name, name) })
	if !ok {
		return nil
	}
	return &r.wasi[i]
}

// Call implements api.GoModuleFunction: base price, then the body.
func (fn *wasiFunc) Call(ctx context.Context, _ api.Module, stack []uint64) {
	f := ctx.(*frame)
	f.charge(fn.cost.Base)
	errno := fn.body(f, fn.cost, stack)
	if fn.results != "" {
		stack[0] = uint64(errno)
	}
}

// instantiateWASI makes the host module of the WASI functions.
func instantiateWASI(ctx context.Context, engine wazero.Runtime, r *rules) error {
	b := engine.NewHostModuleBuilder(wasiModule)
	for i := range r.wasi {
		fn := &r.wasi[i]
		b.NewFunctionBuilder().
			WithGoModuleFunction(fn, valueTypes(fn.params), valueTypes(fn.results)).
			Export(fn.name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

// chargeSize takes the price of n bytes of a WASI function off the gas.
func (f *frame) chargeSize(c hostCost, n uint64) { f.charge((c.Byte*int64(n) + 7) / 8) }

// put32 writes a word to the guest's memory.
func (f *frame) put32(ptr uint64, v uint32) {
	binary.LittleEndian.PutUint32(f.view(ptr, 4), v)
	f.wrote(api.DecodeU32(ptr), 4)
}

// put64 writes a double word to the guest's memory.
func (f *frame) put64(ptr uint64, v uint64) {
	binary.LittleEndian.PutUint64(f.view(ptr, 8), v)
	f.wrote(api.DecodeU32(ptr), 8)
}

func wasiNothing(*frame, hostCost, []uint64) uint32 { return wasiSuccess }

func wasiNoFile(*frame, hostCost, []uint64) uint32 { return wasiBadFile }

func wasiUnknown(*frame, hostCost, []uint64) uint32 { return wasiNoSys }

// wasiNoStrings answers the sizes of an empty list of strings.
func wasiNoStrings(f *frame, _ hostCost, s []uint64) uint32 {
	f.put32(s[0], 0)
	f.put32(s[1], 0)
	return wasiSuccess
}

// wasiClocks is the number of clocks of preview 1.
const wasiClocks = 4

func wasiResolution(f *frame, _ hostCost, s []uint64) uint32 {
	if api.DecodeU32(s[0]) >= wasiClocks {
		return wasiInvalid
	}
	f.put64(s[1], 1)
	return wasiSuccess
}

func wasiTime(f *frame, _ hostCost, s []uint64) uint32 {
	if api.DecodeU32(s[0]) >= wasiClocks {
		return wasiInvalid
	}
	f.put64(s[2], f.clock)
	return wasiSuccess
}

func wasiRandom(f *frame, c hostCost, s []uint64) uint32 {
	buf := f.view(s[0], s[1])
	f.chargeSize(c, uint64(len(buf)))
	clear(buf)
	f.wrote(api.DecodeU32(s[0]), len(buf))
	return wasiSuccess
}

// isLog says whether a file descriptor is one of the two that can be written.
func isLog(fd uint64) bool { return api.DecodeU32(fd) == 1 || api.DecodeU32(fd) == 2 }

// wasiFileStatus answers an fdstat of 24 bytes: type (2, a character device),
// flags, what may be done (bit 6, fd_write), what may be inherited.
func wasiFileStatus(f *frame, _ hostCost, s []uint64) uint32 {
	if !isLog(s[0]) {
		return wasiBadFile
	}
	f.put64(s[1], 2)
	f.put64(uint64(api.DecodeU32(s[1]))+8, 1<<6)
	f.put64(uint64(api.DecodeU32(s[1]))+16, 0)
	return wasiSuccess
}

// wasiWrite gathers the bytes of a vector of (pointer, length) pairs in the
// call's log. Each pair is paid for before it is looked at.
func wasiWrite(f *frame, c hostCost, s []uint64) uint32 {
	if !isLog(s[0]) {
		return wasiBadFile
	}
	count := uint64(api.DecodeU32(s[2]))
	if count > math.MaxUint32/8 {
		f.fail(abi.CodeBadPointer, "")
	}
	vector := f.view(s[1], 8*count)
	f.view(s[3], 4)
	f.chargeSize(c, 8*count)
	total := 0
	for ; len(vector) > 0; vector = vector[8:] {
		text := f.view(uint64(binary.LittleEndian.Uint32(vector)), uint64(binary.LittleEndian.Uint32(vector[4:])))
		if len(text) > math.MaxInt32-total {
			break // less than asked may be written, as by writev
		}
		f.chargeSize(c, uint64(len(text)))
		total += len(text)
		f.say(text)
	}
	if n := len(f.words); n > 0 && f.words[n-1] == '\n' {
		f.flushWords()
	}
	f.put32(s[3], uint32(total))
	return wasiSuccess
}

// say appends to what the guest is saying, up to the length of a log message;
// the rest of a message is left out.
func (f *frame) say(text []byte) {
	f.words = append(f.words, text[:min(len(text), maxLog-len(f.words))]...)
}

// flushWords logs what the guest said since it last ended a line.
func (f *frame) flushWords() {
	text := strings.ToValidUTF8(strings.TrimRight(string(f.words), "\n"), "\ufffd")
	f.words = f.words[:0]
	if text == "" {
		return
	}
	if strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ") {
		f.keepLastWords(text)
	}
	if f.env != nil {
		f.env.Log(text)
	}
}

// keepLastWords notes what a trap that follows tells as its reason.
func (f *frame) keepLastWords(text string) {
	f.lastWords = strings.ToValidUTF8(text[:min(len(text), abi.MaxAbortText)], "")
}

// wasiExit ends the call. Its trap tells why Go panicked.
func wasiExit(f *frame, _ hostCost, s []uint64) uint32 {
	f.flushWords()
	text := "exit code " + strconv.FormatUint(uint64(api.DecodeU32(s[0])), 10)
	if f.lastWords != "" {
		text += ": " + f.lastWords
	}
	f.fail(abi.CodeExited, text)
	return wasiSuccess
}

// Sizes and kinds in poll_oneoff.
const (
	wasiSubscription = 48
	wasiEvent        = 32
	wasiPollClock    = 0
	wasiPollWrite    = 2
)

// subscription is one element of what poll_oneoff waits for.
type subscription []byte

func (b subscription) kind() byte { return b[8] }

// wake is when the clock of a subscription rings. Times beyond what fits in
// 63 bits are as good as never.
func (b subscription) wake(now uint64) uint64 {
	timeout := min(binary.LittleEndian.Uint64(b[24:]), math.MaxInt64)
	if binary.LittleEndian.Uint16(b[40:])&1 == 0 {
		timeout += now
	}
	return min(timeout, math.MaxInt64)
}

// answer writes the event of the subscription to out: a clock rang, or a file
// is a bad one.
func (b subscription) answer(out []byte) {
	clear(out[:wasiEvent])
	copy(out, b[:8]) // the guest's own mark
	if out[10] = b.kind(); out[10] != wasiPollClock {
		out[8] = byte(wasiBadFile)
	}
}

// wasiPoll waits, which takes no time: where there is nothing but clocks, they
// are set to the first that rings.
func wasiPoll(f *frame, c hostCost, s []uint64) uint32 {
	count := uint64(api.DecodeU32(s[2]))
	if count == 0 || count > math.MaxUint32/wasiSubscription {
		return wasiInvalid
	}
	in := f.view(s[0], count*wasiSubscription)
	out := f.view(s[1], count*wasiEvent)
	f.view(s[3], 4)
	f.chargeSize(c, count*wasiSubscription)
	now, first := f.clock, uint64(math.MaxInt64)
	for i := range count {
		switch b := subscription(in[i*wasiSubscription:]); {
		case b.kind() > wasiPollWrite:
			return wasiInvalid
		case b.kind() == wasiPollClock:
			first = min(first, b.wake(now))
		default:
			first = 0
		}
	}
	f.clock = max(now, first)
	f.wrote(api.DecodeU32(s[1]), len(out))
	events := uint32(0)
	for i := range count {
		b := subscription(in[i*wasiSubscription:])
		if b.kind() == wasiPollClock && b.wake(now) > f.clock {
			continue
		}
		b.answer(out[events*wasiEvent:])
		events++
	}
	f.put32(s[3], events)
	return wasiSuccess
}
