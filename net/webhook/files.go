package webhook

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/cloudevent"
)

// maxDead is how many dead letters a target has at most: some megabytes.
const maxDead = 1000

// deadSuffix ends the name of a dead letter, behind the event's id.
const deadSuffix = ".json"

// place is how far a target is: it has everything up to a height, and of the
// block after that the events below an index.
type place struct {
	height uint64
	part   uint64
}

// files is what the disk keeps for a target.
type files struct{ dir, name string }

func (f files) placeFile() string { return filepath.Join(f.dir, f.name, "sent") }
func (f files) deadDir() string   { return filepath.Join(f.dir, f.name, "dead") }

// place reads how far the target is; known is false for a new one. The file has
// the form of an event's id: HEIGHT-PART.
func (f files) place() (at place, known bool, err error) {
	b, err := os.ReadFile(f.placeFile())
	if errors.Is(err, fs.ErrNotExist) {
		return at, false, os.MkdirAll(f.deadDir(), 0o700)
	}
	if err != nil {
		return at, false, err
	}
	at.height, at.part, err = cloudevent.ParseID(strings.TrimSpace(string(b)))
	if err != nil {
		err = fmt.Errorf("%s is damaged; remove it, and the target goes on behind the newest block", f.placeFile())
	}
	return at, true, err
}

// setPlace is not synced: after a power cut events come again, which they may.
func (f files) setPlace(at place) error {
	id := cloudevent.ID(&abi.EventFrame{Height: at.height, Index: at.part})
	return replace(f.placeFile(), []byte(id+"\n"))
}

// replace writes a file as a whole.
func replace(path string, b []byte) error {
	if err := os.WriteFile(path+".tmp", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// bury keeps a dead letter; where there are too many, the oldest goes.
func (f files) bury(id string, body []byte) (dropped string, err error) {
	ids, err := DeadLetters(f.dir, f.name)
	if err != nil {
		return "", err
	}
	if len(ids) >= maxDead && !slices.Contains(ids, id) {
		dropped = ids[0]
		if err := RemoveDeadLetter(f.dir, f.name, dropped); err != nil {
			return "", err
		}
	}
	return dropped, replace(filepath.Join(f.deadDir(), id+deadSuffix), append(body, '\n'))
}

// DeadLetters lists the ids of a target's dead letters, the oldest event first.
func DeadLetters(dir, name string) (ids []string, err error) {
	entries, err := os.ReadDir(files{dir, name}.deadDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), deadSuffix)
		if _, _, bad := cloudevent.ParseID(id); ok && bad == nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compareIDs)
	return ids, err
}

func compareIDs(a, b string) int {
	h1, i1, _ := cloudevent.ParseID(a)
	h2, i2, _ := cloudevent.ParseID(b)
	return cmp.Or(cmp.Compare(h1, h2), cmp.Compare(i1, i2))
}

// DeadLetter reads one: a CloudEvent in JSON.
func DeadLetter(dir, name, id string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(files{dir, name}.deadDir(), id+deadSuffix))
	return []byte(strings.TrimSuffix(string(b), "\n")), err
}

// RemoveDeadLetter takes one away. It is no error if it is gone.
func RemoveDeadLetter(dir, name, id string) error {
	err := os.Remove(filepath.Join(files{dir, name}.deadDir(), id+deadSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
