package consensus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed79541315/postern/abi"
)

// hookedKey tells when it is asked to sign.
type hookedKey struct {
	key
	onSign func()
}

func (k hookedKey) Sign(message []byte) ([]byte, error) {
	k.onSign()
	return k.key.Sign(message)
}

// moment is what is on disk at one moment of an engine's life.
type moment struct {
	name string
	wal  string
	disk *disk
}

// record runs a lone validator for a few blocks and keeps what a power failure
// at each step of them would leave.
func record(t *testing.T, blocks uint64) []moment {
	var moments []moment
	a, dir := newApp(t, 1), t.TempDir()
	keep := func(what string, height uint64) error {
		m := moment{fmt.Sprintf("%s-%d", what, height), t.TempDir(), a.snapshot()}
		moments = append(moments, m)
		return os.CopyFS(m.wal, os.DirFS(dir))
	}
	a.onPropose = func(h uint64) error { return keep("propose", h) }
	a.onVerify = func(h uint64) error { return keep("verify", h) }
	a.onCommit = func(h uint64) error { return keep("commit", h) }
	a.onCommitted = func(h uint64) error { return keep("committed", h) }
	cfg := config(t, a, dir)
	cfg.Key = hookedKey{newKey(1), func() {
		if err := keep("sign", a.Head().Height+1); err != nil {
			t.Error(err)
		}
	}}
	r := start(t, cfg)
	for n := range blocks {
		r.commit(a, transaction(t, n+1))
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	return append(moments, moment{"stopped", dir, a.snapshot()})
}

// recover starts over from a moment and lets the recovery end.
func (m moment) recover(t *testing.T, d *disk) (*app, *running) {
	a := newApp(t, 1).reopen(d)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(m.wal)); err != nil {
		t.Fatal(err)
	}
	r := start(t, config(t, a, dir))
	synctest.Wait()
	return a, r
}

// checkChain checks that the blocks follow one another and that nothing was
// applied twice.
func checkChain(t testing.TB, a *app) {
	t.Helper()
	d := a.snapshot()
	for i, b := range d.blocks[1:] {
		if b.Header.Height != uint64(i+1) || b.Header.Parent != d.blocks[i].Header.Hash() {
			t.Fatalf("block %d does not follow", i+1)
		}
		if err := d.certificates[i+1].Verify(&b.Header, a.signers(uint64(i+1))); err != nil {
			t.Fatalf("certificate of block %d: %v", i+1, err)
		}
	}
	if a.replays != 0 {
		t.Fatalf("%d transactions were applied twice", a.replays)
	}
}

// After a power failure at any step, with the ledger at the height it had or
// one below what the log has decided, a validator goes on: the chain has no
// gap, and no transaction counts twice or is lost once it was voted for.
func TestCrashAtAnyStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, m := range record(t, 3) {
			disks := []*disk{m.disk}
			top := uint64(len(m.disk.blocks) - 1)
			if top > 0 && !strings.HasPrefix(m.name, "sign") && !strings.HasPrefix(m.name, "commit-") {
				disks = append(disks, m.disk.rewind(top-1))
			}
			for _, d := range disks {
				before := uint64(len(d.blocks) - 1)
				a, r := m.recover(t, d)
				if h := a.Head().Height; h < top {
					t.Fatalf("%s: recovered to height %d of %d", m.name, h, top)
				}
				if h := a.Head().Height; m.signed() > h {
					t.Fatalf("%s: recovered to height %d, voted for %d", m.name, h, m.signed())
				}
				for n := range uint64(4) {
					raw := transaction(t, n+1)
					if _, err := r.Submit(t.Context(), raw); err != nil && !errors.Is(err, abi.CodeReplayed) {
						t.Fatalf("%s at %d: %v", m.name, before, err)
					}
					<-a.wait(txID(t, raw))
				}
				checkChain(t, a)
				if err := r.stop(); err != nil {
					t.Fatalf("%s at %d: %v", m.name, before, err)
				}
			}
		}
	})
}

// signed is the last signed height on the moment's disk.
func (m moment) signed() uint64 {
	height, _, err := readSigned(m.wal, testChain)
	if err != nil {
		return 0
	}
	return height
}

// A log whose last write was torn, at any byte, is mended. Where that loses a
// proposal that was voted for, the lone validator refuses to start.
func TestTornLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := record(t, 2)
		for _, name := range []string{"propose-1", "sign-1", "commit-1", "sign-2", "commit-2"} {
			m := all[slices.IndexFunc(all, func(m moment) bool { return m.name == name })]
			size := int64(len(lastLog(t, m.wal)))
			for cut := int64(1); cut <= size; cut += 1 + size/40 {
				tear(t, m, cut)
			}
		}
	})
}

func tear(t *testing.T, m moment, cut int64) {
	torn := moment{m.name, t.TempDir(), m.disk}
	if err := os.CopyFS(torn.wal, os.DirFS(m.wal)); err != nil {
		t.Fatal(err)
	}
	path := lastLogPath(t, torn.wal)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-cut); err != nil {
		t.Fatal(err)
	}
	a, r := torn.recover(t, m.disk)
	select {
	case err := <-r.done:
		if !strings.Contains(fmt.Sprint(err), "older copy") || m.signed() <= a.Head().Height {
			t.Fatalf("%s cut by %d: %v", m.name, cut, err)
		}
		return
	default:
	}
	r.commit(a, transaction(t, 100))
	checkChain(t, a)
	if err := r.stop(); err != nil {
		t.Fatalf("%s cut by %d: %v", m.name, cut, err)
	}
}

func lastLogPath(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no log in %s: %v", dir, err)
	}
	return slices.Max(names)
}

func lastLog(t *testing.T, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(lastLogPath(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A lone validator whose ledger is older than its votes refuses to vote, and
// says why.
func TestRestoredFromBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := record(t, 3)
		last := all[len(all)-1]
		_, r := last.recover(t, last.disk.rewind(1))
		if err := <-r.done; !strings.Contains(fmt.Sprint(err), "the ledger ends at height 1, but this validator has voted for height 3") {
			t.Fatalf("an old ledger: %v", err)
		}
		// The log was lost with it; the file of the last signed height was not.
		lost := moment{"lost", moveSigned(t, last.wal), nil}
		_, r = lost.recover(t, last.disk.rewind(2))
		if err := <-r.done; !strings.Contains(fmt.Sprint(err), "older copy") {
			t.Fatalf("an old ledger without its log: %v", err)
		}
		a, r := lost.recover(t, last.disk)
		r.commit(a, transaction(t, 9))
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// What the ledger cannot do ends Run with the cause, and nothing is committed
// after it.
func TestFailuresEndRun(t *testing.T) {
	broken := errors.New("disk on fire")
	cases := map[string]func(*app){
		"propose":   func(a *app) { a.onPropose = func(uint64) error { return broken } },
		"commit":    func(a *app) { a.onCommit = func(uint64) error { return broken } },
		"committed": func(a *app) { a.onCommitted = func(uint64) error { return broken } },
	}
	for name, hook := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newApp(t, 1)
				hook(a)
				r := start(t, config(t, a, t.TempDir()))
				if _, err := r.Submit(t.Context(), transaction(t, 1)); err != nil {
					t.Fatal(err)
				}
				if err := <-r.done; !errors.Is(err, broken) {
					t.Fatalf("Run returned %v", err)
				}
				if _, err := r.Submit(t.Context(), transaction(t, 2)); !errors.Is(err, abi.CodeShuttingDown) {
					t.Fatalf("Submit after the end: %v", err)
				}
				if h := a.Head().Height; h > 1 {
					t.Fatalf("it went on to height %d", h)
				}
			})
		})
	}
}

// A block of the log that executes differently now is never voted for.
func TestDifferentExecutionEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := record(t, 1)
		m := all[slices.IndexFunc(all, func(m moment) bool { return m.name == "sign-1" })]
		a := newApp(t, 1).reopen(m.disk)
		different := errors.New("other root")
		a.onVerify = func(uint64) error { return different }
		r := start(t, config(t, a, m.wal))
		if err := <-r.done; !errors.Is(err, different) {
			t.Fatalf("Run returned %v", err)
		}
		if a.Head().Height != 0 {
			t.Fatal("it was committed")
		}
	})
}

// A validator signs nothing when it cannot note that it did.
func TestVoteNeedsRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, 1)
		cfg := config(t, a, t.TempDir())
		r := start(t, cfg)
		r.mu.Lock()
		err := r.replica.signed.file.Close()
		r.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Submit(t.Context(), transaction(t, 1)); err != nil {
			t.Fatal(err)
		}
		if err := <-r.done; !errors.Is(err, os.ErrClosed) {
			t.Fatalf("Run returned %v", err)
		}
		if a.Head().Height != 0 {
			t.Fatal("a block was committed without a record of the vote")
		}
	})
}

// moveSigned returns a new directory with only the last-signed height of dir.
func moveSigned(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	b, err := os.ReadFile(filepath.Join(dir, signedName))
	if err == nil {
		err = os.WriteFile(filepath.Join(to, signedName), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// A crash while a new log file is begun leaves one without its first record;
// the log is opened all the same.
func TestLogFileJustBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := record(t, 1)
		last := all[len(all)-1]
		for size := range 16 {
			m := moment{"begun", t.TempDir(), last.disk}
			if err := os.CopyFS(m.wal, os.DirFS(last.wal)); err != nil {
				t.Fatal(err)
			}
			whole := lastLog(t, m.wal)
			if err := os.WriteFile(filepath.Join(m.wal, "0000000000000002.wal"), whole[:size], 0o600); err != nil {
				t.Fatal(err)
			}
			a, r := m.recover(t, m.disk)
			select {
			case err := <-r.done:
				t.Fatalf("%d bytes: %v", size, err)
			default:
			}
			r.commit(a, transaction(t, 50))
			if err := r.stop(); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
		}
	})
}
