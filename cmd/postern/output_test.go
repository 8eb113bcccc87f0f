package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
)

// A program reads a failure as one line of JSON, a person as text.
func TestComplain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("no \"home\"\n"), `{"error":{"message":"no \"home\"\n"}}`},
		{usagef("flags come first"), `{"error":{"message":"flags come first"}}`},
		{abi.CodeExpired, `{"error":{"code":"expired","number":50,"message":"` + abi.CodeExpired.Error() + `"}}`},
		{fmt.Errorf("q: %w", abi.Aborted(0)), `{"error":{"code":"aborted","number":150,"abort":0,"message":"q: ` + abi.Aborted(0).Error() + `"}}`},
		{fmt.Errorf("%w: %w", abi.CodeContractFailed, abi.Aborted(7)),
			`{"error":{"code":"contract-failed","number":114,"abort":7,"message":"` + abi.CodeContractFailed.Error() + ": " + abi.Aborted(7).Error() + `"}}`},
	} {
		var forPrograms, forPeople strings.Builder
		complain(&forPrograms, true, c.err)
		complain(&forPeople, false, c.err)
		if forPrograms.String() != c.want+"\n" || forPeople.String() != "postern: "+c.err.Error()+"\n" {
			t.Errorf("%s%s", forPrograms.String(), forPeople.String())
		}
	}
}

func TestWantsJSON(t *testing.T) {
	for args, want := range map[string]bool{
		"postern": false, "postern status --json": true, "postern --json status": true, "postern status -json=true": true,
		"postern status --json=false": false, "postern contract call -- --json": false, "postern contract call json": false,
	} {
		if got := wantsJSON(strings.Fields(args)); got != want {
			t.Errorf("%s: %v", args, got)
		}
	}
}
