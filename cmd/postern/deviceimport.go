package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

var keysFlag = &cli.StringFlag{Name: "keys", Usage: "directory `DIR` in which keys are made for rows that name none"}

func deviceImportCommand() *cli.Command {
	return &cli.Command{
		Name: "import", Usage: "enrol all devices of a table", ArgsUsage: "FILE.csv",
		Description: `Run it again after whatever went wrong: devices that are enrolled are passed over,
and a key that was made is used again. Bad rows are told by their lines on standard
error, and with --rejected written as a table that you mend and import. Where the
ledger asks for patience (quota, load), it waits.

` + tableHelp + `

Examples:

   postern device import --manufacturer Acme --model D1 --keys keys --label site=north doors.csv
   postern device import --rejected bad.csv vouched.csv`,
		Flags: withConnect(append([]cli.Flag{
			keysFlag,
			&cli.StringSliceFlag{Name: "label", Usage: "`NAME=VALUE` for all rows; may be repeated"},
			&cli.StringFlag{Name: "rejected", Usage: "`FILE` to write the bad rows to"},
			&cli.IntFlag{Name: "parallel", Usage: "enrol `N` devices at a time", Value: 64},
		}, identityFlags[:2]...)...),
		Action: deviceImport,
	}
}

// maxParallel bounds the enrolments that are under way at a time.
const maxParallel = 1000

// importer enrols the rows of a table.
type importer struct {
	command *cli.Context
	client  *client.Client
	owner   abi.Hash
	common  chain.Labels

	mu      sync.Mutex
	results []importedRow // guarded by mu
	bad     []badRow      // guarded by mu
}

// importedRow is a device that is enrolled after the import.
type importedRow struct {
	Line   int      `json:"line"`
	Serial string   `json:"serial"`
	Device hexBytes `json:"device"`
	DID    string   `json:"did"`
	Known  bool     `json:"known,omitempty"` // it was enrolled before
	Height uint64   `json:"height,omitempty"`
}

func deviceImport(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name the table of devices")
	}
	if n := c.Int("parallel"); n < 1 || n > maxParallel {
		return usagef("--parallel %d: 1 to %d", n, maxParallel)
	}
	common, err := parseLabels(c.StringSlice("label"))
	if err != nil {
		return err
	}
	t, err := openTable(c.Args().First())
	if err != nil {
		return err
	}
	if err := makeKeysDir(c); err != nil {
		return err
	}
	cl, owner, err := connect(c, operatorKeyFile)
	if err != nil {
		return err
	}
	defer cl.Close()
	m := &importer{command: c, client: cl, common: common}
	if m.owner, err = (named{key: owner.Public()}).account(c.Context, cl); err != nil {
		return err
	}
	m.run(c.Context, t)
	return m.report(t)
}

// run enrols the rows, many at a time, until all are done or ctx ends.
func (m *importer) run(ctx context.Context, t *table) {
	defer beside(ctx, m.progress)()
	var group errgroup.Group
	group.SetLimit(m.command.Int("parallel"))
	seen := repeated{}
	for r := range t.rows() {
		if ctx.Err() != nil {
			break
		}
		e, err := m.read(r)
		if err == nil {
			err = seen.check(r.line, e)
		}
		if err != nil {
			m.reject(r, err)
			continue
		}
		group.Go(func() error {
			m.enrol(ctx, r, e)
			return nil
		})
	}
	group.Wait()
}

// repeated finds rows that are the same device.
type repeated map[string]int // line

func (seen repeated) check(line int, e *enrolment) error {
	for _, name := range []string{string(chain.SerialKey(e.Manufacturer, e.Serial)), string(e.public)} {
		if before, twice := seen[name]; twice {
			return fmt.Errorf("the same serial or key as in line %d: %w", before, abi.CodeBadArgument)
		}
		seen[name] = line
	}
	return nil
}

// read makes an enrolment of a row.
func (m *importer) read(r *tableRow) (*enrolment, error) {
	if r.err != nil {
		return nil, r.err
	}
	e := &enrolment{labels: r.labels(m.common)}
	var err error
	if e.origin, err = r.base64Or("origin", "origin_file"); err != nil {
		return nil, err
	}
	if e.Manufacturer, e.Model, e.Serial, err = r.identity(m.command); err != nil {
		return nil, err
	}
	if err := m.readKey(r, e); err != nil {
		return nil, err
	}
	if e.origin == nil {
		if r.cell("hardware_id") != "" {
			return nil, fmt.Errorf("hardware_id is checked against an origin, and the row has none: %w", abi.CodeBadOrigin)
		}
		return e, nil
	}
	return e, e.checkOrigin(r.cell("hardware_id"))
}

// readKey finds the device's key and, where that is not here, its statement.
func (m *importer) readKey(r *tableRow, e *enrolment) (err error) {
	if file := r.cell("statement_file"); file != "" {
		if r.cell("statement") != "" || r.cell("key_file") != "" {
			return fmt.Errorf("statement_file with statement or key_file: %w", abi.CodeBadArgument)
		}
		err = e.readStatement(file)
	} else if text := r.cell("statement"); text != "" {
		var raw []byte
		if raw, err = r.base64Or("statement", ""); err == nil {
			err = e.takeStatement(raw)
		}
	} else {
		if r.cell("key") != "" {
			return fmt.Errorf("a key without the statement that it signed: %w", abi.CodeBadArgument)
		}
		if e.key, err = r.privateKey(m.command.String("keys"), e.Manufacturer, e.Serial); err == nil {
			e.public = e.key.Public()
		}
		return err
	}
	if text := r.cell("key"); err == nil && text != "" {
		var public []byte
		if public, err = publicKey(text); err == nil && string(public) != string(e.public) {
			err = fmt.Errorf("another key made the statement: %w", abi.CodeBadKey)
		}
	}
	return err
}

// enrol enrols a device unless it is.
func (m *importer) enrol(ctx context.Context, r *tableRow, e *enrolment) {
	known, err := m.known(ctx, e)
	var res txOutput
	if err == nil && !known {
		res, err = m.submit(ctx, e)
		if isCode(err, abi.CodeDeviceExists) || isCode(err, abi.CodeSerialTaken) || isCode(err, abi.CodeAccountExists) {
			// An answer may have been lost, and this was the second time.
			if now, failed := m.known(ctx, e); failed == nil && now {
				known, err = true, nil
			}
		}
	}
	if ctx.Err() != nil && err != nil {
		return // interrupted: the row is neither done nor bad
	}
	if err != nil {
		m.reject(r, err)
		return
	}
	id := chain.AccountID(e.public)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.results = append(m.results, importedRow{r.line, e.Serial, id[:], didOf(e.public), known, res.Height})
}

func (m *importer) reject(r *tableRow, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bad = append(m.bad, badRow{r, err})
}

// known says by the ledger's proof whether the device is enrolled as the row
// says. Another one under its key is an error.
func (m *importer) known(ctx context.Context, e *enrolment) (bool, error) {
	id := chain.AccountID(e.public)
	entry, err := m.client.Get(ctx, chain.DeviceKey(id))
	if isCode(err, abi.CodeNotReady) { // a chain without a block has no devices
		return false, nil
	}
	if err != nil || !entry.Present {
		return false, err
	}
	d, err := chain.ParseDevice(entry.Value)
	switch {
	case err != nil:
		return false, err
	case d.Owner != m.owner:
		return false, fmt.Errorf("the device belongs to account %x: %w", d.Owner, abi.CodeDeviceExists)
	case d.Manufacturer != e.Manufacturer || d.Serial != e.Serial:
		return false, fmt.Errorf("the key is that of %s %s: %w", d.Manufacturer, d.Serial, abi.CodeDeviceExists)
	}
	return true, nil
}

// How long a row waits for the ledger to have room for it, and how long between
// two tries.
const (
	rowPatience    = 5 * time.Minute
	firstRowPause  = 100 * time.Millisecond
	longestRowWait = 5 * time.Second
)

// submit enrols a device, and again while the ledger only asks for patience.
func (m *importer) submit(ctx context.Context, e *enrolment) (res txOutput, err error) {
	patience, cancel := context.WithTimeout(ctx, rowPatience)
	defer cancel()
	for pause := firstRowPause; ; pause = min(2*pause, longestRowWait) {
		if res, err = e.submit(patience, m.client, m.owner); err == nil || !passing(err) {
			return res, err
		}
		select {
		case <-time.After(pause):
		case <-patience.Done():
			return res, err
		}
	}
}

// passing says whether the same request may do better in a while.
func passing(err error) bool {
	var code abi.Code
	if !errors.As(err, &code) {
		return false
	}
	return slices.Contains([]abi.Code{abi.CodeGasQuota, abi.CodeBusy, abi.CodeRateLimited, abi.CodeUnavailable, abi.CodeTimeout,
		abi.CodeShuttingDown, abi.CodeNotReady, abi.CodeTooStale}, code)
}

// counts are how many rows are done.
func (m *importer) counts() (enrolled, known, bad int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.results {
		if m.results[i].Known {
			known++
		}
	}
	return len(m.results) - known, known, len(m.bad)
}

// progress tells every second how far the import is.
func (m *importer) progress(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			enrolled, known, bad := m.counts()
			progressTo(os.Stderr, "%d enrolled, %d passed over, %d bad rows", enrolled, known, bad)
		case <-ctx.Done():
			return
		}
	}
}

// progressTo tells people of a step of long work whose result goes elsewhere.
func progressTo(w io.Writer, format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

// report tells what became of the rows. Bad ones, and an interruption, are an
// error after everything was printed.
func (m *importer) report(t *table) error {
	c := m.command
	enrolled, known, bad := m.counts()
	slices.SortFunc(m.results, func(a, b importedRow) int { return a.Line - b.Line })
	reportRows(os.Stderr, c.Args().First(), m.bad)
	v := struct {
		Enrolled int           `json:"enrolled"`
		Known    int           `json:"known"`
		Bad      int           `json:"bad"`
		Rows     []importedRow `json:"rows"`
	}{enrolled, known, bad, m.results}
	err := printer(c).show(v, "%s enrolled, %d already were, %s refused", many(enrolled, "device"), known, many(bad, "row"))
	if file := c.String("rejected"); file != "" && bad > 0 {
		err = errors.Join(err, writeRejected(file, t, m.bad))
	}
	switch {
	case err != nil:
		return err
	case c.Context.Err() != nil:
		return errors.New("interrupted; run the same command again: what is enrolled is passed over")
	case bad > 0:
		return fmt.Errorf("%s not enrolled; mend what is wrong and run the same command again: what is enrolled is passed over", many(bad, "row"))
	}
	return nil
}
