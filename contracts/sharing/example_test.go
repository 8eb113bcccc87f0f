package sharing_test

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/sealed"
	"github.com/seed79541315/postern/contracts/sharing"
	"github.com/seed79541315/postern/sdk/key"
)

// An owner encrypts a file and wraps the key to a grantee, who decrypts it.
func Example() {
	set := sharing.Set{Chain: abi.Hash{1}, Contract: "sharing", Name: "record-7"}
	data := sharing.NewKey(set, 1)
	var file bytes.Buffer
	if _, err := data.Seal(&file, strings.NewReader("72 beats a minute\n")); err != nil {
		log.Fatal(err)
	}

	// On the ledger: the grantee's account, and the wrapped key in its grant.
	grantee, err := key.Generate()
	if err != nil {
		log.Fatal(err)
	}
	to, err := sealed.Key(&chain.Account{Key: grantee.Public()})
	if err != nil {
		log.Fatal(err)
	}
	wrapped, err := data.Wrap(to)
	if err != nil {
		log.Fatal(err)
	}

	private, err := grantee.Agreement()
	if err != nil {
		log.Fatal(err)
	}
	got, err := sharing.Unwrap(private, set, 1, wrapped)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("epoch", got.Epoch)
	if err := got.Open(os.Stdout, &file); err != nil {
		log.Fatal(err)
	}
	// Output:
	// epoch 1
	// 72 beats a minute
}
