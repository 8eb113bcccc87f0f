package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

var jsonFlag = &cli.BoolFlag{Name: "json", Usage: "print JSON for programs instead of text for people"}

// output writes results either for people or for programs.
type output struct {
	w    io.Writer
	json bool
}

// printer finds --json on the command or on the program before it.
func printer(c *cli.Context) output {
	for _, ctx := range c.Lineage() {
		if ctx.Bool("json") {
			return output{c.App.Writer, true}
		}
	}
	return output{c.App.Writer, false}
}

// show prints v as one line of JSON, or the text.
func (o output) show(v any, format string, args ...any) error {
	if o.json {
		return json.NewEncoder(o.w).Encode(v)
	}
	_, err := fmt.Fprintf(o.w, format+"\n", args...)
	return err
}

// table prints rows as a JSON array, or as aligned columns under a heading.
func (o output) table(rows any, heading string, lines []string) error {
	if o.json {
		return json.NewEncoder(o.w).Encode(rows)
	}
	tw := tabwriter.NewWriter(o.w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, heading)
	for _, l := range lines {
		fmt.Fprintln(tw, l)
	}
	return tw.Flush()
}

// progressf tells people of a step of long work; programs do not see it.
func (o output) progressf(format string, args ...any) {
	if !o.json {
		fmt.Fprintf(o.w, format+"\n", args...)
	}
}

// errorOutput is a failure as programs see it.
type errorOutput struct {
	Error struct {
		Code    string   `json:"code,omitempty"` // the name in docs/errors.md
		Number  abi.Code `json:"number,omitempty"`
		Abort   *uint16  `json:"abort,omitempty"`      // the contract's own code
		Name    string   `json:"abort_name,omitempty"` // the name of that, where a schema gives one
		Message string   `json:"message"`
	} `json:"error"`
}

// complain says why the program failed, to people or to programs.
func complain(w io.Writer, asJSON bool, err error) {
	if !asJSON {
		fmt.Fprintln(w, "postern: "+err.Error())
		return
	}
	var v errorOutput
	v.Error.Message = err.Error()
	if errors.As(err, &v.Error.Number) {
		v.Error.Code = v.Error.Number.Name()
	}
	if own, ok := client.AbortOf(err); ok {
		v.Error.Abort = &own
	}
	if code, ok := isNamed(err); ok {
		v.Error.Name = code.Name
	}
	_ = json.NewEncoder(w).Encode(v) // there is nobody else to tell
}

// wantsJSON says whether --json is among the arguments: what fails may have
// failed before they were understood.
func wantsJSON(args []string) bool {
	for _, arg := range args {
		switch arg {
		case "--json", "-json", "--json=true", "-json=true":
			return true
		case "--":
			return false
		}
	}
	return false
}

// hexBytes is shown as lower-case hex in JSON.
type hexBytes []byte

// MarshalText implements encoding.TextMarshaler.
func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func (h hexBytes) String() string { return hex.EncodeToString(h) }

func hexOf(h abi.Hash) hexBytes { return h[:] }

func parseHash(s, what string) (h abi.Hash, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) {
		return h, usagef("%s %q is not 64 hexadecimal digits", what, s)
	}
	copy(h[:], b)
	return h, nil
}

type versionOutput struct {
	Program  string `json:"program"`
	Protocol int    `json:"protocol"`
	ABI      int    `json:"abi"`
	Go       string `json:"go"`
}

func versionInfo() versionOutput {
	return versionOutput{version, chain.Protocol, abi.Version, runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH}
}

// many is a number of things: "1 row", "2 rows".
func many[N ~int | ~uint64 | ~int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
