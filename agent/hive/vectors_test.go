package hive_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/agent/hive"
)

// vectors is testdata/hive.json: what the Perl server computed and answered.
type vectors struct {
	Vectors []struct {
		ID            string
		Payload       string
		KeyHex        string `json:"key_hex"`
		Expected      *string
		CanonicalHex  string `json:"canonical_hex"`
		OtherEncoders []struct {
			Encoder, Canonical, Checksum string
		} `json:"other_encoders"`
	}
	Replies []struct {
		ID            string
		Device        string
		KeyHex        string `json:"key_hex"`
		Body          string
		DataCanonical string `json:"data_canonical"`
		Verifies      bool   `json:"checksum_verifies"`
	}
}

func loadVectors(t testing.TB) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("testdata/hive.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Vectors) != 24 || len(v.Replies) != 10 {
		t.Fatalf("testdata has %d vectors and %d replies", len(v.Vectors), len(v.Replies))
	}
	return v
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// latin1 is the naive form of what the Perl server hashes.
func latin1(t testing.TB, utf8 []byte) []byte {
	t.Helper()
	var out []byte
	for _, r := range string(utf8) {
		if r > 0xFF {
			t.Fatalf("%q has no Latin-1 form", utf8)
		}
		out = append(out, byte(r))
	}
	return out
}

func TestVectors(t *testing.T) {
	// What other encoders hash is accepted where it is the members' own text
	// re-ordered, or the canonical form in UTF-8. These are neither: they
	// rewrite numbers, or change a value's type.
	foreign := []string{
		"float-exp/decode JSON::PP + encode JSON::PP",
		"float-exp/Python json.dumps sort_keys ensure_ascii=True (old Hive13 client)",
		"float-exp/Python json.dumps ensure_ascii=False, UTF-8",
		"float-exp/Go json.Unmarshal->any->json.Marshal (default)",
		"int-over-64/decode JSON::PP + encode JSON::PP",
		"int-over-64/Go json.Unmarshal->any->json.Marshal (default)",
		"version-string/decode Cpanel + encode JSON::PP",
		"version-string/decode JSON::PP + encode JSON::PP",
		// The payload held the character itself, this encoder an escape.
		"high-key-latin1/Python json.dumps sort_keys ensure_ascii=True (old Hive13 client)",
	}
	for _, v := range loadVectors(t).Vectors {
		t.Run(v.ID, func(t *testing.T) {
			key := unhex(t, v.KeyHex)
			data, err := hive.Parse([]byte(v.Payload))
			if err != nil {
				t.Fatal(err)
			}
			if v.Expected != nil {
				canonical := latin1(t, hive.Canonical(data))
				if diff := cmp.Diff(string(unhex(t, v.CanonicalHex)), string(canonical)); diff != "" {
					t.Errorf("canonical (-want +got):\n%s", diff)
				}
				if got := hive.Checksum(key, canonical); got != *v.Expected {
					t.Errorf("checksum %s, want %s", got, *v.Expected)
				}
				refuseAllBut(t, key, data, *v.Expected)
			}
			for _, o := range v.OtherEncoders {
				want := !slices.Contains(foreign, v.ID+"/"+o.Encoder)
				if got := hive.Verify(key, data, o.Checksum); got != want {
					t.Errorf("%s: verified %v, want %v", o.Encoder, got, want)
				}
			}
		})
	}
}

// refuseAllBut checks that sum verifies in any case, and nothing near it does.
func refuseAllBut(t *testing.T, key []byte, data hive.Value, sum string) {
	t.Helper()
	for _, s := range []string{sum, strings.ToLower(sum), strings.ToLower(sum[:7]) + sum[7:]} {
		if !hive.Verify(key, data, s) {
			t.Errorf("%.16s…: refused", s)
		}
	}
	flipped := "0"
	if sum[127] == '0' {
		flipped = "1"
	}
	for _, s := range []string{"", sum[:127], sum + "0", sum[:127] + flipped, sum[:127] + "x", strings.Repeat("0", 128), " " + sum[1:]} {
		if hive.Verify(key, data, s) {
			t.Errorf("%q: accepted", s)
		}
	}
	if hive.Verify(append([]byte{0}, key...), data, sum) {
		t.Error("accepted under another key")
	}
}

func TestRecordedReplies(t *testing.T) {
	for _, r := range loadVectors(t).Replies {
		t.Run(r.ID, func(t *testing.T) {
			env, err := hive.ParseReply([]byte(r.Body))
			if r.DataCanonical == "" { // the one unsigned reply
				if err == nil {
					t.Error("an unsigned reply was read as an envelope")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			key := unhex(t, r.KeyHex)
			if env.Data.Raw() != r.DataCanonical || string(hive.Canonical(env.Data)) != r.DataCanonical {
				t.Errorf("data %s, canonical %s, want %s", env.Data.Raw(), hive.Canonical(env.Data), r.DataCanonical)
			}
			if got := env.VerifyReply(key); got != r.Verifies {
				t.Errorf("VerifyReply %v, want %v", got, r.Verifies)
			}
			if !hive.Verify(key, env.Data, env.Checksum) {
				t.Error("Verify refused it")
			}
			// Encoding the same data gives the same bytes, but for the device.
			if got := string(hive.Encode(key, "", env.Data)); got != r.Body {
				t.Errorf("Encode gave %s\nwant %s", got, r.Body)
			}
			tampered := strings.Replace(r.Body, `"version":1`, `"version":2`, 1)
			env, err = hive.ParseReply([]byte(tampered))
			if err != nil || env.VerifyReply(key) {
				t.Errorf("a changed reply: verified, or error %v", err)
			}
		})
	}
}
