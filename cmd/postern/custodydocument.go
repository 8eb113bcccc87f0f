package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/contracts/custody"
)

// custodyTime is how long documents of many events may take.
const custodyTime = 24 * time.Hour

var sealFlag = &cli.StringFlag{Name: "seal", Usage: "`FILE` with the key that seals contents (postern custody key makes one)"}

func custodyImportCommand() *cli.Command {
	return &cli.Command{
		Name: "import", Usage: "take an EPCIS 2.0 document in, or a single event", ArgsUsage: "FILE",
		Description: `Each event is one transaction: it does what the event says (makes, destroys, packs,
unpacks, uses up, or notes that something was seen) and keeps the event. Events
that are there already are passed over, so a document whose import was broken off
is given again. What is wrong with a document is said by line and field before
anything is sent.

A ledger forgets nothing. Events that name persons (GSRN) are refused unless they
are sealed; what else is personal in a document, only you know.

Examples:

   postern custody import shipment.jsonld
   postern custody import --seal parties.key shipment.jsonld
   postern custody import --check shipment.jsonld`,
		Flags:  withConnect(custodyFlag, sealFlag, &cli.BoolFlag{Name: "check", Usage: "only say what is wrong, and ask no node"}),
		Action: custodyImport,
	}
}

func custodyKeyCommand() *cli.Command {
	return &cli.Command{
		Name: "key", Usage: "make a key that seals documents, for all parties that may read them", ArgsUsage: "FILE",
		Description: "Whoever has the file reads everything that was sealed with it; without it nobody does.\nExample:\n\n   postern custody key parties.key",
		Flags:       []cli.Flag{jsonFlag},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("name a new file")
			}
			file := c.Args().First()
			if err := writeNew(file, []byte(hex.EncodeToString(custody.NewKey())+"\n"), 0o600); err != nil {
				return err
			}
			return printer(c).show(map[string]string{"file": file}, "a new key is in %s", file)
		},
	}
}

// sealingKey is the key that the command names, nil where it names none.
func sealingKey(c *cli.Context) (*custody.Key, error) {
	file := c.String(sealFlag.Name)
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	secret, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, usagef("%s holds no key", file)
	}
	return custody.OpenKey(secret)
}

type importOutput struct {
	Document hexBytes `json:"document,omitempty"`
	Events   int      `json:"events"`
	Sent     int      `json:"transactions"`
}

func custodyImport(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name one file; see %s --help", c.Command.HelpName)
	}
	key, err := sealingKey(c)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(c.Args().First())
	if err != nil {
		return err
	}
	d, err := custody.Parse(text, key)
	if err != nil {
		return showCustodyMistakes(printer(c), c.Args().First(), err)
	}
	if c.Bool("check") {
		return printer(c).show(importOutput{d.ID[:], len(d.Events), 0}, "good: %d events", len(d.Events))
	}
	return onCustody(c, custodyTime, func(k *custodian) error { return importDocument(printer(c), k, d) })
}

func importDocument(out output, k *custodian, d *custody.Document) error {
	v := importOutput{Events: len(d.Events)}
	if !d.Bare() {
		v.Document = d.ID[:]
	}
	execute := func(message []byte) error {
		v.Sent++
		_, err := transact(k.ctx, k.cl, chain.OpCall, &chain.Call{Contract: k.contract, Message: message})
		return nameRefusal(k.names, err)
	}
	told := 0
	err := custody.Import(d, k.query, execute, func(done, total int) {
		if tenth := done * 10 / total; tenth > told {
			told = tenth
			out.progressf("%d of %d events", done, total)
		}
	})
	if err != nil {
		return err
	}
	what := "the event"
	if !d.Bare() {
		what = fmt.Sprintf("document %s", v.Document)
	}
	return out.show(v, "%s is taken in: %d events, %d transactions", what, v.Events, v.Sent)
}

// showCustodyMistakes prints each mistake of a document and ends with exitRefused.
func showCustodyMistakes(out output, file string, err error) error {
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	v := struct {
		OK       bool            `json:"ok"`
		Mistakes []mistakeOutput `json:"mistakes"`
	}{Mistakes: []mistakeOutput{}}
	for _, e := range list {
		m, ok := errors.AsType[*custody.Mistake](e)
		if !ok {
			m = &custody.Mistake{Text: e.Error()}
		}
		v.Mistakes = append(v.Mistakes, mistakeOutput{m.Line, m.Field, m.Text})
		out.progressf("%s: %v", file, m)
	}
	if err := out.show(v, "%d mistakes; nothing was sent", len(v.Mistakes)); err != nil {
		return err
	}
	return &quietExit{exitRefused}
}

func custodyExportCommand() *cli.Command {
	return &cli.Command{
		Name: "export", Usage: "give EPCIS documents out again, as they were taken in", ArgsUsage: "[ITEM]",
		Description: `With ITEM: the events of its life, as one document. With --all: every document,
then the events that came alone, one behind another or, with --dir, each in a file.
With --document: that one. Each is checked against its hash, and each event against
what the ledger was told with it.

Examples:

   postern custody export urn:epc:id:sgtin:0614141.107346.2018
   postern custody export --all --dir documents
   postern custody export --seal parties.key --document 5b0e4f…`,
		Flags: withConnect(custodyFlag, sealFlag,
			&cli.BoolFlag{Name: "all", Usage: "everything that was taken in"},
			&cli.StringFlag{Name: "document", Usage: "the document of this `HASH`"},
			&cli.StringFlag{Name: "dir", Usage: "write files into this new `FOLDER`"}),
		Action: custodyExport,
	}
}

func custodyExport(c *cli.Context) error {
	chosen := c.NArg()
	for _, name := range []string{"all", "document"} {
		if c.IsSet(name) {
			chosen++
		}
	}
	if chosen != 1 {
		return usagef("name an item, or say --all, or --document HASH")
	}
	key, err := sealingKey(c)
	if err != nil {
		return err
	}
	write, err := documentWriter(c.App.Writer, c.String("dir"))
	if err != nil {
		return err
	}
	return onCustody(c, custodyTime, func(k *custodian) error {
		if c.Bool("all") {
			return custody.Export(k.query, key, write)
		}
		text, err := exportOne(c, k, key)
		if err != nil {
			return err
		}
		return write(text)
	})
}

func exportOne(c *cli.Context, k *custodian, key *custody.Key) ([]byte, error) {
	if !c.IsSet("document") {
		return custody.ExportItem(k.query, c.Args().First(), key)
	}
	id, err := parseHash(c.String("document"), "document")
	if err != nil {
		return nil, err
	}
	return custody.ExportDocument(k.query, id, key)
}

// documentWriter writes documents one behind another, or into files of a folder.
func documentWriter(w io.Writer, dir string) (func(text []byte) error, error) {
	if dir == "" {
		return func(text []byte) error {
			_, err := fmt.Fprintf(w, "%s\n", text)
			return err
		}, nil
	}
	n := 0
	return func(text []byte) error {
		n++
		return writeNew(filepath.Join(dir, fmt.Sprintf("%06d.jsonld", n)), append(text, '\n'), 0o644)
	}, os.Mkdir(dir, 0o755)
}
