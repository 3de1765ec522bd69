package lock

import "encoding/hex"

// ReadFile reads a door file as a lock of cfg does, for the fuzz target. loose
// says that its members may have lost their order.
func ReadFile(body []byte, cfg Config, loose bool) (users int, err error) {
	l := New(cfg)
	f, err := readFile(body, &l.cfg, l.aes, loose)
	if err != nil {
		return 0, err
	}
	c, err := table{}.apply(f, false)
	if err != nil {
		return 0, err
	}
	return len(c.byID), nil
}

// Seal returns the primeCr of the n-th of cards that sort ascending.
func Seal(siteKey []byte, n int) string {
	k, err := newCipherKey(siteKey)
	if err != nil {
		return err.Error()
	}
	return k.seal([16]byte{byte(n >> 16), byte(n >> 8), byte(n), 0x80, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF})
}

// seal writes a primeCr.
func (k *cipherKey) seal(clear [16]byte) string {
	var sealed [16]byte
	k.block.Encrypt(sealed[:], clear[:])
	return hex.EncodeToString(sealed[:])
}
