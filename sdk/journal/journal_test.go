package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/seed79541315/postern/sdk/journal"
	"github.com/seed79541315/postern/sdk/journal/journaltest"
)

const path = "/flash/queue"

// reopen opens a journal and keeps what is in it.
func reopen(t testing.TB, d journal.Disk, path string) (*journal.Journal, []string) {
	t.Helper()
	j, records, _, err := journal.Open(path, d)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Replace(records); err != nil {
		t.Fatal(err)
	}
	return j, texts(records)
}

func texts(records [][]byte) (list []string) {
	for _, r := range records {
		list = append(list, string(r))
	}
	return list
}

// TestCrashAtEveryStep: what Append said is there, is there; what it did not say
// may be there, and nothing else.
func TestCrashAtEveryStep(t *testing.T) {
	for _, done := range []bool{false, true} {
		for step := 1; ; step++ {
			d := journaltest.New()
			j, _ := reopen(t, d, path)
			d.FailAt(step, done)
			said, tried := play(j)
			for _, names := range []bool{false, true} {
				for _, part := range []float64{0, 0.5, 1} {
					j, found := reopen(t, d.Crash(names, part), path)
					if !between(found, said, tried) {
						t.Errorf("step %d: found %v of %v said and %v tried", step, found, said, tried)
					}
					if err := j.Append([]byte("later")); err != nil {
						t.Error(err)
					}
				}
			}
			if d.Steps() < step {
				break // it did not fail any more
			}
		}
	}
}

// play writes five records, anew after the third. It returns those that are said
// to be durable, and all that might be.
func play(j *journal.Journal) (said, tried []string) {
	for i := range 5 {
		r := fmt.Sprintf("record %d", i)
		tried = append(tried, r)
		if j.Append([]byte(r)) != nil {
			return said, tried
		}
		said = append(said, r)
		if i == 2 && j.Replace([][]byte{[]byte(said[0]), []byte(said[1]), []byte(said[2])}) != nil {
			return said, tried
		}
	}
	return said, tried
}

// between says whether found is tried or a part of it that begins like it and has
// all of said.
func between(found, said, tried []string) bool {
	return len(found) >= len(said) && len(found) <= len(tried) && slices.Equal(found, tried[:len(found)])
}

func TestAppendAfterAnErrorNeedsReplace(t *testing.T) {
	d := journaltest.New()
	j, _ := reopen(t, d, path)
	d.FailOnce(2) // the sync
	if err := j.Append([]byte("a")); !errors.Is(err, journaltest.ErrFailed) {
		t.Fatal(err)
	}
	if err := j.Append([]byte("b")); !errors.Is(err, journaltest.ErrFailed) {
		t.Errorf("after an error: %v", err)
	}
	if err := j.Replace([][]byte{[]byte("kept")}); err != nil {
		t.Fatal(err)
	}
	if err := j.Append([]byte("c")); err != nil {
		t.Error(err)
	}
	if _, found := reopen(t, d, path); !slices.Equal(found, []string{"kept", "c"}) {
		t.Errorf("found %v", found)
	}
}

func TestDamageIsTold(t *testing.T) {
	d := journaltest.New()
	j, _ := reopen(t, d, path)
	for _, r := range []string{"first", "second", "third"} {
		if err := j.Append([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
	whole, _ := d.Read(path)
	last := len(whole) - len("third") - 12
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 0x40
		d.Write(path, bad)
		_, records, torn, err := journal.Open(path, d)
		switch {
		case i < last && !errors.Is(err, journal.ErrDamaged):
			t.Errorf("byte %d: %v, %v", i, texts(records), err)
		case i >= last && (err != nil || torn == 0 || !slices.Equal(texts(records), []string{"first", "second"})):
			t.Errorf("byte %d: %v, torn %d, %v", i, texts(records), torn, err)
		}
	}
}

func TestOnARealDisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "queue")
	j, _ := reopen(t, journal.OS{}, file)
	if err := j.Append([]byte("a")); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Append([]byte("b")); err == nil {
		t.Error("appended to a closed journal")
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("pJn1torn")
	f.Close()
	j, found := reopen(t, journal.OS{}, file)
	if !slices.Equal(found, []string{"a"}) {
		t.Errorf("found %v", found)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 || info.Size() != int64(j.Size()) {
		t.Errorf("%v, %v, size %d", info, err, j.Size())
	}
	if err := j.Append(make([]byte, journal.MaxRecord+1)); err == nil {
		t.Error("a record above the limit was taken")
	}
	j.Close()
}

// FuzzParse: whatever a file holds, Parse gives records that write the same file
// again, up to what is torn.
func FuzzParse(f *testing.F) {
	d := journaltest.New()
	j, _ := reopen(f, d, path)
	j.Append([]byte("a"))
	j.Append([]byte("pJn1"))
	whole, _ := d.Read(path)
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		records, torn, err := journal.Parse(b)
		if err != nil {
			return
		}
		d := journaltest.New()
		j, _, _, _ := journal.Open(path, d)
		if err := j.Replace(records); err != nil {
			t.Fatal(err)
		}
		if again, _ := d.Read(path); !bytes.Equal(again, b[:len(b)-torn]) {
			t.Errorf("%x became %x", b, again)
		}
	})
}
