package webhook

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The signature is one of RFC 9421 with ed25519, labelled "postern", over these
// components in this order; the body is covered by its digest (RFC 9530).
var components = []string{"@method", "@target-uri", "content-digest", "content-type"}

const label = "postern"

// skew is how far the times of sender and receiver may lie apart, and so for how
// long a delivery that was overheard can be repeated to a receiver that does not
// look at ids.
const skew = 5 * time.Minute

// ErrSignature comes from Verify for what is not signed, signed by another key,
// altered or old.
var ErrSignature = errors.New("the webhook's signature is not good")

// sign adds digest and signature to a request with this body, for a key that is
// known as keyID.
func sign(r *http.Request, body []byte, key ed25519.PrivateKey, keyID string, now time.Time) {
	r.Header.Set("Content-Digest", digest(body))
	params := parameters(now.Unix(), keyID)
	signature := ed25519.Sign(key, base(r, r.URL.String(), params))
	r.Header.Set("Signature-Input", label+"="+params)
	r.Header.Set("Signature", label+"=:"+base64.StdEncoding.EncodeToString(signature)+":")
}

// digest is the value of Content-Digest.
func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// parameters is the value that Signature-Input has behind the label.
func parameters(created int64, keyID string) string {
	return fmt.Sprintf("(%q %q %q %q);created=%d;keyid=%q;alg=\"ed25519\"", components[0], components[1], components[2], components[3], created, keyID)
}

// base is what is signed (RFC 9421 section 2.5).
func base(r *http.Request, target, params string) []byte {
	var b bytes.Buffer
	for _, c := range components {
		value := strings.Join(r.Header.Values(c), ", ")
		switch c {
		case "@method":
			value = r.Method
		case "@target-uri":
			value = target
		}
		fmt.Fprintf(&b, "%q: %s\n", c, value)
	}
	fmt.Fprintf(&b, "%q: %s", "@signature-params", params)
	return b.Bytes()
}

// Verify checks, for a receiver, that a request came to target (the whole URL
// under which the receiver was registered) with this body from the gateway whose
// key this is, within five minutes of now. Every error is ErrSignature.
func Verify(r *http.Request, target string, body []byte, key ed25519.PublicKey, now time.Time) error {
	params, ok := strings.CutPrefix(only(r.Header, "Signature-Input"), label+"=")
	encoded, ok2 := strings.CutPrefix(only(r.Header, "Signature"), label+"=:")
	encoded, ok3 := strings.CutSuffix(encoded, ":")
	created, keyID, ok4 := readParameters(params)
	if !ok || !ok2 || !ok3 || !ok4 || params != parameters(created, keyID) {
		return fmt.Errorf("%w: it is not of the form that gateways give it", ErrSignature)
	}
	if age := now.Sub(time.Unix(created, 0)); age > skew || age < -skew {
		return fmt.Errorf("%w: it was made %v ago", ErrSignature, age)
	}
	if only(r.Header, "Content-Digest") != digest(body) {
		return fmt.Errorf("%w: the body is another", ErrSignature)
	}
	signature, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, base(r, target, params), signature) {
		return fmt.Errorf("%w: the key, the target or a header is another", ErrSignature)
	}
	return nil
}

// only is a header that is there once.
func only(h http.Header, name string) string {
	if v := h.Values(name); len(v) == 1 {
		return v[0]
	}
	return ""
}

// KeyID is the key that signed a request, by its own word: the did:key of a
// gateway. Whoever takes it for Verify asks the ledger first whether it is one.
func KeyID(r *http.Request) string {
	params, _ := strings.CutPrefix(only(r.Header, "Signature-Input"), label+"=")
	_, id, _ := readParameters(params)
	return id
}

func readParameters(params string) (created int64, keyID string, ok bool) {
	_, rest, ok := strings.Cut(params, ";created=")
	number, rest, ok2 := strings.Cut(rest, `;keyid="`)
	keyID, _, ok3 := strings.Cut(rest, `"`)
	created, err := strconv.ParseInt(number, 10, 64)
	return created, keyID, ok && ok2 && ok3 && err == nil
}
