package lock_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/agent/app"
	settings "gatehouse/agent/config"
	"gatehouse/agent/control"
	"gatehouse/agent/site"
	"gatehouse/hal/haltest"
	"gatehouse/tools/sitesim/lock"
)

// wholeSettings is a site with two Wi-Fi locks, one on a serial line, and a door.
const wholeSettings = `version: 1
site: {name: Test, timezone: Europe/Berlin, key_file: sitekey}
device: {serial: "0000000000000000A0B1000000000206", board: sim}
state_dir: .
listen: {https: "127.0.0.1:0", devices: "127.0.0.1:0"}
doors:
  - {id: front, strike: {line: GPIO24, active: high, unlock: 2s, fail: secure}}
locks:
  - {id: room5, name: Room 5, serial: "0000000000000000A100000000002479", model: nde}
  - {id: room6, serial: "0000000000000000A100000000002480", model: le}
  - {id: vault, serial: "0000000000000000A100000000003FA7", model: nde, port: /dev/line1, hive_device: vault}
hive:
  devices: [{name: vault, key_file: vault.key, versions: [2]}]
gateway: {local: true}
`

const vaultKey = "00112233445566778899aabbccddeeff"

// whole is an agent as a whole, and its locks.
type whole struct {
	t      *testing.T
	dir    string
	board  *haltest.Board
	ports  *haltest.Ports
	clock  *haltest.Clock
	port   *haltest.Device // the locks' end of the serial line
	app    *app.App
	client *control.Client
	stop   func()

	room5, room6, vault *lock.Lock
	line                *lock.Device
}

func newWhole(t *testing.T) *whole {
	t.Helper()
	dir, err := os.MkdirTemp("", "gh") // t.TempDir's paths may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &whole{t: t, dir: dir, board: &haltest.Board{}, ports: &haltest.Ports{}, clock: &haltest.Clock{}}
	w.clock.Set(time.Now())
	w.clock.SetSynchronised(true)
	w.port = w.ports.Add("/dev/line1")
	for name, text := range map[string]string{"site.yaml": wholeSettings, "vault.key": vaultKey, "sitekey": siteKeyHex} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	named := func(serial string) *lock.Lock {
		return lock.New(lock.Config{Serial: serial, SiteKey: unhex(t, siteKeyHex), Zone: zone})
	}
	w.room5, w.room6, w.vault = named("0000000000000000A100000000002479"), named("0000000000000000A100000000002480"), named("0000000000000000A100000000003FA7")
	w.start()
	return w
}

// start runs the agent until the test ends or stop is called.
func (w *whole) start() {
	w.t.Helper()
	cfg, issues, err := settings.Load(filepath.Join(w.dir, "site.yaml"), settings.Options{Parts: settings.AllParts()})
	if err == nil {
		err = settings.Err(issues)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if w.app, err = app.New(cfg, app.Hardware{Board: w.board, Ports: w.ports, Clock: w.clock}, app.Options{Version: "test", Issues: issues}); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.app.Run(ctx) }()
	running := true
	w.stop = func() {
		if !running {
			return
		}
		running = false
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("run: %v", err)
		}
	}
	w.t.Cleanup(w.stop)
	select {
	case <-w.app.Ready():
	case err := <-ended:
		w.t.Fatalf("run: %v", err)
	case <-time.After(20 * time.Second):
		w.t.Fatal("not ready")
	}
	w.client = control.Dial(filepath.Join(w.dir, "control.sock"))
}

// hang hangs the vault on the line: it calls when it is told to.
func (w *whole) hang() {
	due := make(chan struct{}, 1)
	line := lock.NewLine(w.port)
	w.line = line.Add(lock.DeviceConfig{Name: "vault", Key: unhex(w.t, vaultKey), Clock: w.clock.Now, OnDue: func() {
		select {
		case due <- struct{}{}:
		default:
		}
	}}, w.vault)
	ctx, cancel := context.WithCancel(context.Background())
	ended, called := make(chan error, 1), make(chan struct{})
	go func() { ended <- line.Run(ctx) }()
	go func() {
		defer close(called)
		for {
			select {
			case <-ctx.Done():
				return
			case <-due:
				_, _ = w.vault.CallIn(ctx, w.line, w.clock.Now()) // it is told again
			}
		}
	}()
	w.t.Cleanup(func() {
		cancel()
		w.port.Unplug()
		<-ended
		<-called
	})
}

// wifi is a lock's way over the plain listener, wifiTLS over HTTPS.
func (w *whole) wifi(l *lock.Lock) *lock.HTTPCaller {
	return w.caller(l.Serial(), "http://"+w.app.Addresses()["devices"], nil)
}

func (w *whole) wifiTLS(l *lock.Lock) *lock.HTTPCaller {
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // the site's own certificate
	w.t.Cleanup(client.CloseIdleConnections)
	return w.caller(l.Serial(), "https://"+w.app.Addresses()["https"], client)
}

func (w *whole) caller(serial, base string, client *http.Client) *lock.HTTPCaller {
	h := lock.HTTP(base, client, serial, unhex(w.t, siteKeyHex))
	h.Clock = w.clock.Now
	return h
}

// call lets a lock call, which must go through.
func (w *whole) call(l *lock.Lock, c lock.Caller) lock.Result {
	w.t.Helper()
	res, err := l.CallIn(w.t.Context(), c, w.clock.Now())
	if err != nil {
		w.t.Fatalf("lock %s: %v", l.Serial(), err)
	}
	return res
}

// ask asks the control socket for something that it must do.
func (w *whole) ask(method, path string, in, out any) {
	w.t.Helper()
	if err := w.client.Do(w.t.Context(), method, path, in, out); err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// refused asks for something that must be refused with a text.
func (w *whole) refused(text, method, path string, in any) {
	w.t.Helper()
	err := w.client.Do(w.t.Context(), method, path, in, nil)
	if err == nil || !strings.Contains(err.Error(), text) {
		w.t.Errorf("%s %s: %v, want %q in it", method, path, err, text)
	}
}

// give gives a new card of facility 77 rights, as in room5@office.
func (w *whole) give(number int, rights string) site.CredentialID {
	w.t.Helper()
	var out control.CredentialView
	w.ask("POST", "/v1/credentials", map[string]any{"holder": fmt.Sprint("person ", number), "format": "H10301", "facility": 77, "card": number, "rights": rights}, &out)
	return out.ID
}

// opens holds a card of facility 77 at a copy of a lock.
func (w *whole) opens(l *lock.Lock, digits string) bool {
	w.t.Helper()
	return l.Clone().Present(block(w.t, digits, 26), w.clock.Now())
}

func (w *whole) book() (b control.LockBook) {
	w.t.Helper()
	w.ask("GET", "/v1/locks", nil, &b)
	return b
}

func (w *whole) status(id site.DoorID) control.LockStatus {
	w.t.Helper()
	for _, l := range w.book().Locks {
		if l.ID == id {
			return l
		}
	}
	w.t.Fatalf("no lock %s", id)
	return control.LockStatus{}
}

// audits returns the events of what a lock told.
func (w *whole) audits(id site.DoorID) (out []site.Event) {
	w.t.Helper()
	err := w.client.Stream(w.t.Context(), http.MethodGet, "/v1/events", url.Values{"kind": {string(site.KindLockAudit)}}, nil, func(line []byte) error {
		e, err := eventOf(line)
		if e.Door == id {
			out = append(out, e)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// soon polls until ok, for as long as a time says.
func soon(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, within)
		}
	}
}

// host asks the gateway's resources over local HTTPS with a token.
func (w *whole) host(token, method, path, body string) (int, string) {
	w.t.Helper()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(w.t.Context(), method, "https://"+w.app.Addresses()["https"]+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(out)
}
