package wasm

import (
	"errors"
	"reflect"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// Every protocol version prices everything under every profile.
func TestRulesAreComplete(t *testing.T) {
	for version, profiles := range protocols {
		for _, p := range []abi.Profile{abi.ProfileLean, abi.ProfileWide} {
			r := profiles[p]
			if r == nil {
				t.Fatalf("version %d has no profile %d", version, p)
			}
			for fn, cost := range r.host {
				if cost.Base <= 0 || cost.Byte < 0 {
					t.Errorf("version %d, profile %d: %s costs %+v", version, p, abi.HostFuncs[fn].Name, cost)
				}
			}
			for _, fn := range r.wasi {
				if fn.cost.Base <= 0 || fn.cost.Byte < 0 || fn.body == nil {
					t.Errorf("version %d, profile %d: %s is incomplete", version, p, fn.name)
				}
			}
			if r.callBase <= 0 || r.callPage <= 0 || r.start <= 0 {
				t.Errorf("version %d, profile %d: calls cost %d, %d, %d", version, p, r.callBase, r.callPage, r.start)
			}
		}
	}
}

func TestRulesOf(t *testing.T) {
	if _, err := rulesOf(Protocol+1, abi.ProfileLean); !errors.Is(err, abi.CodeUnknownVersion) {
		t.Error(err)
	}
	if _, err := rulesOf(Protocol, 3); err == nil {
		t.Error("a third profile was found")
	}
}

// What the lean profile admits, the wide one does: no limit of it is lower.
func TestWideHoldsLean(t *testing.T) {
	lean, wide := reflect.ValueOf(*leanRules.limits), reflect.ValueOf(*wideRules.limits)
	for i := range lean.NumField() {
		name := lean.Type().Field(i).Name
		if lean.Field(i).CanInt() && lean.Field(i).Int() > wide.Field(i).Int() || lean.Field(i).Kind() == reflect.Bool && !wide.Field(i).Bool() {
			t.Errorf("%s: lean %v, wide %v", name, lean.Field(i), wide.Field(i))
		}
	}
}

// Version 2 differs from version 1 in the prices that the calibration found too
// low, and in nothing else.
func TestWhatVersion2Changed(t *testing.T) {
	for p, divide := range map[abi.Profile]uint16{abi.ProfileLean: 40, abi.ProfileWide: 48} {
		first, second := protocols[1][p], protocols[2][p]
		costs := *first.costs
		costs.GrowPage = 25_000
		costs.Classes[module.ClassDivide] = divide
		if costs != *second.costs {
			t.Errorf("profile %d: instructions cost %+v, not %+v", p, *second.costs, costs)
		}
		rest := *second
		rest.costs = first.costs
		if !reflect.DeepEqual(withoutBodies(rest), withoutBodies(*first)) {
			t.Errorf("profile %d: version 2 differs in more than its prices of instructions", p)
		}
	}
}

// withoutBodies is comparable: functions are not.
func withoutBodies(r rules) rules {
	list := make([]wasiFunc, len(r.wasi))
	for i, f := range r.wasi {
		f.body = nil
		list[i] = f
	}
	r.wasi = list
	return r
}

// Version 3 differs from version 2 in that observe has its local record.
func TestWhatVersion3Changed(t *testing.T) {
	for p, second := range protocols[2] {
		third := *protocols[3][p]
		if second.local || !third.local {
			t.Errorf("profile %d: local records %v, %v", p, second.local, third.local)
		}
		third.local = second.local
		if !reflect.DeepEqual(third.costs, second.costs) || third.limits != second.limits || third.host != second.host || third.start != second.start {
			t.Errorf("profile %d: something else differs", p)
		}
	}
}
