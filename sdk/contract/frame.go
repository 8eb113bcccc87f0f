package contract

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// frame is what the SDK itself needs of memory for one call.
type frame struct {
	context  Context
	question Question
	subject  abi.Entity
}

func (f *frame) run(input []byte, handler Handler) ([]byte, error) {
	if err := f.context.parse(input); err != nil {
		return nil, err
	}
	return handler(&f.context)
}

func (f *frame) decide(input []byte, handler DecideHandler) ([]byte, error) {
	if err := f.context.parse(input); err != nil {
		return nil, err
	}
	r := cbor.NewCheckedReader(f.context.Message)
	if err := f.question.Read(&r, &f.subject); err != nil {
		return nil, err
	}
	v, err := handler(&f.context, &f.question)
	if err != nil {
		return nil, err
	}
	return abi.AppendVerdict(borrow(), &v), nil
}
