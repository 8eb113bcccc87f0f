package outbox

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain/chaintest"
	"github.com/seed79541315/postern/storage/disk/disktest"
)

// sampleFile has an owner and three frames of one transaction each.
func sampleFile(t testing.TB) (raw []byte, ends []int) {
	l, d := newFakeLedger(), disktest.New()
	o := mustOpen(t, l.config(), d)
	ends = append(ends, o.size)
	for n := 1; n <= 3; n++ {
		mustPut(t, o, n)
		ends = append(ends, o.size)
	}
	raw = d.Data("/home/outbox")
	if len(raw) != ends[3] {
		t.Fatalf("%d bytes, not %d", len(raw), ends[3])
	}
	return raw, ends
}

// TestTornTail cuts the file at every byte, and puts rubbish where the rest was.
func TestTornTail(t *testing.T) {
	raw, ends := sampleFile(t)
	for cut := range raw {
		for _, tail := range [][]byte{nil, bytes.Repeat([]byte{0xa5}, 100)} {
			c, err := parseFile(append(bytes.Clone(raw[:cut]), tail...))
			if cut < ends[0] {
				if err == nil {
					t.Fatalf("a file of %d bytes is taken", cut)
				}
				continue
			}
			whole := 0
			for whole < 3 && ends[whole+1] <= cut {
				whole++
			}
			if err != nil || len(c.entries) != whole || c.torn != cut-ends[whole]+len(tail) {
				t.Fatalf("cut at %d: %v, %+v", cut, err, c)
			}
		}
	}
}

// TestDamage flips every byte: before the last frame it is an error that says
// what to do, and there is never a transaction that was not written.
func TestDamage(t *testing.T) {
	raw, ends := sampleFile(t)
	for at := range raw {
		bad := bytes.Clone(raw)
		bad[at] ^= 0x41
		l, d := newFakeLedger(), disktest.New()
		d.Put("/home/outbox", bad)
		o, err := open(l.config(), d)
		if at < ends[2] {
			if err == nil || !strings.Contains(err.Error(), "move it away") {
				t.Fatalf("a flip at %d: %v", at, err)
			}
			if !bytes.Equal(d.Data("/home/outbox"), bad) {
				t.Fatal("a damaged file was written")
			}
		} else if err != nil || len(o.pending) != 2 {
			t.Fatalf("a flip at %d of the last frame: %v", at, err)
		}
	}
}

func TestForeignFiles(t *testing.T) {
	raw, _ := sampleFile(t)
	for name, change := range map[string]func(*Config){
		"chain":   func(c *Config) { c.Chain[0]++ },
		"account": func(c *Config) { c.Account[0]++ },
		"lane":    func(c *Config) { c.Lane++ },
		"key":     func(c *Config) { c.Key = chaintest.Key(2) },
	} {
		l, d := newFakeLedger(), disktest.New()
		d.Put("/home/outbox", raw)
		cfg := l.config()
		change(&cfg)
		if _, err := open(cfg, d); err == nil {
			t.Errorf("a file of another %s is taken", name)
		}
	}
}

func TestOnARealDisk(t *testing.T) {
	l := newFakeLedger()
	cfg := l.config()
	cfg.Path = filepath.Join(t.TempDir(), "outbox")
	for n := 1; n <= 3; n++ {
		o, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if mustPut(t, o, n); len(o.pending) != n {
			t.Errorf("%d are pending", len(o.pending))
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(cfg.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := os.Truncate(cfg.Path, maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), abi.CodeTooLarge.Name()) {
		t.Errorf("a huge file: %v", err)
	}
}

// FuzzParseFile: what is read, written again, reads the same.
func FuzzParseFile(f *testing.F) {
	raw, ends := sampleFile(f)
	f.Add(raw)
	f.Add(raw[:ends[0]])
	f.Add(raw[:ends[1]+20])
	f.Add(append(bytes.Clone(raw[:ends[1]+5]), raw[ends[2]:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseFile(b)
		if err != nil {
			return
		}
		again, err := parseFile(appendFile(nil, &c.owner, c.last, c.entries))
		if err != nil || again.owner != c.owner || again.last != c.last || again.torn != 0 || len(again.entries) != len(c.entries) {
			t.Fatalf("%+v became %+v: %v", c, again, err)
		}
		for i, e := range c.entries {
			if !bytes.Equal(e.raw, again.entries[i].raw) || i > 0 && e.sequence <= c.entries[i-1].sequence {
				t.Fatalf("entry %d differs or is out of order", i)
			}
		}
	})
}

func BenchmarkPut(b *testing.B) {
	l := newFakeLedger()
	cfg := l.config()
	cfg.Path = filepath.Join(b.TempDir(), "outbox")
	o, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			mustPut(b, o, 1)
			if err := o.finish(o.oldest()); err != nil {
				b.Error(err)
			}
		}
	})
}
