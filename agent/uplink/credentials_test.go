package uplink_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/uplink"
)

const testKey = "112233445566778899aabbccddeeff112233445566778899aabbccddeeff1122"

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func serial(tb testing.TB, text string) uplink.Serial {
	tb.Helper()
	s, err := uplink.ParseSerial(text)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// TestTokenKnownAnswers has the vendor's published values (engage.md, 1).
func TestTokenKnownAnswers(t *testing.T) {
	key := uplink.SiteKey(unhex(t, testKey))
	for _, tt := range []struct{ stamp, serial, cipher string }{
		{"20200109202500", "0000000000000000A060000000002112", "1FF07F20F9FE8539DC2B0183750D5F7E243AC0D0A1165349B7B77FDD267B38CB"},
		{"20171120154239", "0000000000000000A0B1000000000206", "C0F15939A7F6C51C0360CC5869C5380C7B1DB71E5CE29803636FE6B9205F682D"},
	} {
		at, err := time.Parse("20060102150405", tt.stamp)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := uplink.NewToken(key, serial(t, tt.serial), at)
		if err != nil {
			t.Fatal(err)
		}
		body := tok.Encode()
		want := base64.StdEncoding.EncodeToString([]byte(tt.serial + ":" + tt.cipher + ":1"))
		if body != want || len(body) != 132 {
			t.Errorf("%s: body %s (%d), want %s", tt.stamp, body, len(body), want)
		}
		for name, form := range map[string]string{
			"as sent":    want,
			"lower hex":  base64.StdEncoding.EncodeToString([]byte(strings.ToLower(tt.serial + ":" + tt.cipher + ":1"))),
			"semicolons": base64.StdEncoding.EncodeToString([]byte(tt.serial + ";" + tt.cipher + ";1")),
			"line end":   want + "\r\n",
		} {
			got, err := uplink.ParseToken(form)
			if err != nil || got != tok {
				t.Errorf("%s, %s: %v, %v", tt.stamp, name, got, err)
				continue
			}
			if when, err := got.Open(key, time.UTC); err != nil || !when.Equal(at) {
				t.Errorf("%s, %s: opened %v, %v", tt.stamp, name, when, err)
			}
		}
	}
}

func TestTokenRefused(t *testing.T) {
	key := uplink.SiteKey(unhex(t, testKey))
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	sn, hx := strings.Repeat("0", 32), strings.Repeat("0", 64)
	for _, tt := range []struct{ name, body, want string }{
		{"empty", "", "0 fields"},
		{"no base64", "***", "not base64"},
		{"huge", strings.Repeat("A", 600), "at most 512"},
		{"two fields", b64(sn + ":" + hx), "2 fields"},
		{"short serial", b64("00:" + hx + ":1"), "serial number of 2"},
		{"short cipher", b64(sn + ":00:1"), "cipher of 2"},
		{"version", b64(sn + ":" + hx + ":2"), `security version "2"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := uplink.ParseToken(tt.body); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	tok, err := uplink.NewToken(key, serial(t, "0000000000000000A060000000002112"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tok.Open(make(uplink.SiteKey, 32), time.UTC); err == nil || !strings.Contains(err.Error(), "another site key") {
		t.Errorf("another key: %v", err)
	}
	tok.Serial[15]++
	if _, err := tok.Open(key, time.UTC); err == nil || !strings.Contains(err.Error(), "differ") {
		t.Errorf("another serial outside: %v", err)
	}
	if _, err := tok.Open(key[:16], time.UTC); err == nil {
		t.Error("a short key opens a token")
	}
	if _, err := uplink.NewToken(key[:16], tok.Serial, time.Now()); err == nil {
		t.Error("a short key makes a token")
	}
	if _, err := uplink.NewToken(key, tok.Serial, time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)); err == nil {
		t.Error("a year of five digits makes a token")
	}
}

func TestParsePassword(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, tt := range []struct {
		name, in string
		ok       bool
	}{
		{"empty", "", false},
		{"JSON", `{"pwd":"` + good + `"}`, false},
		{"31 bytes", base64.StdEncoding.EncodeToString(make([]byte, 31)), false},
		{"no padding", strings.TrimRight(good, "="), false},
		{"as it is", good, true},
		{"line end", good + "\r\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := uplink.ParsePassword([]byte(tt.in))
			if (err == nil) != tt.ok || tt.ok && string(p) != good {
				t.Errorf("got %q, %v", string(p), err)
			}
			if err != nil && tt.in != "" && strings.Contains(err.Error(), tt.in) {
				t.Errorf("the error shows the answer: %v", err)
			}
		})
	}
}

func TestSerial(t *testing.T) {
	s := serial(t, "0000000000000000a0b1000000000206")
	if s.String() != "0000000000000000A0B1000000000206" || s.DeviceID() != "a0b1000000000206" {
		t.Errorf("%s, %s", s, s.DeviceID())
	}
	for _, bad := range []string{"", "00", strings.Repeat("g", 32), strings.Repeat("0", 34)} {
		if _, err := uplink.ParseSerial(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	key := uplink.SiteKey(unhex(t, testKey))
	pw := uplink.Password("s3cretsecret")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", key, "pw", pw, "cfg", uplink.Config{Key: key})
	kt, err := key.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	pt, err := pw.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %x %d %#v %+v %s %v %x %#v %q %s %s", key, key, key, key, uplink.Config{Key: key}, kt, pw, pw, pw, pw, pt, log.String())
	for _, leak := range []string{"112233", "17 34", "s3cret", "733363", "ESIz"} {
		if strings.Contains(all, leak) {
			t.Errorf("%s is in %s", leak, all)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	key := uplink.SiteKey(unhex(f, testKey))
	tok, err := uplink.NewToken(key, uplink.Serial{1}, time.Unix(0, 0).UTC())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tok.Encode())
	f.Add(base64.StdEncoding.EncodeToString([]byte("a;b;1")))
	f.Fuzz(func(t *testing.T, body string) {
		tok, err := uplink.ParseToken(body)
		if err != nil {
			return
		}
		if again, err := uplink.ParseToken(tok.Encode()); err != nil || again != tok {
			t.Errorf("%v became %v, %v", tok, again, err)
		}
		if _, err := tok.Open(key, time.UTC); err == nil && !strings.Contains(body, "=") && len(body) < 128 {
			t.Errorf("a token of %d characters opens", len(body))
		}
	})
}

func FuzzParsePassword(f *testing.F) {
	f.Add([]byte(base64.StdEncoding.EncodeToString(make([]byte, 32))))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := uplink.ParsePassword(b)
		if (err == nil) != (len(p) == 44) {
			t.Errorf("%d characters, %v", len(p), err)
		}
	})
}
