package key_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/seed79541315/postern/sdk/key"
)

// A device makes its key once and loads it ever after.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "device.key")

	k, err := key.Generate()
	if err != nil {
		log.Fatal(err)
	}
	if err := k.Save(path); err != nil {
		log.Fatal(err)
	}
	loaded, err := key.Load(path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(loaded.DID() == k.DID(), k.DID()[:12])

	// A key that others can read is no key any more.
	if err := os.Chmod(path, 0o644); err != nil {
		log.Fatal(err)
	}
	_, err = key.Load(path)
	fmt.Println(err != nil)
	// Output:
	// true did:key:z6Mk
	// true
}
