package consensus

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed79541315/postern/abi"
)

// stopped is a lone validator's directory and ledger after some blocks.
func stopped(t *testing.T, blocks uint64) moment {
	all := record(t, blocks)
	return all[len(all)-1]
}

// moment of one name.
func momentOf(all []moment, name string) moment {
	return all[slices.IndexFunc(all, func(m moment) bool { return m.name == name })]
}

// clone is the moment with a directory of its own.
func (m moment) clone(t *testing.T) moment {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(m.wal)); err != nil {
		t.Fatal(err)
	}
	return moment{m.name, dir, m.disk}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	b[at] ^= 0xff
	must(t, os.WriteFile(path, b, 0o600))
}

// twoLogs restarts the validator so that its log has a file behind the first,
// and returns the first's path.
func (m moment) twoLogs(t *testing.T) string {
	t.Helper()
	first := lastLogPath(t, m.wal)
	r := start(t, config(t, newApp(t, 1).reopen(m.disk), m.wal))
	must(t, r.stop())
	if lastLogPath(t, m.wal) == first {
		t.Fatal("the log has one file")
	}
	return first
}

// refusals are what a validator that stopped at height 3 must not start with.
var refusals = map[string]struct {
	spoil func(t *testing.T, m *moment)
	want  string
}{
	"directory removed": {func(t *testing.T, m *moment) { must(t, os.RemoveAll(m.wal)) }, "last-signed is missing"},
	"record removed": {func(t *testing.T, m *moment) {
		must(t, os.Remove(filepath.Join(m.wal, signedName)))
	}, "last-signed is missing"},
	"record removed, height 0": {func(t *testing.T, m *moment) {
		must(t, os.Remove(filepath.Join(m.wal, signedName)))
		m.disk = m.disk.rewind(0)
	}, "last-signed is missing"},
	"record empty": {func(t *testing.T, m *moment) {
		must(t, os.Truncate(filepath.Join(m.wal, signedName), 0))
	}, "damaged"},
	"record short": {func(t *testing.T, m *moment) {
		must(t, os.Truncate(filepath.Join(m.wal, signedName), signedSize-1))
	}, "damaged"},
	"record garbage": {func(t *testing.T, m *moment) {
		must(t, os.WriteFile(filepath.Join(m.wal, signedName), []byte(strings.Repeat("garbage", 5000)), 0o600))
	}, "damaged"},
	"ledger lost all":    {func(t *testing.T, m *moment) { m.disk = m.disk.rewind(0) }, "blocks 1 to 3 are not there"},
	"ledger lost blocks": {func(t *testing.T, m *moment) { m.disk = m.disk.rewind(1) }, "blocks 2 to 3 are not there"},
	"ledger and log lost a block": {func(t *testing.T, m *moment) {
		m.wal, m.disk = moveSigned(t, m.wal), m.disk.rewind(2)
	}, "block 3 is not there"},
	"log flipped": {func(t *testing.T, m *moment) {
		first := m.twoLogs(t)
		flip(t, first, 100)
	}, "0000000000000001.wal is damaged"},
}

// What may hide a vote is refused at a check and at a start alike, says what
// to do, and is left as it was. Once it is adopted, above height 0, the validator goes on.
func TestRefusedUntilAdopted(t *testing.T) {
	for name, c := range refusals {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := stopped(t, 3)
				c.spoil(t, &m)
				a := newApp(t, 1).reopen(m.disk)
				head := a.Head().Height
				before := listing(t, m.wal)
				for range 2 {
					checkRefusal(t, "check", check(m.wal, head), c.want)
					if listing(t, m.wal) != before {
						t.Fatal("the check wrote")
					}
				}
				r := m.startCopy(t)
				checkRefusal(t, "start", <-r.done, c.want)
				if head == 0 {
					if err := AdoptLedger(m.wal, a); err == nil || !strings.Contains(err.Error(), "another chain") || listing(t, m.wal) != before {
						t.Fatalf("adopted at height 0: %v", err)
					}
					return
				}
				must(t, AdoptLedger(m.wal, a))
				must(t, check(m.wal, head))
				if err := AdoptLedger(m.wal, a); err == nil || !strings.Contains(err.Error(), "nothing to adopt") {
					t.Fatalf("adopted again: %v", err)
				}
				r = start(t, config(t, a, m.wal))
				if h := r.commit(a, transaction(t, 100)); h <= head {
					t.Fatalf("block %d above %d", h, head)
				}
				checkChain(t, a)
				must(t, r.stop())
			})
		})
	}
}

// A flipped byte anywhere in a log file that is not the last is refused with
// the file's name, by a check and a start alike.
func TestFlippedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := stopped(t, 2)
		first := m.twoLogs(t)
		info, err := os.Stat(first)
		must(t, err)
		for at := int64(0); at < info.Size(); at += 41 {
			spoilt := m.clone(t)
			flip(t, filepath.Join(spoilt.wal, filepath.Base(first)), at)
			want := filepath.Base(first) + " is damaged"
			checkRefusal(t, fmt.Sprintf("check at %d", at), check(spoilt.wal, 2), want)
			_, r := spoilt.recover(t, m.disk)
			checkRefusal(t, fmt.Sprintf("start at %d", at), <-r.done, want)
		}
	})
}

// startCopy starts an engine on a copy of the moment, which may lack its
// directory.
func (m moment) startCopy(t *testing.T) *running {
	if _, err := os.Stat(m.wal); err != nil {
		m.wal = t.TempDir()
	}
	_, r := m.recover(t, m.disk)
	return r
}

func check(dir string, height uint64) error {
	_, err := CheckLedger(dir, testChain, height)
	return err
}

func checkRefusal(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--adopt-ledger") {
		t.Fatalf("%s: %v", what, err)
	}
}

// listing is every file of a directory with its bytes, "" if there is none.
func listing(t *testing.T, dir string) (text string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		text += fmt.Sprintf("%s %x\n", e.Name(), b)
	}
	return text
}

// At every step of a sound validator's life the check finds what a start does:
// nothing wrong, also when the ledger is one block behind what the log holds.
func TestCheckAgreesWithStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, m := range record(t, 3) {
			top := uint64(len(m.disk.blocks) - 1)
			for _, head := range []uint64{top, max(top, 1) - 1} {
				_, r := m.recover(t, m.disk.rewind(head))
				voted, err := CheckLedger(m.wal, testChain, head)
				var started error
				select {
				case started = <-r.done:
				default:
					started = r.stop()
				}
				if (err == nil) != (started == nil) {
					t.Errorf("%s at %d: check %v, start %v", m.name, head, err, started)
				}
				if head == top && (err != nil || voted > top+1 || voted < m.signed()) {
					t.Errorf("%s: voted for %d, %v", m.name, voted, err)
				}
			}
		}
	})
}

// A log that holds the vote above the ledger keeps it through an adoption: the
// block that was signed is the one that comes.
func TestAdoptKeepsVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := momentOf(record(t, 2), "commit-2").clone(t)
		must(t, os.Remove(filepath.Join(m.wal, signedName)))
		a := newApp(t, 1).reopen(m.disk)
		must(t, AdoptLedger(m.wal, a))
		if height, ok, err := readSigned(m.wal, testChain); height != 2 || !ok || err != nil {
			t.Fatalf("last signed %d, %t, %v", height, ok, err)
		}
		r := start(t, config(t, a, m.wal))
		if h := <-a.wait(txID(t, transaction(t, 2))); h != 2 {
			t.Fatalf("it stands in block %d", h)
		}
		must(t, r.stop())
	})
}

// An adoption that a crash ends at any file is refused at a start and can be
// repeated.
func TestAdoptInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := stopped(t, 3)
		m.twoLogs(t)
		names, err := logFiles(m.wal)
		must(t, err)
		a := newApp(t, 1).reopen(m.disk.rewind(1))
		for _, name := range names {
			must(t, os.Rename(filepath.Join(m.wal, name), filepath.Join(m.wal, name+".aside")))
			checkRefusal(t, name, check(m.wal, 1), "blocks 2 to 3")
		}
		must(t, AdoptLedger(m.wal, a))
		must(t, check(m.wal, 1))
	})
}

// What no operator may adopt.
func TestAdoptRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := stopped(t, 2)
		sound := newApp(t, 1).reopen(m.disk)
		before := listing(t, m.wal)
		many := newApp(t, 4).reopen(m.disk.rewind(1))
		if err := AdoptLedger(m.wal, many); err == nil || !strings.Contains(err.Error(), "4 validators") {
			t.Errorf("one of four: %v", err)
		}
		if err := AdoptLedger(m.wal, sound); err == nil || !strings.Contains(err.Error(), "nothing to adopt") {
			t.Errorf("a sound one: %v", err)
		}
		if err := AdoptLedger(m.wal, otherChain{sound}); err == nil || !strings.Contains(err.Error(), "belongs to chain") {
			t.Errorf("another chain's: %v", err)
		}
		if listing(t, m.wal) != before {
			t.Error("a refused adoption wrote")
		}
		file := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(file, nil, 0o600))
		if err := AdoptLedger(file, sound); err == nil {
			t.Error("a file")
		}
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	})
}

// A record begins once, and only in an empty directory.
func TestBegin(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wal")
	must(t, Begin(dir, testChain))
	must(t, check(dir, 9))
	if err := Begin(dir, testChain); err == nil || !strings.Contains(err.Error(), "never signed") {
		t.Fatalf("begun again: %v", err)
	}
}

type otherChain struct{ *app }

func (otherChain) ChainID() abi.Hash { return abi.Hash{7} }

// What the system refuses to read is not damage, and not adopted.
func TestDamagedLogOfSystemError(t *testing.T) {
	refused := &fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}
	if err := damagedLog("x", refused); strings.Contains(err.Error(), "damaged") {
		t.Error(err)
	}
}

// A validator that starts for the first time when the others have blocks
// already begins its record before it fetches them.
func TestLateFirstStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t, 4)
		for id := range uint64(3) {
			net.nodes[id+1].start()
		}
		raw := transaction(t, 1)
		run := net.engine(1)
		run.commit(net.nodes[1].app, raw)
		net.nodes[4].start()
		<-net.nodes[4].app.wait(txID(t, raw))
		select {
		case err := <-net.engine(4).done:
			t.Fatal(err)
		default:
		}
		must(t, check(net.nodes[4].dir, net.nodes[4].app.Head().Height))
	})
}

// FuzzReadJournal reads a log file that anything may have written over, first
// and last of two.
func FuzzReadJournal(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x02\x00\x00\x00\x5a\x5a\x5a\x5a\x08\x02\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "0000000000000001.wal"), b, 0o600))
		if len(b) >= 4 && (b[3] != 0 || b[2] > 1) {
			return // a length that the reader allocates before it reads
		}
		_, _ = readJournal(dir)
		must(t, os.WriteFile(filepath.Join(dir, "0000000000000002.wal"), b, 0o600))
		_, _ = CheckLedger(dir, testChain, 1)
	})
}
