package abi

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"
)

func TestReadFrame(t *testing.T) {
	var stream []byte
	contents := [][]byte{{}, {1}, bytes.Repeat([]byte{2}, 600), bytes.Repeat([]byte{3}, MaxFrame), {4}}
	for _, c := range contents {
		start := len(stream)
		stream = EndFrame(append(BeginFrame(stream), c...), start)
	}
	for name, r := range map[string]io.Reader{"whole": bytes.NewReader(stream), "byte by byte": iotest.OneByteReader(bytes.NewReader(stream))} {
		var buf []byte
		for i, want := range contents {
			got, err := ReadFrame(r, buf)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s, frame %d: %d bytes, %v", name, i, len(got), err)
			}
			buf = got
		}
		if got, err := ReadFrame(r, buf); err != io.EOF || got != nil {
			t.Errorf("%s, at the end: %x, %v", name, got, err)
		}
	}
}

func TestReadFrameVectors(t *testing.T) {
	for _, v := range loadVectors(t) {
		if v.Frame == "" {
			continue
		}
		frame, err := hex.DecodeString(v.Frame)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFrame(bytes.NewReader(frame), nil); err != nil || hex.EncodeToString(got) != v.Hex {
			t.Errorf("%s: %x, %v", v.Name, got, err)
		}
	}
}

func TestReadFrameRefuses(t *testing.T) {
	head := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	for name, tt := range map[string]struct {
		in   []byte
		want error
	}{
		"above the limit": {head(MaxFrame + 1), CodeFrameTooLarge},
		"4 GiB":           {head(1<<32 - 1), CodeFrameTooLarge},
		"half a head":     {head(5)[:2], io.ErrUnexpectedEOF},
		"no content":      {head(5), io.ErrUnexpectedEOF},
		"half a content":  {append(head(5), 1, 2), io.ErrUnexpectedEOF},
		"cut after 4 KiB": {append(head(9<<10), make([]byte, 4<<10)...), io.ErrUnexpectedEOF},
	} {
		if got, err := ReadFrame(bytes.NewReader(tt.in), nil); !errors.Is(err, tt.want) || got != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// TestLengthAloneHoldsLittle: a head that promises 80 KiB gets its memory only
// as the content comes.
func TestLengthAloneHoldsLittle(t *testing.T) {
	in := binary.BigEndian.AppendUint32(nil, MaxFrame)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const frames = 100
	for range frames {
		if _, err := ReadFrame(bytes.NewReader(in), nil); err == nil {
			t.Fatal("a frame without content was read")
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / frames; each > 8<<10 {
		t.Errorf("%d bytes for a length alone", each)
	}
}

// TestReadFrameReuses: a buffer that is large enough is not replaced.
func TestReadFrameReuses(t *testing.T) {
	frame := EndFrame(append(BeginFrame(nil), make([]byte, 300)...), 0)
	buf := make([]byte, 512)
	r := bytes.NewReader(frame)
	allocs := testing.AllocsPerRun(100, func() {
		r.Reset(frame)
		got, err := ReadFrame(r, buf)
		if err != nil || &got[0] != &buf[0] {
			t.Fatal("the buffer was replaced", err)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations a frame", allocs)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 1, 2, 0, 0, 0, 0}, 3)
	f.Add([]byte{0, 1, 64, 1}, 0)
	f.Fuzz(func(t *testing.T, in []byte, room int) {
		r := bytes.NewReader(in)
		buf := make([]byte, max(0, min(room, 1<<16)))
		var again []byte
		for {
			got, err := ReadFrame(r, buf)
			if err != nil {
				break
			}
			start := len(again)
			again = EndFrame(append(BeginFrame(again), got...), start)
		}
		if !bytes.HasPrefix(in, again) {
			t.Fatalf("%x was read as %x", in, again)
		}
	})
}
