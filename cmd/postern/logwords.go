package main

import (
	"context"
	"log/slog"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/storage"
)

// wordyHandler adds to what the ledger logs of a contract that refused the name
// that the contract's schema gives the code.
type wordyHandler struct {
	slog.Handler
	code func(contract string, own uint16) (name string, ok bool)
}

// newWordyLog is a log in which refusals of standard contracts have names. The
// store says which code a contract has.
func newWordyLog(log *slog.Logger, s *storage.Store) *slog.Logger {
	return slog.New(&wordyHandler{log.Handler(), func(contract string, own uint16) (string, bool) {
		return refusalOn(s, contract, own)
	}})
}

func (h *wordyHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Message != "contract failed" {
		return h.Handler.Handle(ctx, r)
	}
	var contract string
	var own uint64
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "name":
			contract = a.Value.String()
		case "own":
			own = a.Value.Uint64()
		}
		return true
	})
	if name, ok := h.code(contract, uint16(own)); ok && own != 0 {
		r = r.Clone()
		r.AddAttrs(slog.String("refusal", name))
	}
	return h.Handler.Handle(ctx, r)
}

func (h *wordyHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &wordyHandler{h.Handler.WithAttrs(attrs), h.code}
}

func (h *wordyHandler) WithGroup(name string) slog.Handler {
	return &wordyHandler{h.Handler.WithGroup(name), h.code}
}

// refusalOn names a refusal of a contract by the code that it has now.
func refusalOn(s *storage.Store, contract string, own uint16) (name string, ok bool) {
	v, err := s.HeadView()
	if err != nil {
		return "", false
	}
	defer v.Release()
	raw, ok, err := v.Get(chain.ContractKey(contract))
	if err != nil || !ok {
		return "", false
	}
	k, err := chain.ParseContract(raw)
	if err != nil {
		return "", false
	}
	standard, ok := contracts.Known(k.Code)
	if !ok || standard.Schema == nil {
		return "", false
	}
	code, ok := standard.Schema.Codes[own]
	return code.Name, ok
}
