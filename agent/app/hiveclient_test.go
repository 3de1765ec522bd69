package app_test

import (
	"bufio"
	"bytes"
	"crypto/sha512"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/hal/haltest"
)

// kioskKey is the key of the device kiosk: the characters of its file.
const kioskKey = "text:sixteen letters!"

// hiveClient is a small Hive device with a codec of its own, so that it shares
// no mistake with the agent's (hive.md, Envelope). Its data is ASCII text and
// integers only, of which json.Marshal's sorted form is the canonical one.
type hiveClient struct {
	t      *testing.T
	device string
	key    []byte
	// post sends one request and returns the reply and its HTTP status, 0 on a
	// line.
	post func(request []byte) ([]byte, int)
}

// hive returns a device on the plain listener.
func (r *running) hive(device, key string) *hiveClient {
	return r.hiveAt(device, key, "http://"+r.app.Addresses()["devices"])
}

// hiveTLS returns a device on the HTTPS listener.
func (r *running) hiveTLS(device, key string) *hiveClient {
	return r.hiveAt(device, key, "https://"+r.app.Addresses()["https"])
}

func (r *running) hiveAt(device, key, base string) *hiveClient {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	r.t.Cleanup(client.CloseIdleConnections)
	c := newHiveClient(r.t, device, key)
	c.post = func(request []byte) ([]byte, int) {
		r.t.Helper()
		resp, err := client.Post(base+"/api/access", "application/json", bytes.NewReader(request))
		if err != nil {
			r.t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			r.t.Fatal(err)
		}
		return answer, resp.StatusCode
	}
	return c
}

// hiveLine returns a device on a serial line.
func (s *testSite) hiveLine(device, key string, port *haltest.Device) *hiveClient {
	lines := make(chan []byte, 16)
	go func() { // ends when the port is unplugged
		in := bufio.NewReader(port)
		for {
			line, err := in.ReadBytes('\n')
			if err != nil {
				close(lines)
				return
			}
			if bytes.Contains(line, []byte(`"checksum"`)) { // else it is about noise
				lines <- line
			}
		}
	}()
	s.t.Cleanup(port.Unplug)
	c := newHiveClient(s.t, device, key)
	c.post = func(request []byte) ([]byte, int) {
		s.t.Helper()
		if _, err := port.Write(append(request, '\n')); err != nil {
			s.t.Fatal(err)
		}
		select {
		case line, ok := <-lines:
			if !ok {
				s.t.Fatal("the line is closed")
			}
			return line, 0
		case <-time.After(5 * time.Second):
			s.t.Fatal("no answer on the line within 5 s")
		}
		return nil, 0
	}
	return c
}

func newHiveClient(t *testing.T, device, key string) *hiveClient {
	c := &hiveClient{t: t, device: device}
	if text, ok := strings.CutPrefix(key, "text:"); ok {
		c.key = []byte(text)
		return c
	}
	var err error
	if c.key, err = hex.DecodeString(key); err != nil {
		t.Fatal(err)
	}
	return c
}

// envelope makes a signed request.
func (c *hiveClient) envelope(data map[string]any) []byte {
	c.t.Helper()
	canonical, err := json.Marshal(data)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.wrap(canonical, c.sign(canonical))
}

func (c *hiveClient) wrap(data []byte, checksum string) []byte {
	return fmt.Appendf(nil, `{"device":%q,"data":%s,"checksum":%q}`, c.device, data, checksum)
}

func (c *hiveClient) sign(canonical []byte) string {
	sum := sha512.Sum512(append(bytes.Clone(c.key), canonical...))
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// send signs, sends, and checks the reply as a device does.
func (c *hiveClient) send(data map[string]any) map[string]any {
	c.t.Helper()
	challenge := []any{float64(1), float64(200), float64(255)}
	data["random_response"] = challenge
	reply := c.raw(c.envelope(data))
	if fmt.Sprint(reply["random_response"]) != fmt.Sprint(challenge) {
		c.t.Fatalf("random_response %v", reply["random_response"])
	}
	return reply
}

// raw sends a request as it is and returns the data of its signed reply.
func (c *hiveClient) raw(request []byte) map[string]any {
	c.t.Helper()
	answer, status := c.post(request)
	if status != 0 && status != http.StatusOK {
		c.t.Fatalf("status %d: %s", status, answer)
	}
	var env struct {
		Data     json.RawMessage `json:"data"`
		Checksum string          `json:"checksum"`
	}
	if err := json.Unmarshal(answer, &env); err != nil {
		c.t.Fatalf("reply %s: %v", answer, err)
	}
	if env.Checksum != c.sign(env.Data) {
		c.t.Fatalf("reply %s: its checksum is wrong", answer)
	}
	var out map[string]any
	if err := json.Unmarshal(env.Data, &out); err != nil {
		c.t.Fatal(err)
	}
	return out
}

// fetchNonce returns the nonce that the next version-2 packet must carry.
func (c *hiveClient) fetchNonce() string {
	c.t.Helper()
	nonce, _ := c.send(map[string]any{"version": 2, "operation": "get_nonce"})["new_nonce"].(string)
	if len(nonce) != 32 {
		c.t.Fatalf("nonce %q", nonce)
	}
	return nonce
}

// ask2 asks in version 2 for an item with a badge.
func (c *hiveClient) ask2(item string, badge int, nonce string) map[string]any {
	c.t.Helper()
	return c.send(map[string]any{"version": 2, "operation": "access", "item": item, "badge": badge, "nonce": nonce})
}

// ask1 asks in version 1.
func (c *hiveClient) ask1(item string, badge int) map[string]any {
	c.t.Helper()
	return c.send(map[string]any{"operation": "access", "item": item, "badge": badge})
}
