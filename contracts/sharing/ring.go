package sharing

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/seed79541315/postern/abi"
)

// Ring is a folder of data keys, one file each, readable by its owner only:
//
//	FOLDER/CHAIN/CONTRACT/DATA SET/EPOCH.key
//
// with the chain's id in hexadecimal digits, and the key as such in the file.
type Ring struct{ Folder string }

const keySuffix = ".key"

func (r Ring) folder(set *Set) (string, error) {
	for _, name := range []string{set.Contract, set.Name} {
		if name == "" || strings.ContainsAny(name, `/\:`) || !filepath.IsLocal(name) || name == "." {
			return "", fmt.Errorf("%q is no name of a contract or data set: %w", name, abi.CodeBadArgument)
		}
	}
	return filepath.Join(r.Folder, hex.EncodeToString(set.Chain[:]), set.Contract, set.Name), nil
}

func file(folder string, epoch uint32) string {
	return filepath.Join(folder, strconv.FormatUint(uint64(epoch), 10)+keySuffix)
}

// Keep writes a key, durably. A key of the same epoch that is there already is an
// error that wraps fs.ErrExist: whoever lost it would lose what it encrypts.
func (r Ring) Keep(k *Key) error {
	folder, err := r.folder(&k.Set)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("keeping a data key: %w", err)
	}
	f, err := os.OpenFile(file(folder, k.Epoch), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("keeping a data key: %w", err)
	}
	_, err = f.Write(k.secret[:])
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keeping a data key: %w", err)
	}
	return syncFolder(folder)
}

// Load reads the key of an epoch. The error wraps fs.ErrNotExist where there is
// none.
func (r Ring) Load(set Set, epoch uint32) (*Key, error) {
	folder, err := r.folder(&set)
	if err != nil {
		return nil, err
	}
	secret, err := os.ReadFile(file(folder, epoch))
	if err != nil {
		return nil, fmt.Errorf("the key of epoch %d of %s: %w", epoch, set.Name, err)
	}
	k := &Key{Set: set, Epoch: epoch}
	if copy(k.secret[:], secret) != len(secret) || len(secret) != KeySize {
		return nil, fmt.Errorf("%s: a key of %d bytes: %w", file(folder, epoch), len(secret), abi.CodeBadKey)
	}
	return k, nil
}

// Epochs lists the epochs of which the ring has keys, ascending.
func (r Ring) Epochs(set Set) ([]uint32, error) {
	folder, err := r.folder(&set)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var epochs []uint32
	for _, e := range entries {
		if digits, ok := strings.CutSuffix(e.Name(), keySuffix); ok {
			if epoch, err := strconv.ParseUint(digits, 10, 32); err == nil {
				epochs = append(epochs, uint32(epoch))
			}
		}
	}
	slices.Sort(epochs)
	return epochs, nil
}

// Destroy deletes all keys of a data set, and tells how many there were. Each is
// overwritten first; on flash and on file systems that copy on write that leaves
// the old bytes where they were until they are reused, and backups have their own.
// Whoever must be sure keeps the folder on an encrypted disk and destroys that key.
func (r Ring) Destroy(set Set) (int, error) {
	epochs, err := r.Epochs(set)
	if err != nil {
		return 0, err
	}
	folder, err := r.folder(&set)
	if err != nil {
		return 0, err
	}
	for i, epoch := range epochs {
		if err := destroy(file(folder, epoch)); err != nil {
			return i, fmt.Errorf("destroying a data key: %w", err)
		}
	}
	if len(epochs) == 0 {
		return 0, nil
	}
	return len(epochs), syncFolder(folder)
}

func destroy(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, KeySize))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Remove(path)
}

// syncFolder makes a new or deleted name in a folder durable.
func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
