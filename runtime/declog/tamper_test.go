package declog

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage/disk"
	"github.com/seed79541315/postern/storage/disk/disktest"
)

// anchoredLog is a log of several segments and tiles, closed in order, of which
// the ledger has a head.
func anchoredLog(t testing.TB, records int) (*disktest.Disk, *fakeLedger) {
	t.Helper()
	d, ledger := disktest.New(), &fakeLedger{}
	cfg := ledger.config()
	cfg.segment = 32 << 10
	l := mustOpen(t, cfg, d)
	for n := 1; n <= records; n++ {
		mustAppend(t, l, n)
		if n%50 == 0 {
			mustFlush(t, l)
		}
	}
	if err := l.anchorHead(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return d, ledger
}

// forge rewrites the decision with a number, as somebody can who has the key of
// the log; with all, also every hash above it in the files.
func forge(t *testing.T, d *disktest.Disk, number uint64, all bool) {
	t.Helper()
	r, err := openReader("/home/log", testSecret, d)
	if err != nil {
		t.Fatal(err)
	}
	f := &files{disk: d, dir: "/home/log", key: testSecret, segments: r.files.segments, tree: &tree{}}
	for _, s := range f.segments {
		forgeSegment(t, f, s, number, all)
	}
	if !all {
		return
	}
	for _, h := range f.fresh {
		path := f.path(levelName(h.level))
		hashes := d.Data(path)
		copy(hashes[h.index*hashSize:], h.hash[:])
		d.Put(path, hashes)
	}
}

// forgeSegment writes a segment anew over the tree so far.
func forgeSegment(t *testing.T, f *files, s *segment, number uint64, all bool) {
	t.Helper()
	h := s.head
	if all {
		root, err := f.tree.root()
		if err != nil {
			t.Fatal(err)
		}
		h.tile, h.root = appendHashes(nil, f.tree.edge[0]), root
	}
	c, err := sealer(f.key, s.salt)
	if err != nil {
		t.Fatal(err)
	}
	out := framing.Append(nil, h.append(nil))
	err = f.batches(s, func(*batch) bool { return true }, func(b *batch) error {
		var records []byte
		err := b.each(func(it *Item) error {
			if it.number() == number {
				it.Decision.Permit, it.Decision.Code = !it.Decision.Permit, abi.CodeDenied
			}
			f.fresh = f.tree.add(tlog.Hash(it.Leaf()), f.fresh)
			records = it.Decision.Append(records)
			return nil
		})
		b.records = records
		out = append(out, b.seal(nil, c)...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	d := f.disk.(*disktest.Disk)
	d.Put(f.path(s.name), out)
}

func verifyLog(t *testing.T, d disk.Disk, heads []Head) error {
	t.Helper()
	r, err := openReader("/home/log", testSecret, d)
	if err != nil {
		return err
	}
	_, err = r.Verify(t.Context(), heads, func(_, _ uint64) {})
	return err
}

// TestRewrittenRecordIsCaught though whoever did it had the key of the log. A
// record by itself does not fit the hash of its tile; with all hashes in the
// files it does not fit the heads that others have.
func TestRewrittenRecordIsCaught(t *testing.T) {
	for _, number := range []uint64{1, 250, 256, 400, 699} {
		d, ledger := anchoredLog(t, 700)
		if err := verifyLog(t, d, ledger.heads); err != nil {
			t.Fatal(err)
		}
		forge(t, d, number, false)
		if err := verifyLog(t, d, nil); err == nil && number < 512 || err != nil && !errors.Is(err, abi.CodeBadProof) {
			t.Errorf("record %d, by the files alone: %v", number, err)
		}
		if err := verifyLog(t, d, ledger.heads); !errors.Is(err, abi.CodeBadProof) && !errors.Is(err, abi.CodeLogConflict) {
			t.Errorf("record %d, by the ledger: %v", number, err)
		}

		d, ledger = anchoredLog(t, 700)
		forge(t, d, number, true)
		if err := verifyLog(t, d, nil); err != nil {
			t.Errorf("record %d and all hashes: the forgery is bad: %v", number, err)
		}
		if err := verifyLog(t, d, ledger.heads); !errors.Is(err, abi.CodeLogConflict) || !strings.Contains(err.Error(), "the ledger") {
			t.Errorf("record %d and all hashes, by the ledger: %v", number, err)
		}
		if _, err := open(ledger.config(), d); !errors.Is(err, abi.CodeLogConflict) {
			t.Errorf("record %d and all hashes: the gateway goes on: %v", number, err)
		}
	}
}

// TestFlippedBytes flips every tenth byte of every file: nothing that is shown
// then is other than what was recorded.
func TestFlippedBytes(t *testing.T) {
	d, ledger := anchoredLog(t, 300)
	for _, name := range d.Paths() {
		for at := 0; at < len(d.Data(name)); at += 97 {
			bad := d.Crash(true, 1)
			flip(bad, name, at, 0x20)
			err := verifyLog(t, bad, ledger.heads)
			if err == nil && !strings.HasSuffix(name, checkpointFile) && !harmless(name, at) {
				t.Fatalf("a flip at %d of %s is not found", at, name)
			}
		}
	}
}

// flip changes bits of a byte of a file.
func flip(d *disktest.Disk, path string, at int, bits byte) {
	b := d.Data(path)
	b[at] ^= bits
	d.Put(path, b)
}

// remove takes a file away.
func remove(d *disktest.Disk, path string) {
	if err := d.Remove(path); err != nil {
		panic(err)
	}
}

// harmless says whether a byte lies behind what a level's file is read for.
func harmless(name string, at int) bool {
	return strings.HasSuffix(name, levelName(1)) && at >= hashSize
}

// TestOtherLogsAreRefused: of another gateway or chain, under another key, older
// than what was signed, with files missing.
func TestOtherLogsAreRefused(t *testing.T) {
	good, ledger := anchoredLog(t, 700)
	older, _ := anchoredLog(t, 300)
	for name, c := range map[string]struct {
		config func(*Config)
		disk   func(*disktest.Disk)
	}{
		"another account": {config: func(c *Config) { c.Account = abi.Hash{1} }},
		"another chain":   {config: func(c *Config) { c.Chain = abi.Hash{1} }},
		"another key":     {config: func(c *Config) { c.Key = bytes.Repeat([]byte{6}, KeySize) }},
		"an older copy": {disk: func(d *disktest.Disk) {
			for _, path := range d.Paths() {
				remove(d, path)
			}
			for _, path := range older.Paths() {
				d.Put(path, older.Data(path))
			}
			d.Put("/home/log/checkpoint", good.Data("/home/log/checkpoint"))
		}},
		"no hashes of tiles":      {disk: func(d *disktest.Disk) { remove(d, "/home/log/level-1.hashes") }},
		"another log's hashes":    {disk: func(d *disktest.Disk) { flip(d, "/home/log/level-1.hashes", 0, 1) }},
		"a checkpoint of nothing": {disk: func(d *disktest.Disk) { d.Put("/home/log/checkpoint", []byte("x")) }},
	} {
		d, cfg := good.Crash(true, 1), ledger.config()
		if c.config != nil {
			c.config(&cfg)
		}
		if c.disk != nil {
			c.disk(d)
		}
		if _, err := open(cfg, d); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestLostLogIsNotAnchored: a log that begins anew cannot pass for the one that
// the ledger knows.
func TestLostLogIsNotAnchored(t *testing.T) {
	_, ledger := anchoredLog(t, 10)
	l := mustOpen(t, ledger.config(), disktest.New())
	number := mustAppend(t, l, 1)
	if err := l.anchorHead(t.Context()); !errors.Is(err, abi.CodeLogConflict) {
		t.Errorf("anchored: %v", err)
	}
	if _, err := l.Receipt(t.Context(), number, false); err == nil {
		t.Error("a record of another log has a receipt")
	}
	if ledger.refused != 0 || len(ledger.heads) != 1 {
		t.Error("a head was signed that contradicts the ledger's")
	}
}

// TestForgedReceipts: no part of a receipt can be another.
func TestForgedReceipts(t *testing.T) {
	d, ledger := anchoredLog(t, 700)
	r, err := openReader("/home/log", testSecret, d)
	if err != nil {
		t.Fatal(err)
	}
	e, steps, err := ledger.prove(anchorKey)
	if err != nil {
		t.Fatal(err)
	}
	for number := uint64(1); number <= 700; number += 33 {
		receipt, err := r.Receipt(number, e, steps)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := receipt.Verify(&testTrust); err != nil || p.Record.Number != number || p.Size != 700 {
			t.Fatalf("record %d: %+v, %v", number, p, err)
		}
		other, err := r.Receipt(number%700+1, e, steps)
		if err != nil {
			t.Fatal(err)
		}
		receipt.Record = other.Record
		if _, err := receipt.Verify(&testTrust); !errors.Is(err, abi.CodeBadProof) {
			t.Fatalf("record %d in place of %d: %v", number%700+1, number, err)
		}
	}
}

// TestPrune: what is anchored goes when there is more than the budget, and what
// is left can still be read, proved, verified and continued.
func TestPrune(t *testing.T) {
	d, ledger := disktest.New(), &fakeLedger{}
	cfg := ledger.config()
	cfg.segment, cfg.Budget = 16<<10, 64<<10
	l := mustOpen(t, cfg, d)
	for n := 1; n <= 1500; n++ {
		mustAppend(t, l, n)
		if n%10 == 0 {
			mustFlush(t, l)
		}
		if n == 700 {
			if s := l.Stats(); s.Bytes < 2*cfg.Budget {
				t.Fatalf("%d bytes are kept of what is not anchored", s.Bytes)
			}
		}
		if n%100 == 0 && n >= 700 {
			if err := l.anchorHead(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if s := l.Stats(); s.Bytes > cfg.Budget+cfg.segment+8<<10 || s.Records != 1500 || s.Anchored != 1500 {
		t.Errorf("%+v", s)
	}
	checkPruned(t, l, d, ledger)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, cfg, d.Crash(false, 0))
	mustAppend(t, l, 1501)
	if err := l.anchorHead(t.Context()); err != nil || ledger.refused != 0 {
		t.Errorf("anchoring: %v", err)
	}
}

func checkPruned(t *testing.T, l *Log, d *disktest.Disk, ledger *fakeLedger) {
	t.Helper()
	r, err := openReader("/home/log", testSecret, d)
	if err != nil {
		t.Fatal(err)
	}
	first, next := r.Numbers()
	if first < 1000 || next != 1501 {
		t.Fatalf("numbers %d to %d are kept", first, next)
	}
	for number := first; number < next; number += 7 {
		receipt, err := l.Receipt(t.Context(), number, false)
		if err == nil {
			_, err = receipt.Verify(&testTrust)
		}
		if err != nil {
			t.Fatalf("receipt %d: %v", number, err)
		}
	}
	if _, err := l.Receipt(t.Context(), first-1, false); !errors.Is(err, abi.CodeNotFound) {
		t.Errorf("what was pruned: %v", err)
	}
	rep, err := r.Verify(t.Context(), ledger.heads, func(_, _ uint64) {})
	if err != nil || rep.Pruned != first-1 || rep.Decisions != next-first || rep.Heads == 0 || rep.Heads == len(ledger.heads) {
		t.Errorf("%+v of %d heads, %v", rep, len(ledger.heads), err)
	}
}

// TestTree holds the edge and its tiles to package tlog, over two levels.
func TestTree(t *testing.T) {
	const most = 2*tileWidth*tileWidth + 300
	edge, whole := &tree{}, []tlog.Hash{}
	tiles := map[[2]uint64][]tlog.Hash{}
	source := func(level int, index uint64) ([]tlog.Hash, error) { return tiles[[2]uint64{uint64(level), index}], nil }
	read := tlog.HashReaderFunc(func(indexes []int64) (list []tlog.Hash, err error) {
		for _, i := range indexes {
			list = append(list, whole[i])
		}
		return list, nil
	})
	add := func(level int, index uint64, h tlog.Hash) {
		key := [2]uint64{uint64(level), index / tileWidth}
		tiles[key] = append(tiles[key], h)
	}
	for n := range int64(most) {
		leaf := tlog.RecordHash([]byte{byte(n), byte(n >> 8), byte(n >> 16)})
		more, err := tlog.StoredHashesForRecordHash(n, leaf, read)
		if err != nil {
			t.Fatal(err)
		}
		whole = append(whole, more...)
		add(0, uint64(n), leaf)
		for _, h := range edge.add(leaf, nil) {
			add(h.level, h.index, h.hash)
		}
		if size := n + 1; size%20011 == 0 || size%tileWidth == 0 && size%(1<<14) == 0 || size == most {
			checkTree(t, edge, source, read, size)
		}
	}
}

func checkTree(t *testing.T, edge *tree, source tileSource, read tlog.HashReader, size int64) {
	t.Helper()
	want, err := tlog.TreeHash(size, read)
	if err != nil {
		t.Fatal(err)
	}
	root, err := edge.root()
	if err != nil || root != abi.Hash(want) {
		t.Fatalf("root of %d is %x, %v, want %x", size, root, err, want)
	}
	head := proof.Checkpoint{Origin: "x", Size: uint64(size), Root: root}
	for _, n := range []int64{1, 255, 256, 257, size / 3, size - 300, size - 1} {
		path, err := proveGrowth(uint64(size), uint64(n), edge.reader(source))
		if err != nil {
			t.Fatal(err)
		}
		old, err := tlog.TreeHash(n, read)
		if err != nil {
			t.Fatal(err)
		}
		if err := head.VerifyConsistency(&proof.Checkpoint{Origin: "x", Size: uint64(n), Root: abi.Hash(old)}, path); err != nil {
			t.Fatalf("%d after %d: %v", size, n, err)
		}
		path, err = prove(uint64(size), uint64(n), edge.reader(source))
		if err != nil {
			t.Fatal(err)
		}
		leaf, _ := read.ReadHashes([]int64{tlog.StoredHashIndex(0, n)})
		if err := head.VerifyInclusion(abi.Hash(leaf[0]), uint64(n), path); err != nil {
			t.Fatalf("%d of %d: %v", n, size, err)
		}
	}
}
