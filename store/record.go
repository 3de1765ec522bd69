package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"gatehouse/agent/site"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumSize is the length of the check in front of each value.
const sumSize = 4

// appendValue appends check and payload of a record. The check covers the
// bucket's code and the key, so a record under another key is caught.
func appendValue(dst []byte, code byte, key, payload []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, recordSum(code, key, payload))
	return append(dst, payload...)
}

func recordSum(code byte, key, payload []byte) uint32 {
	sum := crc32.Update(0, castagnoli, codes[code][:])
	sum = crc32.Update(sum, castagnoli, key)
	return crc32.Update(sum, castagnoli, payload)
}

// codes avoids an allocation for the one-byte slice.
var codes = func() (t [256][1]byte) {
	for i := range t {
		t[i][0] = byte(i)
	}
	return t
}()

// openValue checks a value and returns its payload, which aliases value.
func openValue(code byte, key, value []byte) ([]byte, error) {
	if len(value) < sumSize || binary.LittleEndian.Uint32(value) != recordSum(code, key, value[sumSize:]) {
		return nil, errRecord
	}
	return value[sumSize:], nil
}

// credential is a record of the credentials bucket with all that is kept.
type credential struct {
	Holder   uint64
	Format   string
	Last2    string
	State    site.CredentialState
	Function site.Function
	ADA      bool
	Uses     uint32
	From     time.Time
	Until    time.Time
	Levels   []site.LevelID
	Rights   []site.Right
	PIN      [16]byte // keyed hash; zero: none
	Duress   [16]byte
	// Alone and AloneDuress are keyed hashes over the PIN alone; zero: it does
	// not open without a card. There is no AloneDuress without Alone.
	Alone       [16]byte
	AloneDuress [16]byte
}

// Limits of one record. They bound the decoder.
const (
	maxRights = 1024
	maxLevels = 64
)

const (
	credentialVersion = 1

	flagFrom   = 1 << 0
	flagUntil  = 1 << 1
	flagLast2  = 1 << 2
	flagUses   = 1 << 3
	flagPIN    = 1 << 4
	flagDuress = 1 << 5
	flagADA    = 1 << 6
	flagAlone  = 1 << 7 // schema 2
)

// appendCredential appends the payload of c. Times are kept to the second.
func appendCredential(dst []byte, c *credential) []byte {
	var flags byte
	set := func(on bool, f byte) {
		if on {
			flags |= f
		}
	}
	set(!c.From.IsZero(), flagFrom)
	set(!c.Until.IsZero(), flagUntil)
	set(len(c.Last2) == 2, flagLast2)
	set(c.Uses != 0, flagUses)
	set(c.PIN != [16]byte{}, flagPIN)
	set(c.Duress != [16]byte{}, flagDuress)
	set(c.ADA, flagADA)
	set(c.Alone != [16]byte{}, flagAlone)
	dst = append(dst, credentialVersion, byte(c.State)|byte(c.Function)<<4, flags)
	dst = binary.AppendUvarint(dst, c.Holder)
	dst = appendText(dst, c.Format)
	if flags&flagLast2 != 0 {
		dst = append(dst, c.Last2...)
	}
	if flags&flagUses != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.Uses))
	}
	if flags&flagFrom != 0 {
		dst = binary.AppendVarint(dst, c.From.Unix())
	}
	if flags&flagUntil != 0 {
		dst = binary.AppendVarint(dst, c.Until.Unix())
	}
	if flags&flagPIN != 0 {
		dst = append(dst, c.PIN[:]...)
	}
	if flags&flagDuress != 0 {
		dst = append(dst, c.Duress[:]...)
	}
	if flags&flagAlone != 0 {
		dst = append(dst, c.Alone[:]...)
		dst = append(dst, c.AloneDuress[:]...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.Levels)))
	for _, l := range c.Levels {
		dst = appendText(dst, string(l))
	}
	return appendRights(dst, c.Rights)
}

func appendRights(dst []byte, rights []site.Right) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(rights)))
	for _, r := range rights {
		dst = appendText(dst, string(r.Door))
		dst = appendText(dst, string(r.Schedule))
	}
	return dst
}

// appendText appends a text of at most 255 bytes; the validation before keeps
// to that, and a longer one is cut rather than spoil the record.
func appendText(dst []byte, s string) []byte {
	if len(s) > 255 {
		s = s[:255]
	}
	return append(append(dst, byte(len(s))), s...)
}

var errShort = errors.New("record ends early")

// decoder reads a payload. The first fault stays and all later reads give
// zeros, so a sequence of reads is checked once at its end.
type decoder struct {
	b   []byte
	in  *interner
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail(errShort)
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) take(n int) []byte {
	if n < 0 || len(d.b) < n {
		d.fail(errShort)
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) count(limit int) int {
	n := d.uvarint()
	if n > uint64(limit) {
		d.fail(fmt.Errorf("count %d is above %d", n, limit))
		return 0
	}
	return int(n)
}

func (d *decoder) text() string {
	b := d.take(int(d.byte()))
	if len(b) == 0 {
		return ""
	}
	return d.in.text(b)
}

func (d *decoder) time() time.Time {
	v := d.varint()
	if v < minUnix || v > maxUnix {
		d.fail(fmt.Errorf("time %d is out of range", v))
		return time.Time{}
	}
	return time.Unix(v, 0).UTC()
}

// The years 1 to 9999, which RFC 3339 can write.
const (
	minUnix = -62135596800 + 1
	maxUnix = 253402300799
)

// end reports the first fault, or that bytes are left over.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) != 0 {
		d.err = fmt.Errorf("%d bytes too many", len(d.b))
	}
	return d.err
}

// decodeCredential is the reverse of appendCredential. It keeps nothing of b.
func decodeCredential(b []byte, in *interner, c *credential) error {
	d := decoder{b: b, in: in}
	if v := d.byte(); v != credentialVersion {
		return fmt.Errorf("credential record version %d is not known", v)
	}
	sf, flags := d.byte(), d.byte()
	*c = credential{State: site.CredentialState(sf & 0x0F), Function: site.Function(sf >> 4), ADA: flags&flagADA != 0}
	if c.State > site.CredentialRevoked || c.Function > site.FunctionBlocked {
		return errors.New("state or function are not known")
	}
	c.Holder = d.uvarint()
	c.Format = d.text()
	if flags&flagLast2 != 0 {
		if l := d.take(2); l != nil {
			c.Last2 = in.text(l)
		}
	}
	if flags&flagUses != 0 {
		n := d.uvarint()
		if n == 0 || n > 1<<32-1 {
			d.fail(fmt.Errorf("uses %d is out of range", n))
		}
		c.Uses = uint32(n)
	}
	if flags&flagFrom != 0 {
		c.From = d.time()
	}
	if flags&flagUntil != 0 {
		c.Until = d.time()
	}
	if flags&flagPIN != 0 {
		copy(c.PIN[:], d.take(16))
	}
	if flags&flagDuress != 0 {
		copy(c.Duress[:], d.take(16))
	}
	if flags&flagAlone != 0 {
		copy(c.Alone[:], d.take(16))
		copy(c.AloneDuress[:], d.take(16))
		if c.Alone == [16]byte{} {
			d.fail(errors.New("an empty hash of a PIN"))
		}
	}
	if n := d.count(maxLevels); n > 0 {
		c.Levels = make([]site.LevelID, n)
		for i := range c.Levels {
			c.Levels[i] = site.LevelID(d.text())
		}
	}
	c.Rights = d.rights()
	return d.end()
}

func (d *decoder) rights() []site.Right {
	n := d.count(maxRights)
	if n == 0 || 2*n > len(d.b) {
		if n != 0 {
			d.fail(errShort)
		}
		return nil
	}
	out := make([]site.Right, n)
	for i := range out {
		out[i] = site.Right{Door: site.DoorID(d.text()), Schedule: site.ScheduleID(d.text())}
	}
	return out
}
