package contract

// theFrame serves the one call of an instance: memory is set back before the
// next, and a nested call runs in an instance of its own.
var theFrame frame

func newFrame() *frame { return &theFrame }
