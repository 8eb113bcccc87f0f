package peer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// The state file is written at most every saveEvery, when something in it
// changed, and when Run ends.
const (
	saveEvery    = 10 * time.Minute
	stateVersion = 1
	maxState     = 256 << 10 // bytes; maxKnown and maxBans entries have less
)

// state is what a node keeps over a restart. What it loses by losing the file
// is time, so a file that cannot be read is left aside.
type state struct {
	known map[Key]knownNode
	bans  map[Key]ban
}

// appendState appends the map
//
//	1 version (uint)
//	2 nodes: [[key (bytes 32), address (text), answered there, s since 1970 (uint)] …] in order of keys
//	3 bans: [[key (bytes 32), strikes (uint), refused until, s since 1970 (uint)] …] in order of keys
//
// and its SHA-256.
func appendState(b []byte, s *state) []byte {
	start := len(b)
	b = cbor.AppendUint(cbor.AppendUint(cbor.AppendMap(b, 3), 1), stateVersion)
	b = cbor.AppendArray(cbor.AppendUint(b, 2), len(s.known))
	for _, k := range sortedKeys(s.known) {
		e := s.known[k]
		b = cbor.AppendBytes(cbor.AppendArray(b, 3), k[:])
		b = cbor.AppendUint(cbor.AppendText(b, e.address), seconds(e.at))
	}
	b = cbor.AppendArray(cbor.AppendUint(b, 3), len(s.bans))
	for _, k := range sortedKeys(s.bans) {
		e := s.bans[k]
		b = cbor.AppendBytes(cbor.AppendArray(b, 3), k[:])
		b = cbor.AppendUint(cbor.AppendUint(b, uint64(e.strikes)), seconds(e.until))
	}
	sum := sha256.Sum256(b[start:])
	return append(b, sum[:]...)
}

func sortedKeys[V any](m map[Key]V) []Key {
	return slices.SortedFunc(maps.Keys(m), func(a, b Key) int { return bytes.Compare(a[:], b[:]) })
}

func seconds(t time.Time) uint64 { return uint64(max(0, t.Unix())) }

func parseState(b []byte) (state, error) {
	s := state{known: map[Key]knownNode{}, bans: map[Key]ban{}}
	if len(b) < sha256.Size || len(b) > maxState {
		return s, fmt.Errorf("%d bytes: %w", len(b), abi.CodeMalformed)
	}
	content, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if want := sha256.Sum256(content); !bytes.Equal(sum, want[:]) {
		return s, fmt.Errorf("its checksum differs: %w", abi.CodeHashMismatch)
	}
	r := cbor.NewReader(content)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			if v := r.Uint(); v != stateVersion {
				r.Fail(fmt.Errorf("version %d: %w", v, abi.CodeUnknownVersion))
			}
		case 2:
			parseKnown(&r, s.known)
		case 3:
			parseBans(&r, s.bans)
		default:
			r.Skip()
		}
	}
	return s, r.Done()
}

func parseKnown(r *cbor.Reader, known map[Key]knownNode) {
	for range entries(r, maxKnown) {
		k := readKey(r)
		e := knownNode{address: r.Text(), at: readSeconds(r)}
		if r.Err() == nil && validAddress(e.address) {
			known[k] = e
		}
	}
}

func parseBans(r *cbor.Reader, bans map[Key]ban) {
	for range entries(r, maxBans) {
		k := readKey(r)
		e := ban{strikes: int(min(r.Uint(), 1<<16)), until: readSeconds(r)}
		if r.Err() == nil {
			bans[k] = e
		}
	}
}

// entries reads the head of an array of at most limit entries.
func entries(r *cbor.Reader, limit int) int {
	n := r.Array()
	if n > limit {
		r.Fail(fmt.Errorf("%d entries: %w", n, abi.CodeTooLarge))
		return 0
	}
	return n
}

// readKey reads the head of an entry and its key.
func readKey(r *cbor.Reader) (k Key) {
	r.ArrayN(3)
	copy(k[:], r.BytesN(len(k)))
	return k
}

func readSeconds(r *cbor.Reader) time.Time {
	return time.Unix(int64(min(r.Uint(), 1<<40)), 0)
}

// readState reads a state file, of one that is too long as much as shows it.
func readState(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxState+1))
}

// recall takes in what the state file keeps.
func (n *Network) recall() {
	if n.config.StateFile == "" {
		return
	}
	raw, err := readState(n.config.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	s := state{}
	if err == nil {
		s, err = parseState(raw)
	}
	if err != nil {
		n.log.Warn("what was known of other nodes is lost: the file cannot be read", "file", n.config.StateFile, "err", err)
		return
	}
	for k, e := range s.known {
		if k != n.key {
			n.book.nodes[k] = &candidate{proved: e.address, provedAt: e.at}
		}
	}
	n.bans.keys = s.bans
}

// remember saves what changed: bans at once, for nobody shall get rid of one by
// making the node crash, the rest now and then and at the end.
func (n *Network) remember(ctx context.Context) {
	if n.config.StateFile == "" {
		return
	}
	saved := n.stateVersion()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-n.banned:
		case <-time.After(saveEvery):
		}
		version := n.stateVersion()
		if saved == version {
			continue
		}
		s := state{known: n.book.list(), bans: n.bans.list()}
		if err := replaceFile(n.config.StateFile, appendState(nil, &s)); err != nil {
			n.log.Warn("saving what is known of other nodes", "err", err)
			continue
		}
		saved = version
	}
}

// stateVersion grows with each change of what is saved.
func (n *Network) stateVersion() uint64 { return n.book.changes() + n.bans.changes() }

// replaceFile writes a file as a whole or not at all.
func replaceFile(path string, content []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
