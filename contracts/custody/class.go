package custody

import (
	"regexp"
	"strings"
)

// classOf is the class of goods that an EPC belongs to, and its lot where the EPC
// names one (EPC Tag Data Standard 2.0, section 6; GS1 Digital Link 1.2, section
// 4): a GTIN, as a pattern of SGTINs or the Digital Link of the GTIN. Both are ""
// for all that is no trade item.
func classOf(id string) (class, lot string) {
	if rest, ok := strings.CutPrefix(id, "urn:epc:id:sgtin:"); ok {
		return gtinClass(rest), ""
	}
	if rest, ok := strings.CutPrefix(id, "urn:epc:class:lgtin:"); ok {
		if parts := strings.SplitN(rest, ".", 3); len(parts) == 3 && len(parts[2]) <= maxLot {
			lot = parts[2]
		}
		return gtinClass(rest), lot
	}
	if strings.HasPrefix(id, "urn:epc:idpat:sgtin:") {
		return id, ""
	}
	if m := digitalLink.FindStringSubmatch(id); m != nil {
		if len(m[2]) <= maxLot {
			lot = m[2]
		}
		return m[1], lot
	}
	return "", ""
}

// gtinClass is the pattern of all SGTINs of a GTIN, which is written as company
// prefix, item reference and what comes behind it.
func gtinClass(rest string) string {
	parts := strings.SplitN(rest, ".", 3)
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" {
		return ""
	}
	return "urn:epc:idpat:sgtin:" + parts[0] + "." + parts[1] + ".*"
}

// digitalLink is a Digital Link with a GTIN (application identifier 01) and maybe
// a lot (10).
var digitalLink = regexp.MustCompile(`^(https?://.+/01/\d{14})(?:/10/([^/?#]+))?(?:[/?#].*)?$`)

// personal are the keys of GS1 that name a person: service relations of
// recipients and providers, GSRN and GSRNP (application identifiers 8018, 8017).
var personal = regexp.MustCompile(`^(urn:epc:id(pat)?:gsrnp?:|https?://.+/801[78]/)`)
