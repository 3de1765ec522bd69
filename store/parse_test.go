package store

// The decoders and the page reader are not visible from outside.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/site"
)

func sampleCredentials() []credential {
	return []credential{
		{State: site.CredentialActive},
		{Holder: 77, Format: "H10301", Last2: "68", State: site.CredentialRevoked, Function: site.FunctionBlocked, ADA: true,
			Uses: 9, From: time.Unix(1, 0).UTC(), Until: time.Unix(maxUnix, 0).UTC(), Levels: []site.LevelID{"a", "b"},
			Rights: []site.Right{{Door: "front"}, {Door: "shed", Schedule: "office"}}, PIN: [16]byte{1}, Duress: [16]byte{2}},
		{State: site.CredentialActive, PIN: [16]byte{1}, Alone: [16]byte{3}},
		{State: site.CredentialActive, PIN: [16]byte{1}, Duress: [16]byte{2}, Alone: [16]byte{3}, AloneDuress: [16]byte{4}},
	}
}

func FuzzCredentialRecord(f *testing.F) {
	for _, c := range sampleCredentials() {
		f.Add(appendCredential(nil, &c))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c, again credential
		if decodeCredential(b, nil, &c) != nil {
			return
		}
		enc := appendCredential(nil, &c)
		if err := decodeCredential(enc, &interner{}, &again); err != nil {
			t.Fatal(err)
		}
		if !cmp.Equal(c, again) {
			t.Fatalf("got %+v, want %+v", again, c)
		}
		if len(enc) > len(b) {
			t.Errorf("%d bytes become %d", len(b), len(enc))
		}
	})
}

func TestCredentialRecord(t *testing.T) {
	for _, want := range sampleCredentials() {
		var got credential
		enc := appendCredential(nil, &want)
		if err := decodeCredential(enc, nil, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		for n := range enc {
			if err := decodeCredential(enc[:n], nil, &got); err == nil {
				t.Errorf("a record cut to %d of %d bytes passes", n, len(enc))
			}
		}
	}
}

func TestRecordCheck(t *testing.T) {
	key, payload := []byte("key"), []byte("payload")
	v := appendValue(nil, codeLevel, key, payload)
	if p, err := openValue(codeLevel, key, v); err != nil || !bytes.Equal(p, payload) {
		t.Fatal(err)
	}
	if _, err := openValue(codeHoliday, key, v); err == nil {
		t.Error("a record of another bucket passes")
	}
	if _, err := openValue(codeLevel, []byte("kez"), v); err == nil {
		t.Error("a record of another key passes")
	}
	for i := range v {
		bad := bytes.Clone(v)
		bad[i] ^= 1
		if _, err := openValue(codeLevel, key, bad); err == nil {
			t.Errorf("a changed byte %d passes", i)
		}
	}
}

func FuzzSmallRecords(f *testing.F) {
	f.Add(appendHolder(nil, 1, "Ada"))
	f.Add(appendLevel(nil, &site.Level{Name: "L", Rights: []site.Right{{Door: "front"}}}))
	f.Add(appendSchedule(nil, &site.Schedule{Name: "S", Intervals: []site.Interval{{Days: 3, Start: 1, End: 2}}}))
	f.Add(appendHoliday(nil, &site.Holiday{First: site.Date{Year: 2026, Month: 12, Day: 24}, Last: site.Date{Year: 2026, Month: 12, Day: 26}}))
	for v := range uint32(schemaVersion) {
		h := header{Schema: v + 1}
		f.Add(h.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if src, name, err := decodeHolder(b); err == nil && !bytes.Equal(appendHolder(nil, src, name), b) {
			t.Error("holder changes")
		}
		var l site.Level
		_ = decodeLevel(b, nil, &l)
		var s site.Schedule
		if decodeSchedule(b, nil, &s) == nil && len(s.Intervals) > maxIntervals {
			t.Error("too many intervals")
		}
		var y site.Holiday
		_ = decodeHoliday(b, nil, &y)
		var h header
		if h.decode(b) == nil && !bytes.Equal(h.encode(), b) {
			t.Error("header changes")
		}
		var d deviceRec
		if d.decode(b) == nil && !bytes.Equal(d.encode(), b) {
			t.Error("device changes")
		}
		_ = eachContent(b, func(byte, []byte, []byte) error { return nil })
	})
}

// policyBytes is the policy file of a small store.
func policyBytes(t testing.TB) []byte {
	dir := t.TempDir()
	s, _, err := Open(Config{Dir: dir}, emptyLog{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		_, err := s.Apply(context.Background(), "t", Change{Source: site.SourceOperator, Ops: []Op{PutHolder{Name: fmt.Sprint("P", i)}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, policyName))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

type emptyLog struct{}

func (emptyLog) Append(context.Context, site.Event) (site.EventSeq, error) { return 1, nil }
func (emptyLog) Last() site.EventSeq                                       { return 0 }
func (emptyLog) MaxChange() uint64                                         { return 0 }
func (emptyLog) Scan(context.Context, site.EventSeq, func(site.Event) error) error {
	return nil
}

// FuzzPages gives the page reader files with a part overwritten: it ends, with
// or without an error, and never takes a wrong record for a right one.
func FuzzPages(f *testing.F) {
	raw := policyBytes(f)
	raw = raw[:min(len(raw), 20*4096)]
	f.Add(0, []byte{1, 2, 3})
	f.Add(4096*3+8, []byte{1, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, at int, patch []byte) {
		file := bytes.Clone(raw)
		if at < 0 || at >= len(file) {
			return
		}
		copy(file[at:], patch)
		r := bytes.NewReader(file)
		m, _, err := readMeta(r, r.Size())
		if err != nil {
			return
		}
		_, _ = inspectTree(context.Background(), r, r.Size(), m)
	})
}

func TestKeyNeverPrints(t *testing.T) {
	text := strings.Repeat("a7", 32)
	k, err := ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "key", k, "in", struct{ K Key }{k})
	j, err := json.Marshal(map[string]any{"k": k, "p": &k})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "%s %v %+v %#v %x %X %q %d", k, k, struct{ K Key }{k}, k, k, k, k, k)
	for _, out := range []string{b.String(), string(j)} {
		if strings.Contains(strings.ToLower(out), "a7a7") || strings.Contains(out, "167 167") {
			t.Errorf("got %s", out)
		}
	}
	if _, err := ParseKey(text + "zz"); err == nil || strings.Contains(err.Error(), "a7a7") {
		t.Errorf("got %v", err)
	}
}

func TestCredentialID(t *testing.T) {
	for src := 1; src < len(sourceCodes); src++ {
		for _, bits := range []int{0, 26, 128} {
			k := makeCredKey([16]byte{0xa4, 0x1f, 0x0c, 9, 8, 7, 6, 5, 4}, byte(src), bits)
			block, s, b, err := parseCredentialID(k.id())
			if err != nil || block != [8]byte(k[:8]) || int(s) != src || b != bits {
				t.Errorf("%s: %v %v %v %v", k.id(), block, s, b, err)
			}
		}
	}
	for _, id := range []site.CredentialID{"", "a", "a41f0c0908070605", "a41f0c0908070605-", "a41f0c0908070605-129", "a41f0c0908070605-26@mars", "zz1f0c0908070605-26"} {
		if _, _, _, err := parseCredentialID(id); err == nil {
			t.Errorf("%q passes", id)
		}
	}
}
