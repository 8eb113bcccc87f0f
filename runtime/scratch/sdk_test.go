package scratch_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/scratch"
	"github.com/seed79541315/postern/runtime/wasm"
)

const sdkTestdata = "../../sdk/rust/testdata/"

// sdkChain is the chain that the scripts of the Rust SDK want: ten contracts of
// the operator's, one device of the operator's and one of ann's.
type sdkChain struct {
	t *testing.T
	*scratch.Chain
	abort uint16 // the contract's own code of the last call
}

func newSDKChain(t *testing.T, engine wasm.Engine) *sdkChain {
	c := &sdkChain{t: t}
	c.Chain = open(t, scratch.Config{
		Engine: engine,
		Trace:  func(_ *wasm.Call, res *wasm.Result, _ error) { c.abort = res.AbortCode },
	})
	code, err := os.ReadFile(sdkTestdata + "conformance.wasm")
	must(t, err)
	for i := range 10 {
		out, err := c.Deploy(t.Context(), scratch.Operator, fmt.Sprintf("c%d", i), code, []byte{0x80})
		if err != nil || out.Code != abi.OK {
			t.Fatalf("deploying: %v, %v", out.Code, err)
		}
	}
	must(t, c.Grant(t.Context(), "ann", abi.RoleOwner))
	must(t, c.Enrol(t.Context(), "lock", scratch.Operator, nil))
	must(t, c.Enrol(t.Context(), "alien", "ann", nil))
	return c
}

// play runs a line of the file as far as it says what to do, and gives back
// the line as it should be.
func (c *sdkChain) play(line string) string {
	words := strings.Fields(line)
	if words[0] == "until" {
		return "until " + words[1] + c.until(words[1])
	}
	script, err := hex.DecodeString(words[2])
	must(c.t, err)
	head := strings.Join(words[:3], " ") + " "
	if words[0] == "query" {
		return head + c.query(words[1], script)
	}
	out, err := c.Call(c.t.Context(), "ann", words[1], script)
	must(c.t, err)
	head += ended(&out)
	for _, e := range out.Events {
		if e.Contract != "" { // not the ledger's own
			head += fmt.Sprintf(" %s/%s/%x", e.Contract, e.Topic, e.Data)
		}
	}
	return head
}

func (c *sdkChain) query(contract string, script []byte) string {
	out, err := c.Query(c.t.Context(), contract, script)
	if err == nil {
		return fmt.Sprintf("ok:%x", out)
	}
	var code abi.Code
	if !errors.As(err, &code) {
		c.t.Fatal(err)
	}
	return fmt.Sprintf("%d:%d", code, c.abort)
}

// until runs the timers that are due by a time in ms; equal ends in a row are
// told once.
func (c *sdkChain) until(ms string) string {
	at, err := strconv.ParseInt(ms, 10, 64)
	must(c.t, err)
	outcomes, err := c.Advance(c.t.Context(), time.Duration(at-c.Now())*time.Millisecond)
	must(c.t, err)
	var b strings.Builder
	for i := 0; i < len(outcomes); {
		first, n := ended(&outcomes[i]), 0
		for ; i < len(outcomes) && ended(&outcomes[i]) == first; i++ {
			n++
		}
		fmt.Fprintf(&b, " %s*%d", first, n)
	}
	return b.String()
}

func ended(o *chain.Outcome) string {
	if o.Code == abi.OK {
		return fmt.Sprintf("ok:%x", o.Result)
	}
	return fmt.Sprintf("%d:%d", o.Code, o.Abort)
}

// What the fake ledger of the Rust SDK's native tests does, the ledger does:
// the SDK's own test runs the same scripts over the fake, and both must end as
// the file says.
func TestFakeLedgerOfTheRustSDK(t *testing.T) {
	file, err := os.ReadFile(sdkTestdata + "ledger.txt")
	must(t, err)
	lines := strings.Split(strings.TrimSpace(string(file)), "\n")
	if len(lines) < 50 {
		t.Fatalf("%d scripts", len(lines))
	}
	for _, engine := range []wasm.Engine{wasm.EngineAuto, wasm.EngineInterpreter} {
		c := newSDKChain(t, engine)
		for i, line := range lines {
			if got := c.play(line); got != line {
				t.Errorf("%v, line %d: %.400s\nwant %.400s", engine, i+1, got, line)
			}
		}
	}
}
