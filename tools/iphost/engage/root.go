package engage

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the protocol's hash, section 4
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// RootPath is where a gateway asks for the root certificate (section 4).
const RootPath = "/engage/newCA/current"

// ErrRootQuery means that a request for the root certificate is not of section
// 4's form.
var ErrRootQuery = errors.New("want ?serialNumber=<base64 of 16 bytes>&hashType=primary&v=2")

// RootHash vouches for a root certificate: base64 of the HMAC-SHA1 of the DER
// file with the site key, 28 characters (section 4).
func RootHash(k SiteKey, der []byte) string {
	m := hmac.New(sha1.New, k.b[:])
	m.Write(der)
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// maxQuery bounds the query of a request for the root.
const maxQuery = 512

// ParseRootQuery returns the serial of a request for the root certificate.
// Gateways send '+' and '=' unescaped, so the raw query is read here: a '+' is
// a '+'.
func ParseRootQuery(raw string) (Serial, error) {
	if len(raw) > maxQuery {
		return Serial{}, fmt.Errorf("query of %d bytes: %w", len(raw), ErrRootQuery)
	}
	values := map[string]string{}
	for part := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(part, "=")
		text, err := url.PathUnescape(value)
		if err != nil {
			return Serial{}, fmt.Errorf("%s: %w", clip(name), ErrRootQuery)
		}
		if _, twice := values[name]; twice {
			return Serial{}, fmt.Errorf("%s twice: %w", clip(name), ErrRootQuery)
		}
		values[name] = text
	}
	if h, ok := values["hashType"]; ok && h != "primary" {
		return Serial{}, fmt.Errorf("hashType %q: %w", clip(h), ErrRootQuery)
	}
	s, err := ParseSerialBase64(values["serialNumber"])
	if err != nil {
		return Serial{}, fmt.Errorf("serialNumber: %w", err)
	}
	return s, nil
}
