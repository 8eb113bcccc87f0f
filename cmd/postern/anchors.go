package main

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"

	"github.com/seed79541315/postern/net/gateway"
)

// certificateModes are the settings of device_certificates.
var certificateModes = map[string]gateway.CertificateMode{
	"off": gateway.IgnoreCertificates, "accept": gateway.AcceptCertificates, "require": gateway.RequireCertificates,
}

// anchors reads the certificate authorities that vouch for manufacturers'
// devices, from files whose names are relative to the home.
func (h home) anchors(files map[string]string) (map[string]*x509.CertPool, error) {
	pools := make(map[string]*x509.CertPool, len(files))
	for manufacturer, file := range files {
		if !filepath.IsAbs(file) {
			file = h.path(file)
		}
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("device_anchors: reading the authorities of %q: %w", manufacturer, err)
		}
		pools[manufacturer] = x509.NewCertPool()
		if !pools[manufacturer].AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("device_anchors: %s holds no certificate in PEM", file)
		}
	}
	return pools, nil
}
