package store

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"gatehouse/agent/site"
)

// Codes of the buckets. A code goes into each record's check and into the
// sealed content of a change, so it never changes its meaning.
const (
	codeMeta       = 'm'
	codeCredential = 'c'
	codeHolder     = 'h'
	codeName       = 'n'
	codeLevel      = 'l'
	codeSchedule   = 's'
	codeHoliday    = 'y'
	codeUsed       = 'u'
	codeAlone      = 'p'
	codeOutbox     = 'o'
	codeFile       = 'f'
	codeFileCard   = 'g'
	codeDevice     = 'd'
	codeDoor       = 'k'
	codeCredit     = 'v'
	codeVendOut    = 'w'
)

// Names of the buckets. Credentials are in the bucket of the live generation,
// 'c' and its number, the index of their PINs in that of 'p' and the same number;
// older ones wait in the trash to be deleted. The cards of a door file are in 'g' and
// the number that the door's record has.
var (
	bucketMeta     = []byte{codeMeta}
	bucketHolder   = []byte{codeHolder}
	bucketName     = []byte{codeName}
	bucketLevel    = []byte{codeLevel}
	bucketSchedule = []byte{codeSchedule}
	bucketHoliday  = []byte{codeHoliday}
	bucketUsed     = []byte{codeUsed}
	bucketOutbox   = []byte{codeOutbox}
	bucketFile     = []byte{codeFile}
	bucketTrash    = []byte("trash")

	bucketDevice  = []byte{codeDevice}
	bucketDoor    = []byte{codeDoor}
	bucketCredit  = []byte{codeCredit}
	bucketVendOut = []byte{codeVendOut}

	policyBuckets = [][]byte{bucketMeta, bucketHolder, bucketName, bucketLevel, bucketSchedule,
		bucketHoliday, bucketUsed, bucketOutbox, bucketFile, bucketTrash}
	deviceBuckets = [][]byte{bucketMeta, bucketDevice, bucketDoor, bucketCredit, bucketVendOut}

	keyStore = []byte("store") // the one record of the meta bucket
)

// generation returns the name of the credentials bucket of a generation.
func generation(n uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{codeCredential}, n)
}

// codeOf returns the code of a bucket from its names, outermost first.
func codeOf(path [][]byte) (byte, bool) {
	if len(path) == 2 && string(path[0]) == string(bucketTrash) {
		path = path[1:]
	}
	if len(path) != 1 {
		return 0, false
	}
	n := path[0]
	if len(n) == 5 && (n[0] == codeCredential || n[0] == codeAlone || n[0] == codeFileCard) {
		return n[0], true
	}
	return n[0], len(n) == 1 && strings.IndexByte("mhnlsyuofdkvw", n[0]) >= 0
}

// Codes of the sources in keys.
var sourceCodes = []site.Source{1: site.SourceOperator, 2: site.SourceIPHost, 3: site.SourceHive}

func sourceCode(s site.Source) (byte, error) {
	for i, v := range sourceCodes {
		if i > 0 && v == s {
			return byte(i), nil
		}
	}
	return 0, fmt.Errorf("source %q is not known", s)
}

func sourceOf(code byte) (site.Source, error) {
	if code == 0 || int(code) >= len(sourceCodes) {
		return "", fmt.Errorf("source code %d is not known", code)
	}
	return sourceCodes[code], nil
}

// credKey is the key of a credential: its encrypted block, its source, its
// length in bits (0: any).
type credKey [18]byte

func makeCredKey(enc [16]byte, source byte, bits int) (k credKey) {
	copy(k[:], enc[:])
	k[16], k[17] = source, byte(bits)
	return k
}

// tagLen is the length of the keyed tag that people see.
const tagLen = 6

// id returns the credential's id: 16 hex digits of the encrypted block, its
// length, and its source unless that is the operator.
func (k *credKey) id() site.CredentialID {
	var buf [48]byte
	b := hex.AppendEncode(buf[:0], k[:8])
	b = strconv.AppendUint(append(b, '-'), uint64(k[17]), 10)
	if src, err := sourceOf(k[16]); err == nil && src != site.SourceOperator {
		b = append(append(b, '@'), src...)
	}
	return site.CredentialID(b)
}

// parseCredentialID returns the parts of an id.
func parseCredentialID(id site.CredentialID) (block [8]byte, source byte, bits int, err error) {
	s, src, found := strings.Cut(string(id), "@")
	if !found {
		src = string(site.SourceOperator)
	}
	head, tail, ok := strings.Cut(s, "-")
	raw, herr := hex.DecodeString(head)
	if !ok || herr != nil || len(raw) != len(block) {
		return block, 0, 0, fmt.Errorf("credential %.40q: %w", id, ErrNotFound)
	}
	if bits, err = strconv.Atoi(tail); err != nil || bits < 0 || bits > maxBits {
		return block, 0, 0, fmt.Errorf("credential %.40q: %w", id, ErrNotFound)
	}
	if source, err = sourceCode(site.Source(src)); err != nil {
		return block, 0, 0, fmt.Errorf("credential %.40q: %w", id, ErrNotFound)
	}
	return [8]byte(raw), source, bits, nil
}

// maxBits is the longest card: one block.
const maxBits = 128

// Holder ids are "h" and a number.
func holderID(n uint64) site.HolderID {
	if n == 0 {
		return ""
	}
	var buf [24]byte
	return site.HolderID(strconv.AppendUint(append(buf[:0], 'h'), n, 10))
}

func holderNumber(id site.HolderID) (uint64, error) {
	s, ok := strings.CutPrefix(string(id), "h")
	n, err := strconv.ParseUint(s, 10, 64)
	if !ok || err != nil || n == 0 || s[0] == '0' || s[0] == '+' {
		return 0, fmt.Errorf("holder %.40q: %w", id, ErrNotFound)
	}
	return n, nil
}

func holderKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// nameKey is the key of the name index: source, name, holder.
func nameKey(source byte, name string, holder uint64) []byte {
	k := append(make([]byte, 0, 10+len(name)), source)
	k = append(append(k, name...), 0)
	return binary.BigEndian.AppendUint64(k, holder)
}

// idKey is the key of a level, a schedule and a holiday.
func idKey(source byte, id string) []byte { return append([]byte{source}, id...) }

// schemaVersion is the version of what is in the files. migrations[i] brings
// version i+1 to i+2; a newer file is refused.
// Schema 2 has the index of PINs that open alone, and kinds of holidays; schema 3
// the door files of an IP host.
const schemaVersion = 3

// header is the one record of the meta bucket of either file.
type header struct {
	Schema     uint32
	Check      [16]byte // of the device key
	Change     uint64   // number of the last change; 0: no policy ever
	Generation uint32   // the live credentials bucket
	NextHolder uint64
	Count      uint64 // credentials in the live generation
	CopySeq    uint64 // the log's position before the last copy was begun
	Incomplete bool
	// HiddenFrom to HiddenTo, exclusive, are holders of an import that has not
	// been switched to. Nobody sees them; what an interrupted import leaves is
	// deleted.
	HiddenFrom, HiddenTo uint64
	// NotAlone is how many credentials of the live generation that are not
	// revoked have a PIN that does not open alone. Since schema 2.
	NotAlone uint64
}

func (h *header) hidden(holder uint64) bool { return holder >= h.HiddenFrom && holder < h.HiddenTo }

func (h *header) encode() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, h.Schema)
	b = append(b, h.Check[:]...)
	b = le.AppendUint64(b, h.Change)
	b = le.AppendUint32(b, h.Generation)
	b = le.AppendUint64(b, h.NextHolder)
	b = le.AppendUint64(b, h.Count)
	b = le.AppendUint64(b, h.CopySeq)
	var flags byte
	if h.Incomplete {
		flags = 1
	}
	b = append(b, flags)
	b = le.AppendUint64(le.AppendUint64(b, h.HiddenFrom), h.HiddenTo)
	if h.Schema >= 2 {
		b = le.AppendUint64(b, h.NotAlone)
	}
	return b
}

func (h *header) decode(b []byte) error {
	le := binary.LittleEndian
	if len(b) < 4 {
		return errShort
	}
	h.Schema = le.Uint32(b)
	if h.Schema > schemaVersion {
		return fmt.Errorf("schema %d: %w", h.Schema, ErrNewer)
	}
	size := 73
	if h.Schema >= 2 {
		size += 8
	}
	if len(b) != size || h.Schema == 0 || b[56] > 1 {
		return fmt.Errorf("header of schema %d: wrong form", h.Schema)
	}
	h.Check = [16]byte(b[4:20])
	h.Change, h.Generation = le.Uint64(b[20:]), le.Uint32(b[28:])
	h.NextHolder, h.Count, h.CopySeq = le.Uint64(b[32:]), le.Uint64(b[40:]), le.Uint64(b[48:])
	h.Incomplete = b[56] == 1
	h.HiddenFrom, h.HiddenTo = le.Uint64(b[57:]), le.Uint64(b[65:])
	h.NotAlone = 0
	if h.Schema >= 2 {
		h.NotAlone = le.Uint64(b[73:])
	}
	return nil
}
