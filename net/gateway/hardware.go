package gateway

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"slices"
)

// hardwareModule is a HardwareModuleName (RFC 4108 section 5), as which IDevIDs
// may bear their serial number: SEQUENCE {hwType, hwSerialNum}.
type hardwareModule struct {
	Type   asn1.ObjectIdentifier
	Serial []byte
}

var (
	oidSubjectAltName     = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidHardwareModuleName = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 4}
)

var errAltName = errors.New("its alternative names cannot be read")

// hardwareModuleOf finds the hardware module among a certificate's alternative
// names, nil if it has none. crypto/x509 does not know such names and takes an
// extension of nothing else, if critical, for unhandled: the mark is taken off c.
func hardwareModuleOf(c *x509.Certificate) (*hardwareModule, error) {
	i := slices.IndexFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidSubjectAltName) })
	if i < 0 {
		return nil, nil
	}
	m, err := parseHardwareModule(c.Extensions[i].Value)
	if err == nil && m != nil {
		c.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(c.UnhandledCriticalExtensions), oidSubjectAltName.Equal)
	}
	return m, err
}

// parseHardwareModule reads a SubjectAltName extension (RFC 5280 section
// 4.2.1.6) for one hardware module name; several contradict one another.
func parseHardwareModule(der []byte) (found *hardwareModule, err error) {
	names, err := sequence(der)
	if err != nil {
		return nil, err
	}
	for len(names) > 0 {
		var name asn1.RawValue
		if names, err = asn1.Unmarshal(names, &name); err != nil {
			return nil, errAltName
		}
		if name.Class != asn1.ClassContextSpecific || name.Tag != 0 { // otherName
			continue
		}
		m, err := parseOtherName(name.Bytes)
		if err != nil {
			return nil, err
		}
		if m != nil && found != nil {
			return nil, errors.New("it names several hardware modules")
		}
		if m != nil {
			found = m
		}
	}
	return found, nil
}

// sequence returns what stands in a SEQUENCE that is all of der.
func sequence(der []byte) ([]byte, error) {
	var list asn1.RawValue
	rest, err := asn1.Unmarshal(der, &list)
	if err != nil || len(rest) > 0 || list.Class != asn1.ClassUniversal || list.Tag != asn1.TagSequence || !list.IsCompound {
		return nil, errAltName
	}
	return list.Bytes, nil
}

// parseOtherName reads the content of an OtherName, type and [0] value, nil if
// it is of another type.
func parseOtherName(der []byte) (*hardwareModule, error) {
	var kind asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(der, &kind)
	if err != nil {
		return nil, errAltName
	}
	if !kind.Equal(oidHardwareModuleName) {
		return nil, nil
	}
	var value asn1.RawValue
	if rest, err = asn1.Unmarshal(rest, &value); err != nil || len(rest) > 0 || value.Class != asn1.ClassContextSpecific || value.Tag != 0 {
		return nil, errAltName
	}
	var m hardwareModule
	if rest, err = asn1.Unmarshal(value.Bytes, &m); err != nil || len(rest) > 0 || len(m.Serial) == 0 {
		return nil, errAltName
	}
	return &m, nil
}
