package key

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/seed79541315/postern/abi"
)

// pemType is the PEM label of PKCS#8 (RFC 7468 section 10).
const pemType = "PRIVATE KEY"

// maxFile bounds what Load reads, in bytes: a PKCS#8 P-256 key takes 250.
const maxFile = 16 << 10

// Mode is the permission of a key file: only its owner may read it.
const Mode fs.FileMode = 0o600

// ErrPermissions is what Load returns, wrapped, for a file that others than
// its owner can reach.
var ErrPermissions = errors.New("key file is open to others")

// Load reads a key file. It refuses a file that is no regular file or that
// others can reach (ErrPermissions; the text names the chmod to run), and
// with abi.CodeBadKey one that holds no admitted key. Modes say nothing on
// Windows and are not looked at there.
func Load(path string) (*Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := checkMode(f, path); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("reading key file: %w", err)
	}
	k, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return k, nil
}

// checkMode looks at the open file, not at the path, which could be swapped.
func checkMode(f *os.File, path string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("key file %s is not a regular file: %w", path, abi.CodeBadKey)
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&^Mode != 0 {
		return fmt.Errorf("%w: %s has mode %04o; run: chmod %o %s", ErrPermissions, path, mode, Mode, path)
	}
	return nil
}

// Parse reads a PKCS#8 PEM block that stands alone.
func Parse(text []byte) (*Key, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != pemType || len(block.Headers) != 0 || len(rest) != 0 {
		return nil, fmt.Errorf("not one PEM block %q: %w", pemType, abi.CodeBadKey)
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", abi.CodeBadKey, err)
	}
	return New(private)
}

// Text is the key as a PKCS#8 PEM block, what a key file holds.
func (k *Key) Text() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("encoding key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
}

// Save creates the key file with mode 0600. The file appears whole or not at
// all, and a file that is there already stays: then the error wraps
// fs.ErrExist.
func (k *Key) Save(path string) error {
	text, err := k.Text()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := writeSynced(f, text); err != nil {
		return fmt.Errorf("writing key file: %w", err)
	}
	// A link, unlike a rename, fails when the name is taken.
	if err := os.Link(f.Name(), path); err != nil {
		return fmt.Errorf("creating key file: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func writeSynced(f *os.File, text []byte) error {
	_, err := f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir makes the new name survive a power cut.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
