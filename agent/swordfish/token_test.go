package swordfish_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/swordfish"
)

// The published values of engage.md section 1.
const (
	tokenKey    = "112233445566778899aabbccddeeff112233445566778899aabbccddeeff1122"
	tokenSerial = "0000000000000000A060000000002112"
	certHashABC = "zANtLYP0ndzQt/UUHUZmHNJRg4E="
	tokenCipher = "1FF07F20F9FE8539DC2B0183750D5F7E243AC0D0A1165349B7B77FDD267B38CB"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// device makes a header of the text that is in it.
func device(text string) string { return "Device " + base64.StdEncoding.EncodeToString([]byte(text)) }

func TestTokenVectors(t *testing.T) {
	for _, tt := range []struct{ serial, cipher, stamp string }{
		{tokenSerial, tokenCipher, "20200109202500"},
		{"0000000000000000A0B1000000000206", "C0F15939A7F6C51C0360CC5869C5380C7B1DB71E5CE29803636FE6B9205F682D", "20171120154239"},
	} {
		key := unhex(t, tokenKey)
		want := tt.serial + ":" + tt.cipher + ":1"
		at, err := time.Parse("20060102150405", tt.stamp)
		if err != nil {
			t.Fatal(err)
		}
		got, err := swordfish.MakeToken(tt.serial, key, at.In(time.FixedZone("", 3600)))
		if err != nil || got != base64.StdEncoding.EncodeToString([]byte(want)) || len(got) != 132 {
			t.Errorf("made %s, %v, want the base64 of %s", got, err, want)
		}
		for name, text := range map[string]string{
			"as documented": want, "lower case": strings.ToLower(want), "semicolons": strings.ReplaceAll(want, ":", ";"),
		} {
			token, err := swordfish.ParseToken(device(text))
			if err != nil || token.Serial != tt.serial || token.Cipher != [32]byte(unhex(t, tt.cipher)) || token.Version != "1" {
				t.Errorf("%s: %v, %v", name, token, err)
			}
			if when, err := token.Open(key); err != nil || when.Format("20060102150405") != tt.stamp || when.Location() != time.UTC {
				t.Errorf("%s: opened %v, %v", name, when, err)
			}
		}
	}
}

var headers = []struct {
	name, header string
	serial       string // empty: ErrNoSerial
	wantErr      string // empty: none
}{
	{"no header", "", "", "token: the scheme is not Device: names no serial number"},
	{"the scheme alone", "Device", "", "token: names no serial number"},
	{"another scheme", "Basic " + base64.StdEncoding.EncodeToString([]byte(tokenSerial+":"+tokenCipher+":1")), "", "token: the scheme is not Device: names no serial number"},
	{"no base64", "Device ****", "", "token: names no serial number"},
	{"another text", device("hello"), "", "token: names no serial number"},
	{"a serial of 31 digits", device(tokenSerial[1:] + ":" + tokenCipher + ":1"), "", "token: names no serial number"},
	{"a serial of 33 digits", device("0" + tokenSerial + ":" + tokenCipher + ":1"), "", "token: names no serial number"},
	{"a serial of other letters", device("G" + tokenSerial[1:] + ":" + tokenCipher + ":1"), "", "token: names no serial number"},
	{"an empty serial", device(":" + tokenCipher + ":1"), "", "token: names no serial number"},
	{"a header that is too long", device(tokenSerial + ":" + strings.Repeat("0", 1000)), "", "token: header of 1387 characters: names no serial number"},

	{"base64 that breaks off keeps the serial", device(tokenSerial + ":" + tokenCipher + ":1")[:80] + "*", tokenSerial, "token: not base64"},
	{"the serial alone", device(tokenSerial), tokenSerial, "token: 1 fields, want serial, cipher and version"},
	{"four fields", device(tokenSerial + ":" + tokenCipher + ":1:"), tokenSerial, "token: 4 fields, want serial, cipher and version"},
	{"a short cipher", device(tokenSerial + ":" + tokenCipher[2:] + ":1"), tokenSerial, "token: cipher of 62 characters: want 64 hex digits"},
	{"a cipher of other letters", device(tokenSerial + ":x" + tokenCipher[1:] + ":1"), tokenSerial, "token: cipher of 64 characters: want 64 hex digits"},
	{"version 2", device(tokenSerial + ":" + tokenCipher + ":2"), tokenSerial, "token: the version of its security protocol is not known"},

	{"the scheme in capitals, and spaces", "  DEVICE   " + strings.TrimPrefix(device(tokenSerial+":"+tokenCipher+":1"), "Device ") + " ", tokenSerial, ""},
	{"base64 without its padding", strings.TrimRight(device(tokenSerial+":"+tokenCipher+":1"), "="), tokenSerial, ""},
}

func TestParseToken(t *testing.T) {
	for _, tt := range headers {
		t.Run(tt.name, func(t *testing.T) {
			token, err := swordfish.ParseToken(tt.header)
			if msg := fmt.Sprint(err); tt.wantErr != "" && msg != tt.wantErr || tt.wantErr == "" && err != nil {
				t.Errorf("error %v, want %q", err, tt.wantErr)
			}
			if token.Serial != tt.serial || errors.Is(err, swordfish.ErrNoSerial) != (tt.serial == "") {
				t.Errorf("serial %q, %v", token.Serial, err)
			}
		})
	}
}

// seal makes a token of any 32 bytes.
func seal(t *testing.T, plain string) swordfish.Token {
	t.Helper()
	block, err := aes.NewCipher(unhex(t, tokenKey))
	if err != nil {
		t.Fatal(err)
	}
	token := swordfish.Token{Serial: tokenSerial, Version: "1"}
	cipher.NewCBCEncrypter(block, make([]byte, 16)).CryptBlocks(token.Cipher[:], []byte(plain))
	return token
}

func TestOpen(t *testing.T) {
	key, serial := unhex(t, tokenKey), string(unhex(t, tokenSerial))
	good := seal(t, "20200109202500\x00\x00"+serial)
	if at, err := good.Open(key); err != nil || !at.Equal(time.Date(2020, 1, 9, 20, 25, 0, 0, time.UTC)) {
		t.Fatal(at, err)
	}
	other := append([]byte{1}, key[1:]...)
	for _, tt := range []struct {
		name  string
		token swordfish.Token
		key   []byte
		want  error
	}{
		{"another key is told", good, other, swordfish.ErrOtherKey},
		{"no key is an error", good, nil, nil},
		{"a short key is an error", good, key[:16], nil},
		{"another lock's serial is told", seal(t, "20200109202500\x00\x00"+strings.Repeat("x", 16)), key, swordfish.ErrOtherSerial},
		{"letters in the time", seal(t, "2020010920250x\x00\x00"+serial), key, swordfish.ErrOtherKey},
		{"a time that is none", seal(t, "20201309202500\x00\x00"+serial), key, swordfish.ErrOtherKey},
		{"no zeros after the time", seal(t, "20200109202500\x00\x01"+serial), key, swordfish.ErrOtherKey},
		{"an empty token", swordfish.Token{}, key, swordfish.ErrOtherKey},
	} {
		at, err := tt.token.Open(tt.key)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !at.IsZero() {
			t.Errorf("%s: %v, %v", tt.name, at, err)
		}
	}
}

func TestMakeTokenRefuses(t *testing.T) {
	key, now := unhex(t, tokenKey), time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	for name, make := range map[string]func() (string, error){
		"a short serial": func() (string, error) { return swordfish.MakeToken(tokenSerial[1:], key, now) },
		"a short key":    func() (string, error) { return swordfish.MakeToken(tokenSerial, key[1:], now) },
		"the year 10000": func() (string, error) { return swordfish.MakeToken(tokenSerial, key, now.AddDate(8000, 0, 0)) },
	} {
		if token, err := make(); err == nil {
			t.Errorf("%s: %s", name, token)
		}
	}
}

func TestTokenIsNotPrinted(t *testing.T) {
	token, err := swordfish.ParseToken(device(tokenSerial + ":" + tokenCipher + ":1"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", token)
	for _, s := range []string{token.String(), string(text), log.String(), fmt.Sprintf("%v %+v %#v %s %q %x %d", token, token, token, token, token, token, token)} {
		if strings.Contains(strings.ToUpper(s), tokenCipher[:8]) || strings.Contains(s, "240") || !strings.Contains(s, tokenSerial) {
			t.Error(s)
		}
	}
}

// The hash of engage.md section 4, as openssl dgst -sha1 -mac HMAC makes it.
func TestCertHash(t *testing.T) {
	got := swordfish.CertHash(unhex(t, tokenKey), []byte("abc"))
	if want := certHashABC; got != want || len(got) != 28 {
		t.Errorf("%s, want %s", got, want)
	}
}

func FuzzParseToken(f *testing.F) {
	for _, tt := range headers {
		f.Add(tt.header)
	}
	f.Add(device(strings.ToLower(tokenSerial + ";" + tokenCipher + ";1")))
	f.Fuzz(func(t *testing.T, s string) {
		token, err := swordfish.ParseToken(s)
		if (token.Serial == "") != errors.Is(err, swordfish.ErrNoSerial) {
			t.Fatalf("serial %q, %v", token.Serial, err)
		}
		if token.Serial != "" && (len(token.Serial) != 32 || strings.Trim(token.Serial, "0123456789ABCDEF") != "") {
			t.Fatalf("serial %q", token.Serial)
		}
		if err != nil {
			return
		}
		again, err := swordfish.ParseToken(device(token.Serial + ":" + hex.EncodeToString(token.Cipher[:]) + ":" + token.Version))
		if err != nil || again != token {
			t.Errorf("again: %v, %v", again, err)
		}
		_, _ = token.Open(unhex(t, tokenKey)) // whatever it holds
	})
}
