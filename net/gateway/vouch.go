package gateway

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/certificate"
	"github.com/seed79541315/postern/abi/chain"
)

// CertificateMode is what the port makes of device certificates: IDevIDs and
// LDevIDs (IEEE 802.1AR), by which a manufacturer or an owner vouches for a
// device's key. The key is the identity in any case, and the ledger says whose
// it is: a certificate only adds that the maker says so too.
type CertificateMode uint8

const (
	// IgnoreCertificates takes one certificate and looks at the key in it.
	IgnoreCertificates CertificateMode = iota
	// AcceptCertificates lets devices show a chain to an anchor of their
	// manufacturer instead. One that is shown has to be right.
	AcceptCertificates
	// RequireCertificates refuses devices that show none.
	RequireCertificates
)

// maxCertificates is how many certificates a device may send: its own, two above
// it, and the anchor, which may as well be left out.
const maxCertificates = 4

// keyOf is the raw key in the certificate of the other side.
func (s *Server) keyOf(state *tls.ConnectionState) ([]byte, error) {
	if n := len(state.PeerCertificates); s.config.Certificates == IgnoreCertificates || n <= 1 {
		return certificate.Key(state)
	} else if n > maxCertificates {
		return nil, fmt.Errorf("%d certificates, want at most %d: %w", n, maxCertificates, abi.CodeNotAuthenticated)
	}
	leaf := *state
	leaf.PeerCertificates = state.PeerCertificates[:1]
	return certificate.Key(&leaf)
}

// vouch holds a device's certificate against the ledger, once a connection. Keys
// that are no device's are not looked at: there is nothing to hold against, and
// strangers shall not cost a path of signatures.
func (c *conn) vouch(standing *abi.Standing) (code abi.Code, why string) {
	config := &c.server.config
	if config.Certificates == IgnoreCertificates || standing.Device == 0 || c.vouched.Load() {
		return abi.OK, ""
	}
	certificates := c.quic.ConnectionState().TLS.PeerCertificates
	if holdsOnlyAKey(certificates) {
		if config.Certificates == RequireCertificates {
			return abi.CodeNotAuthenticated, "this gateway wants the certificate of the device's manufacturer"
		}
		c.vouched.Store(true)
		return abi.OK, ""
	}
	d, err := config.Node.Device(standing.Account)
	if err != nil {
		return codeOf(err), ""
	}
	if err := checkCertificates(certificates, config.Anchors[d.Manufacturer], &d, time.Now()); err != nil {
		config.Logger.Info("device certificate refused", "manufacturer", d.Manufacturer, "serial", d.Serial, "err", err)
		return abi.CodeNotAuthenticated, "certificate: " + err.Error()
	}
	c.vouched.Store(true)
	return abi.OK, ""
}

// holdsOnlyAKey says whether a client showed the certificate that abi/certificate
// makes rather than one that somebody gave it.
func holdsOnlyAKey(certificates []*x509.Certificate) bool {
	return len(certificates) == 1 && bytes.Equal(certificates[0].RawIssuer, certificates[0].RawSubject)
}

// checkCertificates says whether a chain leads to an anchor and names the device
// that the ledger has.
func checkCertificates(certificates []*x509.Certificate, anchors *x509.CertPool, d *chain.Device, now time.Time) error {
	if anchors == nil {
		return fmt.Errorf("this gateway has no anchor for the manufacturer %q", d.Manufacturer)
	}
	leaf := *certificates[0] // crypto/tls shares it between connections
	module, err := hardwareModuleOf(&leaf)
	if err != nil {
		return err
	}
	between := x509.NewCertPool()
	for _, c := range certificates[1:] {
		between.AddCert(c)
	}
	// IDevIDs name no usage of TLS (IEEE 802.1AR-2018 section 8.10).
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: anchors, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return err
	}
	return checkSerial(&leaf, module, d.Serial)
}

// checkSerial holds the serials of a certificate against that of the ledger: the
// subject's serialNumber, the hardware module's, or both if both are there. The
// module's are bytes, which the ledger may have as they are or in hex.
func checkSerial(leaf *x509.Certificate, module *hardwareModule, serial string) error {
	named := leaf.Subject.SerialNumber
	switch {
	case named == "" && module == nil:
		return errors.New("it names no serial number")
	case named != "" && named != serial:
		return fmt.Errorf("it is for serial %q", named)
	case module != nil && string(module.Serial) != serial && hex.EncodeToString(module.Serial) != serial:
		return fmt.Errorf("it is for the hardware module %x", module.Serial)
	}
	return nil
}
