package swordfish

import "gatehouse/certs"

// CertHash returns the hash of a certificate for locks: base64 of the HMAC-SHA1 of
// its DER under the site key (engage.md section 4). The answer's shape is
// certs.Answer.
func CertHash(siteKey, der []byte) string { return certs.Hash(certs.Key(siteKey), der) }
