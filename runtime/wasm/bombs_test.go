package wasm

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// leb is a LEB128 number.
func leb(v uint32) []byte { return module.AppendU32(nil, v) }

// section is a section with the content.
func section(id byte, content ...[]byte) []byte {
	body := bytes.Join(content, nil)
	return append(append([]byte{id}, leb(uint32(len(body)))...), body...)
}

// bombs are small or large modules made to cost much.
func bombs() map[string][]byte {
	header := []byte("\x00asm\x01\x00\x00\x00")
	mod := func(sections ...[]byte) []byte { return append(bytes.Clone(header), bytes.Join(sections, nil)...) }
	huge := leb(1<<32 - 1)
	void := section(1, []byte{1, 0x60, 0, 0})
	one := section(3, []byte{1, 0})
	body := func(b []byte) []byte { return section(10, []byte{1}, leb(uint32(len(b))), b) }
	fill := func(unit ...byte) []byte { return bytes.Repeat(unit, 250_000/len(unit)) }
	return map[string][]byte{
		"types by count":       mod(section(1, huge)),
		"functions by count":   mod(void, section(3, huge)),
		"functions":            mod(void, section(3, leb(250_000), make([]byte, 250_000))),
		"types":                mod(section(1, leb(80_000), fill(0x60, 0, 0))),
		"imports by count":     mod(void, section(2, huge)),
		"import's long name":   mod(void, section(2, leb(1), leb(240_000), fill('x'))),
		"globals by count":     mod(section(6, huge)),
		"exports":              mod(section(7, leb(60_000), fill(0, 0, 0, 0))),
		"elements by count":    mod(section(4, []byte{1, 0x70, 0, 1}), section(9, []byte{1, 0, 0x41, 0, 0x0b}, huge)),
		"data by count":        mod(section(5, []byte{1, 0, 1}), section(11, huge)),
		"bodies by count":      mod(void, one, section(10, huge)),
		"locals":               mod(void, one, body(append(append([]byte{1}, huge...), 0x7f, 0x0b))),
		"locals in many runs":  mod(void, one, body(append(leb(16_000), bytes.Repeat([]byte{0, 0x7f}, 16_000)...))),
		"a million locals":     mod(void, one, body(append([]byte{2, 0x80, 0x80, 0x40, 0x7f, 0x80, 0x80, 0x40, 0x7e}, 0x0b))),
		"nested blocks":        mod(void, one, body(append([]byte{0}, bytes.Repeat([]byte{2, 0x40}, 16_000)...))),
		"nested ifs":           mod(void, one, body(append([]byte{0}, bytes.Repeat([]byte{0x41, 0, 4, 0x40}, 8_000)...))),
		"loops":                mod(void, one, body(append([]byte{0}, bytes.Repeat([]byte{3, 0x40, 0x0b}, 10_000)...))),
		"br_table by count":    mod(void, one, body(append([]byte{0, 0x41, 0, 0x0e}, huge...))),
		"many br_tables":       mod(void, one, body(append([]byte{0}, bytes.Repeat([]byte{0x41, 0, 0x0e, 2, 0, 0, 0}, 4_600)...))),
		"operands":             mod(void, one, body(append([]byte{0}, bytes.Repeat([]byte{0x41, 0}, 16_000)...))),
		"memory":               mod(section(5, []byte{1, 0}, leb(65_536))),
		"table":                mod(section(4, []byte{1, 0x70, 0}, huge)),
		"custom sections":      mod(fill(0, 1, 0)),
		"names by count":       mod(section(0, leb(4), []byte("name"), []byte{1}, leb(5), huge)),
		"endless number":       mod([]byte{1}, bytes.Repeat([]byte{0x80}, 250_000)),
		"start without end":    mod(void, one, section(8, huge), body([]byte{0, 0x0b})),
		"zeros":                make([]byte, 256<<10),
		"a blob of all limits": mod(void, section(3, leb(2001), make([]byte, 2001))),
	}
}

// Bombs are refused at once and without memory. The quickest of three counts:
// others use the machine as well.
func TestBombs(t *testing.T) {
	for name, blob := range bombs() {
		took, used := refuse(t, name, blob)
		for range 2 {
			again, _ := refuse(t, name, blob)
			took = min(took, again)
		}
		if took > 50*time.Millisecond {
			t.Errorf("%s: %v to refuse", name, took)
		}
		if used > 32<<20 {
			t.Errorf("%s: %d bytes to refuse", name, used)
		}
	}
}

// refuse measures a refusal: time, and bytes allocated.
func refuse(t *testing.T, name string, blob []byte) (took time.Duration, used uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	r := refusalOf(t, blob)
	took = time.Since(start)
	runtime.ReadMemStats(&after)
	if r == nil {
		t.Errorf("%s: admitted", name)
	}
	return took, after.TotalAlloc - before.TotalAlloc
}
