package certs_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/certs"
	"gatehouse/certs/certstest"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func siteKey(tb testing.TB) certs.Key {
	return unhex(tb, "112233445566778899aabbccddeeff112233445566778899aabbccddeeff1122")
}

func TestHash(t *testing.T) {
	// openssl dgst -sha1 -mac HMAC -macopt hexkey:1122… -binary | base64
	const want = "Un7fBWhjUBBM+C26V4uK/2xTb2Y="
	file := []byte("hello certificate")
	if got := certs.Hash(siteKey(t), file); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := certs.CheckHash(siteKey(t), file, want); err != nil {
		t.Error(err)
	}
	if err := certs.CheckHash(siteKey(t), file[1:], want); !errors.Is(err, certs.ErrHash) {
		t.Errorf("another file: %v", err)
	}
}

func TestQuery(t *testing.T) {
	serial := [16]byte(unhex(t, "fbefbe00000000000000000000000206"))
	const b64 = "++++AAAAAAAAAAAAAAACBg=="
	want := certs.Query{Serial: serial, HashType: "primary", Version: "2"}
	if got := want.Encode(); got != "serialNumber="+b64+"&hashType=primary&v=2" {
		t.Errorf("encoded %s", got)
	}
	for _, tt := range []struct {
		name, raw string
		want      certs.Query
		err       string
	}{
		{"nothing", "", certs.Query{}, "serialNumber is missing"},
		{"short", "serialNumber=AAAA", certs.Query{}, "not the base64 form of 16 bytes"},
		{"bad escape", "serialNumber=%zz", certs.Query{}, "serialNumber: "},
		{"huge", "serialNumber=" + strings.Repeat("A", 20000), certs.Query{}, "at most"},
		{"as it is", want.Encode(), want, ""},
		{"escaped", "serialNumber=" + url.QueryEscape(b64) + "&hashType=primary&v=2", want, ""},
		{"plus became space", "serialNumber=" + strings.ReplaceAll(b64, "+", "%20") + "&hashType=primary&v=2", want, ""},
		{"no padding", "serialNumber=" + strings.TrimRight(b64, "="), certs.Query{Serial: serial}, ""},
		{"other order", "v=2&x=1&hashType=primary&serialNumber=" + b64, want, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := certs.ParseQuery(tt.raw)
			if !matches(err, tt.err) || got != tt.want {
				t.Errorf("got %+v, %v; want %+v, %q", got, err, tt.want, tt.err)
			}
		})
	}
}

func matches(err error, want string) bool {
	if err == nil || want == "" {
		return err == nil && want == ""
	}
	return strings.Contains(err.Error(), want)
}

func TestParseAnswer(t *testing.T) {
	const hash = "Un7fBWhjUBBM+C26V4uK/2xTb2Y="
	for _, tt := range []struct {
		name, in string
		want     certs.Answer
		err      string
	}{
		{"empty", "", certs.Answer{}, "not understood"},
		{"no JSON", "OK", certs.Answer{}, "not understood"},
		{"array", "[]", certs.Answer{}, "not understood"},
		{"number", `{"cert_url":1}`, certs.Answer{}, "not understood"},
		{"no url", `{"hash":"` + hash + `"}`, certs.Answer{}, "cert_url is missing"},
		{"long url", `{"cert_url":"http://h/` + strings.Repeat("x", 2048) + `","hash":"` + hash + `"}`, certs.Answer{}, "more than 2048 characters"},
		{"bad url", `{"cert_url":"http://[","hash":"` + hash + `"}`, certs.Answer{}, "cert_url"},
		{"no hash", `{"cert_url":"http://h/c"}`, certs.Answer{}, "hash has 0 characters"},
		{"the example server's slip", `{"cert_url":"http://h/c","hash":"0d6807e6dbac61481a8ff8b0dce95998"}`, certs.Answer{}, "hash has 32 characters"},
		{"28 characters that are none", `{"cert_url":"http://h/c","hash":"----------------------------"}`, certs.Answer{}, "want the 28"},
		{"huge", strings.Repeat(" ", certs.MaxAnswer) + "{}", certs.Answer{}, "more than"},
		{"documented", `{"cert_url":"http://h/c","hash":"` + hash + `"}`, certs.Answer{CertURL: "http://h/c", Hash: hash}, ""},
		{"escaped slashes, white space, more members", "\xef\xbb\xbf{\"x\":[1],\"cert_url\":\" http:\\/\\/h\\/c\\n\",\"hash\":\"" + hash + "\\r\\n\"}\n", certs.Answer{CertURL: "http://h/c", Hash: hash}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := certs.ParseAnswer([]byte(tt.in))
			if !matches(err, tt.err) || got != tt.want {
				t.Errorf("got %+v, %v; want %+v, %q", got, err, tt.want, tt.err)
			}
			if err != nil && !errors.Is(err, certs.ErrAnswer) {
				t.Errorf("%v is not ErrAnswer", err)
			}
		})
	}
	a := certs.Answer{CertURL: "http://h/c?a=1&b=<2>", Hash: hash}
	if got, want := string(a.Encode()), `{"cert_url":"http://h/c?a=1&b=<2>","hash":"`+hash+`"}`; got != want {
		t.Errorf("encoded %s, want %s", got, want)
	}
}

func TestParseFile(t *testing.T) {
	ca := certstest.NewCA(t, "root")
	two := slices.Concat(ca.Cert.Raw, ca.Cert.Raw)
	for _, tt := range []struct {
		name string
		in   []byte
		want int
		err  string
	}{
		{"empty", nil, 0, "0 certificates"},
		{"text", []byte("hello"), 0, "not understood"},
		{"PEM", []byte("-----BEGIN CERTIFICATE-----"), 0, "it is PEM"},
		{"cut", ca.Cert.Raw[:50], 0, "not understood"},
		{"trailing", append(slices.Clone(ca.Cert.Raw), 0), 0, "not understood"},
		{"too many", bytes.Repeat(ca.Cert.Raw, certs.MaxCerts+1), 0, "17 certificates"},
		{"too large", make([]byte, certs.MaxFile+1), 0, "more than"},
		{"one", ca.Cert.Raw, 1, ""},
		{"two", two, 2, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := certs.ParseFile(tt.in)
			if !matches(err, tt.err) || len(got) != tt.want {
				t.Errorf("got %d, %v; want %d, %q", len(got), err, tt.want, tt.err)
			}
			if err != nil && !errors.Is(err, certs.ErrFile) {
				t.Errorf("%v is not ErrFile", err)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	for _, tt := range []struct {
		name string
		file []byte
		want []string
	}{
		{"elliptic curve", certstest.NewCA(t, "root").Cert.Raw, nil},
		{"RSA 2048", certstest.NewRSACA(t, "root", 2048).Cert.Raw, nil},
		{"RSA 3072", certstest.NewRSACA(t, "root", 3072).Cert.Raw, []string{"CN=root: RSA key of 3072 bits: vendor devices take at most 2048"}},
		{"no DER", []byte("x"), []string{"the certificate file is not understood: x509: malformed certificate"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, certs.Warnings(tt.file)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	large := certstest.NewCA(t, "root", certstest.Padding(4096)).Cert.Raw
	if got := certs.Warnings(large); len(got) != 1 || !strings.Contains(got[0], "take at most 4096") {
		t.Errorf("a file of %d bytes: %q", len(large), got)
	}
}

func TestKeyIsRedacted(t *testing.T) {
	k := siteKey(t)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k, "config", certs.Config{Key: k})
	text, err := k.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %s %x %d %#v %+v %s %s", k, k, k, k, k, certs.Config{Key: k}, text, log.String())
	for _, leak := range []string{"112233", "17 34 51", "ESIz"} {
		if strings.Contains(all, leak) {
			t.Errorf("the key is in %s", all)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte(`{"cert_url":"http://h/c","hash":"Un7fBWhjUBBM+C26V4uK/2xTb2Y="}`))
	f.Add([]byte(`{"cert_url":"http:\/\/h","hash":"0d6807e6dbac61481a8ff8b0dce95998"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := certs.ParseAnswer(b)
		if err != nil {
			return
		}
		again, err := certs.ParseAnswer(a.Encode())
		if err != nil || again != a {
			t.Errorf("%+v became %+v, %v", a, again, err)
		}
	})
}

func FuzzParseQuery(f *testing.F) {
	f.Add("serialNumber=++++AAAAAAAAAAAAAAACBg==&hashType=primary&v=2")
	f.Add("serialNumber=%2B&hashType")
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := certs.ParseQuery(raw)
		if err != nil {
			return
		}
		plain := certs.Query{Serial: q.Serial, HashType: "primary", Version: "2"}
		again, err := certs.ParseQuery(plain.Encode())
		if err != nil || again != plain {
			t.Errorf("%+v became %+v, %v", plain, again, err)
		}
	})
}

func FuzzParseFile(f *testing.F) {
	f.Add(certstest.NewCA(f, "root").Cert.Raw)
	f.Add([]byte("-----BEGIN CERTIFICATE-----"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := certs.ParseFile(b)
		if (err == nil) != (len(list) > 0) {
			t.Errorf("%d certificates, %v", len(list), err)
		}
		_ = certs.Warnings(b)
	})
}
