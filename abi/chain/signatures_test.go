package chain

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

const signatureFile = "testdata/signatures.json"

// signatureVector is one line of testdata/signatures.json: whether a signature
// is good by the rules of this protocol, where implementations differ.
type signatureVector struct {
	Name      string `json:"name"`
	Key       string `json:"key"`
	Message   string `json:"message"`
	Signature string `json:"signature"`
	Good      bool   `json:"good"`
}

func TestSignatureVectors(t *testing.T) {
	var list []signatureVector
	for _, c := range edgeSignatures() {
		list = append(list, signatureVector{c.name, hex.EncodeToString(c.key), hex.EncodeToString(c.message), hex.EncodeToString(c.signature), c.good})
	}
	made := append(must(json.MarshalIndent(list, "", "  "))(t), '\n')
	if *update {
		if err := os.WriteFile(signatureFile, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stored := must(os.ReadFile(signatureFile))(t)
	if !bytes.Equal(stored, made) {
		t.Errorf("%s is not what this code makes", signatureFile)
	}
	var read []signatureVector
	if err := json.Unmarshal(stored, &read); err != nil {
		t.Fatal(err)
	}
	for _, v := range read {
		if got := VerifySignature(unhex(v.Key), unhex(v.Message), unhex(v.Signature)); got != v.Good {
			t.Errorf("%s: good=%v", v.Name, got)
		}
	}
}
