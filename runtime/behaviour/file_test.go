package behaviour

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/ledger"
)

// A Monitor that is opened anew knows the records, and goes on waiting for what
// was left of the timers: the time between is nobody's silence.
func TestRecordsSurviveRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.Dir = filepath.Join(t.TempDir(), "behaviour")
		stop := w.run()
		w.bind(id(1), counts("guard", time.Hour), says("other", abi.Judgement{}))
		for range 3 {
			w.report(id(1), abi.ObserveTelemetry)
		}
		last := time.Now().UnixMilli()
		elapse(20 * time.Minute)
		stop()
		elapse(24 * time.Hour)
		defer w.run()()
		w.forget()
		if local, ok := w.watches.local(id(1), "guard"); !ok || !bytes.Equal(local, []byte{3}) {
			t.Errorf("the record is %x, %v", local, ok)
		}
		if _, ok := w.watches.local(id(1), "other"); ok {
			t.Error("a record that never was")
		}
		elapse(39 * time.Minute)
		if len(w.questions()) != 0 {
			t.Errorf("asked %q", w.questions())
		}
		var seen []byte
		w.bind(id(1), guard{"guard", func(o *abi.Observation, _ []byte) (x ledger.Opinion) { seen = slices.Clone(o.Payload); return x }})
		elapse(time.Minute + time.Second)
		if !slices.Equal(w.questions(), []string{"guard silence"}) || !bytes.Equal(seen, silencePayload(last)) {
			t.Errorf("asked %q, %x", w.questions(), seen)
		}
	})
}

// A crash loses what ten minutes brought, and no more.
func TestCrashLosesTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.Dir = t.TempDir()
		stop := w.run()
		w.bind(id(1), counts("guard", 0))
		w.bind(id(2), says("guard", abi.Judgement{Level: abi.LevelAlert}))
		w.report(id(1), abi.ObserveTelemetry)
		w.report(id(2), abi.ObserveTelemetry)
		exhibit := w.took()[0].verdict.Evidence
		elapse(writeEvery)
		w.report(id(1), abi.ObserveTelemetry)
		crashed := newWorld(t)
		crashed.cfg.Dir = copyDir(t, w.cfg.Dir)
		stop()
		crashed.open()
		if local, ok := crashed.watches.local(id(1), "guard"); !ok || !bytes.Equal(local, []byte{1}) {
			t.Errorf("the record is %x, %v", local, ok)
		}
		if _, ok := crashed.Evidence(exhibit); !ok {
			t.Error("the evidence is gone")
		}
	})
}

func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// Files are written every ten minutes at most, and not where nothing changed.
func TestFilesAreWrittenRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.Dir = t.TempDir()
		defer w.run()()
		w.bind(id(1), counts("guard", 0))
		written := uint64(0)
		writes := 0
		for range 3600 {
			w.report(id(1), abi.ObserveTelemetry)
			elapse(time.Second)
			if n := w.Stats().WrittenBytes; n != written {
				written = n
				writes++
			}
		}
		if writes != 6 {
			t.Errorf("%d writes in an hour", writes)
		}
		elapse(time.Hour)
		if n := w.Stats().WrittenBytes; n > 2*written {
			t.Errorf("%d bytes written for nothing", n-written)
		}
	})
}

// Whatever byte of a file changed, the Monitor opens: without what was in it.
func TestDamagedFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.Dir = t.TempDir()
		stop := w.run()
		w.bind(id(1), counts("guard", time.Hour))
		w.bind(id(2), says("guard", abi.Judgement{Level: abi.LevelAlert}))
		w.report(id(1), abi.ObserveTelemetry)
		w.report(id(2), abi.ObserveTelemetry)
		exhibit := w.took()[0].verdict.Evidence
		stop()
		for _, name := range []string{"records", "evidence"} {
			path := filepath.Join(w.cfg.Dir, name)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for at := range good {
				for _, damaged := range [][]byte{flip(good, at), good[:at]} {
					if err := os.WriteFile(path, damaged, 0o600); err != nil {
						t.Fatal(err)
					}
					again := newWorld(t)
					again.cfg.Dir = w.cfg.Dir
					again.open()
					_, known := again.watches.local(id(1), "guard")
					_, found := again.Evidence(exhibit)
					if known != (name != "records") || found != (name != "evidence") {
						t.Fatalf("%s, byte %d of %d: records %v, evidence %v", name, at, len(good), known, found)
					}
				}
			}
			if err := os.WriteFile(path, good, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func flip(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 1
	return b
}

// What cannot be written now is written when it can be.
func TestFailedWritesAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.Dir = t.TempDir()
		stop := w.run()
		w.bind(id(1), says("guard", abi.Judgement{Level: abi.LevelAlert}))
		for _, name := range []string{"records.tmp", "evidence"} { // in the way of files
			if err := os.Mkdir(filepath.Join(w.cfg.Dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		w.report(id(1), abi.ObserveTelemetry)
		exhibit := w.took()[0].verdict.Evidence
		elapse(writeEvery)
		if w.Stats().WrittenBytes != 0 {
			t.Error("something was written")
		}
		for _, name := range []string{"records.tmp", "evidence"} {
			if err := os.Remove(filepath.Join(w.cfg.Dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		elapse(writeEvery)
		stop()
		again := newWorld(t)
		again.cfg.Dir = w.cfg.Dir
		again.open()
		if _, ok := again.Evidence(exhibit); !ok || again.Stats().Watched != 1 {
			t.Errorf("evidence %v, %d watched", ok, again.Stats().Watched)
		}
	})
}

// Evidence takes a bounded room in memory and on disk; the newest is there.
func TestEvidenceIsBounded(t *testing.T) {
	w := newWorld(t)
	w.cfg.Dir, w.cfg.EvidenceBytes = t.TempDir(), 64<<10
	w.open()
	var hashes []abi.Hash
	for n := range 2000 {
		exhibit := bytes.Repeat([]byte{byte(n), byte(n >> 8)}, 500)
		hashes = append(hashes, w.evidence.add(exhibit))
		w.evidence.add(exhibit) // twice the same is one
		if n%20 == 0 {
			w.flush(false)
		}
	}
	w.flush(false)
	if s := w.Stats(); s.EvidenceBytes > w.cfg.EvidenceBytes {
		t.Errorf("%d bytes in memory", s.EvidenceBytes)
	}
	disk := int64(0)
	for _, path := range []string{w.files.evidence(), w.files.older()} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		disk += info.Size()
	}
	if disk > int64(2*evidenceFiles*w.cfg.EvidenceBytes) {
		t.Errorf("%d bytes on disk", disk)
	}
	if b, err := ReadEvidence(w.cfg.Dir, hashes[len(hashes)-1]); err != nil || sha256.Sum256(b) != hashes[len(hashes)-1] {
		t.Errorf("beside the Monitor: %v", err)
	}
	if _, err := ReadEvidence(t.TempDir(), hashes[0]); !errors.Is(err, abi.CodeNotFound) {
		t.Error(err)
	}
	found := 0
	for i, hash := range hashes {
		exhibit, ok := w.Evidence(hash)
		if ok && sha256.Sum256(exhibit) != hash {
			t.Fatal("another exhibit")
		}
		if ok {
			found++
		} else if i >= len(hashes)-200 {
			t.Fatalf("exhibit %d of %d is gone", i, len(hashes))
		}
	}
	if found == len(hashes) {
		t.Error("everything is there, so nothing was tested")
	}
}

func FuzzRecords(f *testing.F) {
	w := newWorld(f).open()
	w.watches.restore([]kept{
		{id(1), 5, []keptJudge{{"a", []byte{1, 2}, true, time.Minute}, {"b", nil, false, 0}}},
		{id(2), 0, []keptJudge{{"c", []byte{}, true, 0}}},
	}, 0)
	seed := w.watches.appendRecords(nil, 0)
	f.Add(seed)
	f.Add(seed[:len(seed)-sha256.Size])
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, file := range [][]byte{b, sealed(b)} { // as it is, and as one that we wrote
			list, err := parseRecords(file)
			if err != nil {
				continue
			}
			w := newWorld(t).open()
			w.watches.restore(list, 0)
			once := w.watches.appendRecords(nil, 0)
			again := newWorld(t).open()
			list, err = parseRecords(once)
			if err != nil {
				t.Fatal(err)
			}
			again.watches.restore(list, 0)
			if twice := again.watches.appendRecords(nil, 0); !bytes.Equal(once, twice) {
				t.Fatalf("%x became %x", once, twice)
			}
		}
	})
}

// sealed gives a file its checksum.
func sealed(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(slices.Clone(b), sum[:]...)
}

func FuzzExhibits(f *testing.F) {
	f.Add(appendExhibit(appendExhibit(nil, []byte("one")), nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			before := r.Len()
			exhibit, err := readExhibit(r)
			if err != nil {
				return
			}
			if end := len(b) - before; !bytes.Equal(appendExhibit(nil, exhibit), b[end:len(b)-r.Len()]) {
				t.Fatalf("%x", exhibit)
			}
		}
	})
}

func FuzzAttackAccount(f *testing.F) {
	f.Add((&AttackAccount{"bad-signatures", 7, 1, 2, []AttackSource{{"203.0.113.7", 5}, {"", 2}}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := ParseAttackAccount(b); err == nil && !bytes.Equal(a.Append(nil), b) {
			t.Errorf("%x became %x", b, a.Append(nil))
		}
	})
}
