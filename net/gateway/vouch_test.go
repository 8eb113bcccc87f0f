package gateway_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/gateway"
)

// authority is a certificate authority of a manufacturer.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue signs a certificate; change may alter it. A nil authority signs itself.
func (a *authority) issue(t testing.TB, public crypto.PublicKey, own *ecdsa.PrivateKey, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Acme"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, own
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newAuthority makes an authority, below another one or, for nil, by itself.
func newAuthority(t testing.TB, name string, above *authority, change func(*x509.Certificate)) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, above.issue(t, &key.PublicKey, key, func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid, c.KeyUsage = name, true, true, x509.KeyUsageCertSign
		if change != nil {
			change(c)
		}
	}), key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// moduleName is a critical SubjectAltName of a hardware module's serials.
func moduleName(t testing.TB, serials ...string) pkix.Extension {
	t.Helper()
	type module struct {
		Type   asn1.ObjectIdentifier
		Serial []byte
	}
	type other struct {
		Type  asn1.ObjectIdentifier
		Value module `asn1:"tag:0,explicit"`
	}
	var names []byte
	for _, s := range serials {
		name := other{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 4}, module{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 1}, []byte(s)}}
		der, err := asn1.MarshalWithParams(name, "tag:0")
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, der...)
	}
	value, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: names})
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: value}
}

func named(serial string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.Subject.SerialNumber = serial }
}

// TestDeviceCertificates: what a manufacturer's certificate has to be, and what
// becomes of every other.
func TestDeviceCertificates(t *testing.T) {
	root := newAuthority(t, "root", nil, nil)
	other := newAuthority(t, "other root", nil, nil)
	factory := newAuthority(t, "factory", root, nil)
	line := newAuthority(t, "line", factory, nil)
	short := newAuthority(t, "no more below", root, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	below := newAuthority(t, "below", short, nil)
	noCA := &authority{t, root.issue(t, &factory.key.PublicKey, nil, named("S-1")), factory.key}
	lapsed := newAuthority(t, "lapsed", root, func(c *x509.Certificate) { c.NotAfter = time.Unix(1, 0) })

	type chainOf func(device crypto.PublicKey) []*x509.Certificate
	by := func(a *authority, change func(*x509.Certificate), above ...*authority) chainOf {
		return func(device crypto.PublicKey) []*x509.Certificate {
			list := []*x509.Certificate{a.issue(t, device, nil, change)}
			for _, a := range above {
				list = append(list, a.cert)
			}
			return list
		}
	}
	module := func(serials ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, moduleName(t, serials...)) }
	}
	both := func(serial, hardware string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { named(serial)(c); module(hardware)(c) }
	}
	for name, test := range map[string]struct {
		show   chainOf
		reason string // "": it is accepted
	}{
		"by the root":                {by(root, named("S-1")), ""},
		"by a factory":               {by(factory, named("S-1"), factory), ""},
		"by a line, the root sent":   {by(line, named("S-1"), line, factory, root), ""},
		"hardware module":            {by(root, module("S-1")), ""},
		"serial and hardware module": {by(root, both("S-1", "S-1")), ""},
		"among certificates too many that are not needed": {by(factory, named("S-1"), factory, root, other), ""},

		"chain too long":            {by(line, named("S-1"), line, factory, root, other), "not-authenticated"},
		"the factory's not sent":    {by(factory, named("S-1")), "unknown authority"},
		"another root":              {by(other, named("S-1")), "unknown authority"},
		"another root, sent":        {by(other, named("S-1"), other), "unknown authority"},
		"expired":                   {by(root, func(c *x509.Certificate) { named("S-1")(c); c.NotAfter = time.Unix(1, 0) }), "expired"},
		"not valid yet":             {by(root, func(c *x509.Certificate) { named("S-1")(c); c.NotBefore = time.Now().Add(time.Hour) }), "not yet valid"},
		"by a lapsed factory":       {by(lapsed, named("S-1"), lapsed), "expired"},
		"by a device":               {by(noCA, named("S-1"), noCA), "cannot sign"},
		"below a length constraint": {by(below, named("S-1"), below, short), "too many intermediates"},
		"another serial":            {by(root, named("S-2")), `serial "S-2"`},
		"another hardware module":   {by(root, module("S-2")), "hardware module"},
		"two that differ":           {by(root, both("S-1", "S-2")), "hardware module"},
		"two hardware modules":      {by(root, module("S-1", "S-1")), "several hardware modules"},
		"no serial":                 {by(root, nil), "no serial"},
		"names that are none": {by(root, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: []byte{0x30, 5, 0xa0, 3, 6, 1, 0x80}}}
		}), "cannot be read"},
		"an unknown critical extension": {by(root, func(c *x509.Certificate) {
			named("S-1")(c)
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), "critical extension"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode()
			n.devices[abi.Hash{1}] = chain.Device{Manufacturer: "Acme", Serial: "S-1"}
			n.other = device(abi.StatusActive)
			p := serve(t, n, func(c *gateway.Config) {
				c.Certificates, c.Anchors = gateway.RequireCertificates, map[string]*x509.CertPool{"Acme": root.pool()}
			})
			key := newKey(t)
			shown := tls.Certificate{PrivateKey: key}
			for _, c := range test.show(key.Public()) {
				shown.Certificate = append(shown.Certificate, c.Raw)
			}
			requireVouched(t, p, shown, test.reason)
		})
	}
}

// requireVouched connects with a certificate: it is accepted if reason is empty,
// else refused with it.
func requireVouched(t *testing.T, p *port, shown tls.Certificate, reason string) {
	t.Helper()
	c, err := p.handshake(t, clientTLS(shown), nil)
	if reason == "" {
		if err != nil {
			t.Fatal(err)
		}
		if got := open(t, c).ask(1, abi.OpDecide, decideBody()); got.Code != abi.OK {
			t.Error(got.Code)
		}
		return
	}
	if reason == "not-authenticated" { // the handshake fails
		if err := refused(t, c, err); err == nil {
			t.Error("it was accepted")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if code, why := told(t, c); code != abi.CodeNotAuthenticated || !strings.Contains(why, reason) {
		t.Errorf("closed with %v, %q", code, why)
	}
}

// TestCertificateModes: what becomes of a device that shows nothing but its key,
// of other accounts, and of strangers.
func TestCertificateModes(t *testing.T) {
	root := newAuthority(t, "root", nil, nil)
	owner := abi.Standing{Known: true, Account: abi.Hash{1}}
	for name, test := range map[string]struct {
		mode         gateway.CertificateMode
		standing     abi.Standing
		manufacturer string
		issued       bool   // shows a certificate of the root's
		reason       string // "": it is accepted
	}{
		"off, key":                     {gateway.IgnoreCertificates, device(abi.StatusActive), "Acme", false, ""},
		"off, certificate":             {gateway.IgnoreCertificates, device(abi.StatusActive), "Acme", true, ""},
		"accept, key":                  {gateway.AcceptCertificates, device(abi.StatusActive), "Acme", false, ""},
		"accept, certificate":          {gateway.AcceptCertificates, device(abi.StatusActive), "Acme", true, ""},
		"accept, of another maker":     {gateway.AcceptCertificates, device(abi.StatusActive), "Other", true, "no anchor"},
		"require, key":                 {gateway.RequireCertificates, device(abi.StatusActive), "Acme", false, "wants the certificate"},
		"require, certificate":         {gateway.RequireCertificates, device(abi.StatusActive), "Acme", true, ""},
		"require, of another maker":    {gateway.RequireCertificates, device(abi.StatusActive), "Other", true, "no anchor"},
		"require, an owner's key":      {gateway.RequireCertificates, owner, "Acme", false, ""},
		"require, owner's certificate": {gateway.RequireCertificates, owner, "Acme", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode()
			n.devices[abi.Hash{1}] = chain.Device{Manufacturer: test.manufacturer, Serial: "S-1"}
			n.other = test.standing
			p := serve(t, n, func(c *gateway.Config) {
				c.Certificates, c.Anchors = test.mode, map[string]*x509.CertPool{"Acme": root.pool()}
			})
			key := newKey(t)
			shown := certificate(t, key)
			if test.issued {
				shown.Certificate[0] = root.issue(t, key.Public(), nil, named("S-1")).Raw
			}
			requireVouched(t, p, shown, test.reason)
		})
	}
}

// TestStrangerShowsNoCertificate: a stranger may come with any, but once it is a
// device it has to be vouched for before its next request.
func TestStrangerShowsNoCertificate(t *testing.T) {
	n := newNode()
	n.devices[abi.Hash{1}] = chain.Device{Manufacturer: "Acme", Serial: "S-1"}
	p := serve(t, n, func(c *gateway.Config) { c.Certificates = gateway.RequireCertificates })
	key := newKey(t)
	n.set(public(key), abi.Standing{})
	c := p.connect(t, key)
	w := open(t, c)
	if got := w.ask(1, abi.OpStatus, empty); got.Code != abi.OK {
		t.Error(got.Code)
	}
	n.set(public(key), device(abi.StatusActive))
	w.send(request(2, abi.OpDecide, decideBody()))
	if code, why := told(t, c); code != abi.CodeNotAuthenticated || !strings.Contains(why, "wants the certificate") {
		t.Errorf("closed with %v, %q", code, why)
	}
}

// TestCertificateOfAnotherKey: a chain that somebody else's device shows proves
// nothing: the key in it has to sign the handshake.
func TestCertificateOfAnotherKey(t *testing.T) {
	root := newAuthority(t, "root", nil, nil)
	n := newNode()
	p := serve(t, n, func(c *gateway.Config) {
		c.Certificates, c.Anchors = gateway.RequireCertificates, map[string]*x509.CertPool{"Acme": root.pool()}
	})
	stolen := root.issue(t, newKey(t).Public(), nil, named("S-1"))
	c, err := p.handshake(t, clientTLS(tls.Certificate{Certificate: [][]byte{stolen.Raw}, PrivateKey: forger{newKey(t), stolen.PublicKey}}), nil)
	if err := refused(t, c, err); err == nil {
		t.Error("it was accepted")
	}
}

// forger says it has a key that it has not.
type forger struct {
	ed25519.PrivateKey
	public crypto.PublicKey
}

func (f forger) Public() crypto.PublicKey { return f.public }
