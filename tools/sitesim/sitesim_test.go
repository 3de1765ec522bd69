package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestH10301 checks the layout against frames of protocols/wiegand.md.
func TestH10301(t *testing.T) {
	for _, tt := range []struct {
		facility, number uint64
		want             string
	}{
		{77, 1568, "26831000"}, {77, 1570, "26831140"}, {55, 10984, "1b957440"},
		{255, 65535, "7fffffc0"}, {241, 34525, "78c36ec0"}, {45, 18411, "96a3f580"},
	} {
		got, err := h10301(tt.facility, tt.number)
		if err != nil || got != tt.want {
			t.Errorf("%d/%d: %s, %v; want %s", tt.facility, tt.number, got, err, tt.want)
		}
	}
	if _, err := h10301(256, 1); err == nil {
		t.Error("facility 256 was taken")
	}
}

// TestSignKnownAnswer signs what the Hive13 server signed (vectors/hive.json,
// v1-access-location).
func TestSignKnownAnswer(t *testing.T) {
	key := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	r := &hiveReader{key: key}
	data, err := json.Marshal(map[string]any{"operation": "access", "location": "main_door", "badge": 7515388, "random_response": []int{0, 1, 255}})
	if err != nil {
		t.Fatal(err)
	}
	const want = "ECF6596F63F68A00B2CCC4EF4FB68F211C566E2361380233E069BABCCF439B250B91956090FF240DEF8300A536A274C08FF45FDFD15D57880CFE547C23A73F40"
	if got := r.sign(data); got != want {
		t.Errorf("checksum %s, want %s", got, want)
	}
}

// TestReaderRefusesForgedReplies answers a reader with each forgery.
func TestReaderRefusesForgedReplies(t *testing.T) {
	r := &hiveReader{device: "d", key: []byte("0123456789abcdef"), item: "x"}
	reply := func(data map[string]any, sum string) exchange {
		return func(_ context.Context, request []byte) ([]byte, error) {
			var req struct {
				Data struct {
					RandomResponse []int `json:"random_response"`
				} `json:"data"`
			}
			if err := json.Unmarshal(request, &req); err != nil {
				return nil, err
			}
			if _, ok := data["random_response"]; !ok {
				data["random_response"] = req.Data.RandomResponse
			}
			b, err := json.Marshal(data)
			if sum == "" {
				sum = r.sign(b)
			}
			return []byte(`{"data":` + string(b) + `,"checksum":"` + sum + `"}`), err
		}
	}
	for _, tt := range []struct {
		name, want string
		talk       exchange
	}{
		{"wrong checksum", "wrong checksum", reply(map[string]any{"response": true}, strings.Repeat("0", 128))},
		{"another challenge", "random_response", reply(map[string]any{"random_response": make([]int, 16)}, "")},
		{"unsigned", "unsigned reply", func(context.Context, []byte) ([]byte, error) { return []byte(`{"response":true}`), nil }},
		{"no answer", "cut", func(context.Context, []byte) ([]byte, error) { return nil, errors.New("cut") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.talk, r.nonce = tt.talk, ""
			if _, err := r.access(t.Context(), 1, 2); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// TestOverLine talks over a real pseudo-terminal.
func TestOverLine(t *testing.T) {
	link := filepath.Join(t.TempDir(), "tty")
	master, err := openPTY(link)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	far, err := os.OpenFile(link, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	go func() {
		buf := make([]byte, 256)
		n, err := far.Read(buf)
		if err == nil {
			far.Write(append(bytes.ToUpper(buf[:n-1]), '\n'))
		}
	}()
	got, err := overLine(master)(t.Context(), []byte("hello"))
	if err != nil || string(got) != "HELLO\n" {
		t.Errorf("answer %q, %v", got, err)
	}
}

// TestOverHTTP posts one line as JSON.
func TestOverHTTP(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s with %q", r.Method, r.Header.Get("Content-Type"))
		}
		w.Write([]byte("{}"))
	}))
	defer s.Close()
	if got, err := overHTTP(s.URL)(t.Context(), []byte("{}")); err != nil || string(got) != "{}" {
		t.Errorf("answer %q, %v", got, err)
	}
}

// TestWorldFaults names what is wrong with a site file.
func TestWorldFaults(t *testing.T) {
	dir := t.TempDir()
	if _, err := loadWorld(dir); err == nil || !strings.Contains(err.Error(), "sitesim.json") {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sitesim.json"), []byte(`{"borad":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadWorld(dir); err == nil || !strings.Contains(err.Error(), "borad") {
		t.Errorf("unknown member: %v", err)
	}
}
