package engage_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"gatehouse/tools/iphost/engage"
)

func FuzzParseCredentials(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add([]byte(base64.StdEncoding.EncodeToString([]byte(v.Serial + ":" + v.Cipher + ":1"))))
		f.Add([]byte(base64.StdEncoding.EncodeToString([]byte(v.Serial + ";" + v.Cipher + ";2"))))
	}
	k, err := engage.ParseSiteKey(vectors(f)[0].Key)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := engage.ParseCredentials(body)
		if err != nil {
			return
		}
		at, err := s.Open(k)
		if err != nil {
			return
		}
		again, err := engage.ParseCredentials([]byte(engage.Seal(k, s.Serial, at)))
		if err != nil || again != s {
			t.Errorf("sealed again: %v, %v, want %v", again, err, s)
		}
		if engage.Fresh(at, at, nil, time.Second) != true {
			t.Error("not fresh at its own time")
		}
	})
}

func FuzzParseMessage(f *testing.F) {
	f.Add([]byte(auditExample))
	f.Add([]byte(`{"requestId":9,"response":{"status":"200","messageBody":"{}"}}`))
	f.Add([]byte(`{"eventId":1,"event":{"eventType":"Audit","source":"gateway","deviceId":"1","eventBody":{"a":[1,2]}}}`))
	f.Add([]byte(`{"requestId":9,"response":null}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := engage.ParseMessage(frame)
		if err != nil {
			if m.Response != nil || m.Event != nil {
				t.Error("a message and an error")
			}
			return
		}
		if (m.Response == nil) == (m.Event == nil) {
			t.Fatal("not exactly one kind")
		}
		if e := m.Event; e != nil {
			if !json.Valid(e.Body) {
				t.Error("the body is not JSON")
			}
			again, err := engage.ParseMessage(e.Compact)
			if err != nil || !bytes.Equal(again.Event.Compact, e.Compact) || again.Event.EventID != e.EventID || again.Event.Type != e.Type {
				t.Errorf("read again: %v", err)
			}
		}
		if r := m.Response; r != nil && (r.Status < 100 || r.Status > 599) {
			t.Errorf("status %d", r.Status)
		}
	})
}

func FuzzParseRootQuery(f *testing.F) {
	f.Add("serialNumber=AAAAAAAAAACgsQAAAAACBg==&hashType=primary&v=2")
	f.Add("serialNumber=++++++++++++++++++++++==")
	f.Fuzz(func(t *testing.T, raw string) {
		s, err := engage.ParseRootQuery(raw)
		if err != nil {
			return
		}
		again, err := engage.ParseRootQuery("serialNumber=" + base64.StdEncoding.EncodeToString(s[:]) + "&hashType=primary&v=2")
		if err != nil || again != s {
			t.Errorf("%v, %v: want %v", again, err, s)
		}
	})
}
