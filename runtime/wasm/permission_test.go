package wasm

import (
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
)

// permissions is written from the description of the guest interface, not from
// the table in package abi: for each host function the entry points that have
// it. i, m, e, t run in a transaction; q and s on one node; d and o on one
// gateway.
var permissions = map[string]string{
	"state_get":         "i m e t q s d o",
	"state_set":         "i m e t",
	"state_delete":      "i m e t",
	"state_scan":        "i m e t q s d o",
	"scan_next":         "i m e t q s d o",
	"local_get":         "o",
	"local_set":         "o",
	"emit":              "i m e t",
	"call":              "i m e t",
	"query":             "i m e t q s d o",
	"device_get":        "i m e t q s d o",
	"device_set_status": "e t",
	"schedule":          "i m e t",
	"now":               "d o",
	"sha256":            "i m e t q s d o",
	"verify":            "i m e t q s d o",
	"log":               "i m e t q s d o",
	"abort":             "i m e t q s d o",
}

func permitted(fn abi.HostFunc, e abi.Entry) bool {
	return strings.Contains(permissions[abi.HostFuncs[fn].Name], e.String()[:1])
}

func TestPermissionTable(t *testing.T) {
	if len(permissions) != int(abi.HostFuncCount) {
		t.Fatalf("%d host functions are described, there are %d", len(permissions), abi.HostFuncCount)
	}
	letters := map[string]bool{}
	for e := range abi.EntryCount {
		letters[e.String()[:1]] = true
		for fn := range abi.HostFuncCount {
			if fn.AllowedIn(e) != permitted(fn, e) {
				t.Errorf("%s in %v: %v", abi.HostFuncs[fn].Name, e, fn.AllowedIn(e))
			}
		}
	}
	if len(letters) != int(abi.EntryCount) {
		t.Fatal("two entry points begin with one letter")
	}
}
