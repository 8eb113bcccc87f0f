package firmware_test

import (
	"crypto/sha256"
	"fmt"

	"github.com/seed79541315/postern/contracts/firmware"
	"github.com/seed79541315/postern/sdk/key"
)

// A maker signs the manifest of an image; the envelope goes to the contract.
func ExampleSign() {
	image := []byte("the image")
	release, err := key.Generate()
	if err != nil {
		panic(err)
	}
	envelope, manifest, err := firmware.Sign(&firmware.Manifest{
		Sequence: 1, Vendor: [16]byte{0xfa}, Class: [16]byte{0x14}, Component: [][]byte{{0}},
		Image: sha256.Sum256(image), Size: uint64(len(image)), URI: "https://acme.example/cam-1.0.bin",
	}, release)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%d bytes, manifest of %d\n", len(envelope), len(manifest))
	// Output: 280 bytes, manifest of 32
}
