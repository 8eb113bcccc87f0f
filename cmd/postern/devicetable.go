package main

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/key"
)

// A table of devices is CSV (RFC 4180) with a heading. What a row need not say
// may be missing; where a flag says it for all rows, the column may be, too.
const tableHelp = `Columns, in any order:

   manufacturer, model, serial   what the device is; flags of these names serve all rows
   key_file                      the device's key file, or
   key, statement                its public key or did:key, and in base64 what it
                                 signed by postern device statement, or
   statement_file                the file that this printed
   origin, origin_file           its manufacturer's word for it, in base64 or a file
   hardware_id                   what the origin must say
   label.NAME                    the label NAME; empty cells make none
   reason                        passed over: why the row was rejected before`

var tableColumns = []string{"manufacturer", "model", "serial", "key_file", "key", "statement", "statement_file",
	"origin", "origin_file", "hardware_id", "reason"}

const labelColumn = "label."

// maxTable bounds a table in bytes: some hundred thousand devices with origins.
const maxTable = 256 << 20

// table is a CSV table of devices.
type table struct {
	csv     *csv.Reader
	heading []string
	columns map[string]int
}

// byteOrderMark opens what some spreadsheets write.
var byteOrderMark = []byte("\ufeff")

// openTable reads the heading. A column that nobody knows is refused: a
// misspelt label would be missed later.
func openTable(path string) (*table, error) {
	text, err := readBounded(path, maxTable)
	if err != nil {
		return nil, err
	}
	t, err := newTable(bytes.NewReader(bytes.TrimPrefix(text, byteOrderMark)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func newTable(r io.Reader) (*table, error) {
	t := &table{csv: csv.NewReader(r), columns: map[string]int{}}
	heading, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, usagef("the table has no heading; its columns are %s and %sNAME", strings.Join(tableColumns, ", "), labelColumn)
	}
	if err != nil {
		return nil, err
	}
	for i, name := range heading {
		heading[i] = strings.TrimSpace(name)
		known := slices.Contains(tableColumns, heading[i]) || len(heading[i]) > len(labelColumn) && strings.HasPrefix(heading[i], labelColumn)
		if !known {
			return nil, usagef("no column is named %q; there are %s and %sNAME", name, strings.Join(tableColumns, ", "), labelColumn)
		}
		if _, twice := t.columns[heading[i]]; twice {
			return nil, usagef("two columns are named %q", name)
		}
		t.columns[heading[i]] = i
	}
	t.heading = heading
	return t, nil
}

// tableRow is one row, or why the line is none.
type tableRow struct {
	table *table
	line  int
	cells []string
	err   error
}

// rows reads the rows. It goes on behind a line that is no row.
func (t *table) rows() iter.Seq[*tableRow] {
	return func(yield func(*tableRow) bool) {
		for {
			cells, err := t.csv.Read()
			if errors.Is(err, io.EOF) {
				return
			}
			r := &tableRow{table: t, cells: cells}
			var failed *csv.ParseError
			if errors.As(err, &failed) {
				r.line, r.err = failed.StartLine, failed.Err
			} else if err == nil {
				r.line, _ = t.csv.FieldPos(0)
			} else {
				r.err = err
			}
			if !yield(r) || err != nil && failed == nil {
				return
			}
		}
	}
}

// cell is what stands in a column, "" if there is no such column.
func (r *tableRow) cell(column string) string {
	if i, ok := r.table.columns[column]; ok && i < len(r.cells) {
		return strings.TrimSpace(r.cells[i])
	}
	return ""
}

// with is the row with a cell changed, under the heading that withColumn gives.
func (r *tableRow) with(column, text string) []string {
	cells := slices.Clone(r.cells)
	for len(cells) < len(r.table.heading) {
		cells = append(cells, "")
	}
	if i, ok := r.table.columns[column]; ok {
		cells[i] = text
		return cells
	}
	return append(cells, text)
}

// withColumn is the heading with a column, at the end if it had it not.
func (t *table) withColumn(name string) []string {
	if _, ok := t.columns[name]; ok {
		return t.heading
	}
	return append(slices.Clone(t.heading), name)
}

// orFlag is what stands in a column, or what the flag of the name says for all.
func (r *tableRow) orFlag(c *cli.Context, name string) (string, error) {
	text := cmp.Or(r.cell(name), c.String(name))
	if text == "" {
		return "", fmt.Errorf("the row has no %s: %w", name, abi.CodeBadArgument)
	}
	return text, nil
}

// identity reads what the device is.
func (r *tableRow) identity(c *cli.Context) (manufacturer, model, serial string, err error) {
	manufacturer, err1 := r.orFlag(c, "manufacturer")
	model, err2 := r.orFlag(c, "model")
	serial = r.cell("serial") // no flag: two rows cannot have the same
	if serial == "" {
		err = fmt.Errorf("the row has no serial: %w", abi.CodeBadArgument)
	}
	return manufacturer, model, serial, errors.Join(err1, err2, err)
}

// base64Or is what a column holds in base64, or else the file that another
// column names; nil if neither says anything.
func (r *tableRow) base64Or(column, fileColumn string) ([]byte, error) {
	text, file := r.cell(column), r.cell(fileColumn)
	switch {
	case text != "" && file != "":
		return nil, fmt.Errorf("both %s and %s: %w", column, fileColumn, abi.CodeBadArgument)
	case file != "":
		return readBounded(file, maxHandedFile)
	case text == "":
		return nil, nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%s is no base64: %w", column, abi.CodeBadArgument)
	}
	return raw, nil
}

// publicKey is the device's key, by whatever the row has. Where keys is not
// empty, a row that has none gets one there.
func (r *tableRow) publicKey(keys, manufacturer, serial string) ([]byte, error) {
	if text := r.cell("key"); text != "" {
		return publicKey(text)
	}
	k, err := r.privateKey(keys, manufacturer, serial)
	if err != nil {
		return nil, err
	}
	return k.Public(), nil
}

func (r *tableRow) privateKey(keys, manufacturer, serial string) (*key.Key, error) {
	if file := r.cell("key_file"); file != "" {
		return key.Load(file)
	}
	if keys == "" {
		return nil, fmt.Errorf("the row has no key; name a directory with --keys where one is made: %w", abi.CodeBadArgument)
	}
	return loadOrMakeKey(filepath.Join(keys, keyFileName(manufacturer, serial)))
}

// makeKeysDir makes the directory of --keys.
func makeKeysDir(c *cli.Context) error {
	if dir := c.String("keys"); dir != "" {
		return os.MkdirAll(dir, 0o700)
	}
	return nil
}

// keyFileName is the name of a key file that is made for a device. What the table
// says leads to no other directory, and two devices have no file in common.
func keyFileName(manufacturer, serial string) string {
	name := fileWord(manufacturer) + "+" + fileWord(serial)
	if len(name) > maxKeyName {
		name = hexOf(chain.SerialHash(manufacturer, serial)).String()
	}
	return name + ".key"
}

// fileWord is a text as a part of a file's name, without slash and plus.
func fileWord(s string) string { return strings.ReplaceAll(url.PathEscape(s), "+", "%2B") }

// maxKeyName keeps file names below what file systems admit, 255 bytes.
const maxKeyName = 200

// labels are those of the row and of the command's flags; the row's win.
func (r *tableRow) labels(common chain.Labels) chain.Labels {
	labels := chain.Labels{}
	for name, value := range common {
		labels[name] = value
	}
	for column := range r.table.columns {
		if name, ok := strings.CutPrefix(column, labelColumn); ok && r.cell(column) != "" {
			labels[name] = r.cell(column)
		}
	}
	return labels
}

// badRow is a row of which nothing came, and why.
type badRow struct {
	*tableRow
	why error
}

// reportRows tells of bad rows, by their lines.
func reportRows(w io.Writer, file string, bad []badRow) {
	slices.SortFunc(bad, func(a, b badRow) int { return cmp.Compare(a.line, b.line) })
	for _, b := range bad {
		fmt.Fprintf(w, "%s:%d: %s\n", file, b.line, b.text())
	}
}

func (b *badRow) text() string {
	if serial := b.cell("serial"); serial != "" {
		return fmt.Sprintf("serial %s: %v", serial, b.why)
	}
	return b.why.Error()
}

// writeRejected writes the bad rows as a table that can be mended and read again.
func writeRejected(path string, t *table, bad []badRow) error {
	rows := [][]string{t.withColumn("reason")}
	for _, b := range bad {
		rows = append(rows, b.with("reason", b.why.Error()))
	}
	var text bytes.Buffer
	w := csv.NewWriter(&text)
	if err := w.WriteAll(rows); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o600)
}
