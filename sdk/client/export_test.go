package client

// NewInactiveError is how the text of a closed connection is read.
var NewInactiveError = newInactiveError
