package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/agent/door"
	"gatehouse/agent/hive"
	"gatehouse/agent/hive/link"
	"gatehouse/agent/site"
	"gatehouse/store"
	"gatehouse/store/spool"
)

const (
	connections  = 16
	constantPath = "/constant"
	badges       = 512 // different requests of a device
)

// hiveDoors brings badges to doors, as agent/app does.
type hiveDoors map[site.DoorID]*door.Door

// Access lets the door decide, act and record.
func (h hiveDoors) Access(ctx context.Context, ask link.Ask) (link.Answer, error) {
	d := h[ask.Door]
	if d == nil {
		return link.Answer{}, errors.New("no such door")
	}
	res, err := d.Present(ctx, door.Presented{Reader: ask.Reader, Bits: ask.Bits, Device: ask.Device, Item: ask.Item, Note: ask.Note})
	return link.Answer{Granted: res.Opened, Reason: res.Reason}, err
}

// hiveNonces keeps nonces in the store.
type hiveNonces struct{ store *store.Store }

// Current returns the nonce that the device's next packet must carry.
func (n hiveNonces) Current(d site.DeviceName) ([16]byte, error) { return n.store.Nonce(d) }

// Use replaces the nonce, durably.
func (n hiveNonces) Use(ctx context.Context, d site.DeviceName, nonce [16]byte) ([16]byte, bool, error) {
	return n.store.UseNonce(ctx, d, nonce)
}

// SawVersion2 reports whether the device ever spoke version 2.
func (n hiveNonces) SawVersion2(d site.DeviceName) (bool, error) { return n.store.Version2Seen(d) }

// hiveSite is a Hive server with four doors on a listener of its own.
type hiveSite struct {
	addr    string
	devices []link.DeviceConfig // one for each connection, then those of version 2
	stop    func() error
}

func deviceConfigs() []link.DeviceConfig {
	var out []link.DeviceConfig
	for i := range 2 * connections {
		id := doorIDs[i%len(doorIDs)]
		out = append(out, link.DeviceConfig{
			Name: site.DeviceName("reader" + strconv.Itoa(i)), Key: bytes.Repeat([]byte{byte(i + 1)}, 32),
			Versions: link.Version1 | link.Version2, // the default of the settings
			Items:    map[string]site.DoorID{string(id) + "_door": id},
		})
	}
	return out
}

// startHive starts doors, server and listener. /constant answers one reply
// whatever it is asked, after reading the request as the other does.
func startHive(ctx context.Context, h *house, log *spool.Log) (*hiveSite, error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	doors := hiveDoors{}
	for _, id := range doorIDs {
		d, err := door.New(door.Config{ID: id, Unlock: time.Second}, door.Deps{
			Decider: newDecider(h.store, id), Log: sink{log}, Keeper: noKeeper{}, Clock: clock})
		if err != nil {
			cancel()
			return nil, err
		}
		doors[id] = d
		wg.Go(func() { _ = d.Run(ctx) })
		<-d.Ready()
	}
	s := &hiveSite{devices: deviceConfigs()}
	srv, err := link.New(link.Config{Devices: s.devices}, link.Deps{Access: doors, Nonces: hiveNonces{h.store},
		Vend: noVend{}, Events: sink{log}, Clock: clock})
	if err != nil {
		cancel()
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(link.Path, srv.Handler())
	mux.HandleFunc(constantPath, constant())
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10} // as agent/app's
	wg.Go(func() { _ = srv.Run(ctx) })
	wg.Go(func() { _ = web.Serve(l) })
	s.addr = l.Addr().String()
	s.stop = func() error {
		err := web.Close()
		cancel()
		wg.Wait()
		return err
	}
	return s, nil
}

// noVend sells nothing.
type noVend struct{}

// Vend answers that the badge is not known.
func (noVend) Vend(context.Context, link.VendAsk) (link.VendAnswer, error) {
	return link.VendAnswer{}, nil
}

// constant answers with a reply as long as a real one.
func constant() http.HandlerFunc {
	reply := hive.Encode(bytes.Repeat([]byte{1}, 32), "reader0", hive.Fields(
		hive.Field("access", hive.Boolean(true)), hive.Field("checksum_valid", hive.Boolean(true)),
		hive.Field("operation_valid", hive.Boolean(true)), hive.Field("random", challenge()),
		hive.Field("random_response", challenge()), hive.Field("response", hive.Boolean(true)),
		hive.Field("version", hive.Int(1)), hive.Field("version_valid", hive.Boolean(true))))
	return func(w http.ResponseWriter, req *http.Request) {
		body := make([]byte, max(req.ContentLength, 0))
		if _, err := io.ReadFull(req.Body, body); err != nil {
			http.Error(w, "body", http.StatusBadRequest)
			return
		}
		w.Header()["Content-Type"] = []string{"application/json; charset=utf-8"}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(reply))}
		_, _ = w.Write(reply)
	}
}

func challenge() hive.Value {
	var raw [16]byte
	for i := range raw {
		raw[i] = byte(rand.IntN(256))
	}
	return hive.Bytes(raw[:])
}

// client is one keep-alive connection. It writes requests that are ready and
// looks at no more of a reply than it must, so that the server is most of what
// is measured.
type client struct {
	conn net.Conn
	r    *bufio.Reader
	buf  []byte
}

func dial(addr string) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, r: bufio.NewReaderSize(conn, 8<<10)}, nil
}

// post sends a request and returns the body of the reply, good until the next
// one.
func (c *client) post(request []byte) ([]byte, error) {
	if _, err := c.conn.Write(request); err != nil {
		return nil, err
	}
	length := -1
	for first := true; ; first = false {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
			return nil, fmt.Errorf("reply %.40q", line)
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(string(v))); err != nil {
				return nil, err
			}
		}
		if len(line) <= 2 {
			break
		}
	}
	if length < 0 {
		return nil, errors.New("reply without a length")
	}
	if cap(c.buf) < length {
		c.buf = make([]byte, length)
	}
	_, err := io.ReadFull(c.r, c.buf[:length])
	return c.buf[:length], err
}

// httpRequest is a whole request.
func httpRequest(path string, body []byte) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

// badge is the number that a Hive reader sends for card i.
func badge(i int) int64 {
	n := cardNumber(i)
	return int64(n.Facility<<16 | n.Card)
}

// packet is a signed access request.
func packet(d link.DeviceConfig, card int, extra ...hive.Member) []byte {
	item := ""
	for name := range d.Items {
		item = name
	}
	members := append([]hive.Member{hive.Field("badge", hive.Int(badge(card))), hive.Field("item", hive.Text(item)),
		hive.Field("random_response", challenge())}, extra...)
	return hive.Encode(d.Key, d.Name, hive.Fields(members...))
}

var granted = []byte(`"access":true`)

// flood keeps all connections busy for a time and returns answers a second.
// ask does one exchange.
func (s *hiveSite) flood(ctx context.Context, d time.Duration, ask asker) (float64, error) {
	var count atomic.Int64
	errs := make(chan error, connections)
	asks := make([]func() error, connections)
	for i := range asks {
		c, err := dial(s.addr)
		if err != nil {
			return 0, err
		}
		defer c.conn.Close()
		asks[i] = ask(c, i)
		if err := asks[i](); err != nil { // the connection is warm then
			return 0, err
		}
	}
	began := time.Now()
	for _, one := range asks {
		go func() {
			for time.Since(began) < d && ctx.Err() == nil {
				if err := one(); err != nil {
					errs <- err
					return
				}
				count.Add(1)
			}
			errs <- nil
		}()
	}
	var err error
	for range asks {
		err = errors.Join(err, <-errs)
	}
	return float64(count.Load()) / time.Since(began).Seconds(), err
}

// asker returns what does one exchange on connection i.
type asker func(c *client, i int) func() error

// ready sends requests that were signed before.
func ready(requests [][][]byte, want []byte) asker {
	return func(c *client, i int) func() error {
		at := 0
		return func() error {
			at = (at + 1) % len(requests[i])
			reply, err := c.post(requests[i][at])
			if err == nil && !bytes.Contains(reply, want) {
				err = fmt.Errorf("%w: %.300s", errNotGranted, reply)
			}
			return err
		}
	}
}

// web is ready with the client of net/http, which costs as much as the server:
// for comparison with figures that were taken with it.
func (s *hiveSite) web(path string, requests [][][]byte, want []byte) asker {
	return func(_ *client, i int) func() error {
		web := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
		at := 0
		return func() error {
			at = (at + 1) % len(requests[i])
			_, body, _ := bytes.Cut(requests[i][at], []byte("\r\n\r\n"))
			resp, err := web.Post("http://"+s.addr+path, "application/json", bytes.NewReader(body))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			reply, err := io.ReadAll(resp.Body)
			if err == nil && !bytes.Contains(reply, want) {
				err = fmt.Errorf("%w: %.300s", errNotGranted, reply)
			}
			return err
		}
	}
}

// version2 signs each request with the nonce that the last reply brought.
func (s *hiveSite) version2(n int) asker {
	return func(c *client, i int) func() error {
		d := s.devices[connections+i]
		dice := rand.New(rand.NewPCG(5, uint64(i)))
		nonce := ""
		exchange := func(body []byte) error {
			reply, err := c.post(httpRequest(link.Path, body))
			if err != nil {
				return err
			}
			env, err := hive.ParseReply(reply)
			if err != nil {
				return err
			}
			if nonce, _ = env.Data.Get("new_nonce").Text(); nonce == "" {
				return fmt.Errorf("no nonce: %.300s", reply)
			}
			if env.Data.Get("access").Present() && !env.Data.Get("access").Truth() {
				return fmt.Errorf("%w: %.300s", errNotGranted, reply)
			}
			return nil
		}
		return func() error {
			two := hive.Field("version", hive.Int(2))
			if nonce == "" {
				return exchange(hive.Encode(d.Key, d.Name, hive.Fields(hive.Field("operation", hive.Text("get_nonce")), two)))
			}
			return exchange(packet(d, dice.IntN(n), two, hive.Field("nonce", hive.Text(nonce))))
		}
	}
}

// signed makes the requests of version 1, and the same ones to /constant.
func (s *hiveSite) signed(n int) (real, constant [][][]byte) {
	dice := rand.New(rand.NewPCG(6, uint64(n)))
	for i := range connections {
		var r, c [][]byte
		for range badges {
			body := packet(s.devices[i], dice.IntN(n))
			r, c = append(r, httpRequest(link.Path, body)), append(c, httpRequest(constantPath, body))
		}
		real, constant = append(real, r), append(constant, c)
	}
	return real, constant
}

// hiveRows compares a Hive server with a constant on the same listener.
func hiveRows(b *bench) (rows []row, err error) {
	h, err := b.site(b.n)
	if err != nil {
		return nil, err
	}
	log, stopLog, err := b.doorLog("hive")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stopLog()) }()
	s, err := startHive(b.ctx, h, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	access, same := s.signed(b.n)
	turn := pick(b, 1500*time.Millisecond, 300*time.Millisecond)
	var constants, ones, twos, webConstants, webOnes []float64
	for range pick(b, 7, 3) {
		for _, f := range []struct {
			to  *[]float64
			ask asker
		}{{&constants, ready(same, nil)}, {&ones, ready(access, granted)}, {&twos, s.version2(b.n)},
			{&webConstants, s.web(constantPath, same, nil)}, {&webOnes, s.web(link.Path, access, granted)}} {
			rate, err := s.flood(b.ctx, turn, f.ask)
			if err != nil {
				return nil, err
			}
			*f.to = append(*f.to, rate)
		}
	}
	lost := log.Status().Lost
	detail := map[string]any{"connections": connections, "constant_rps": constants, "v1_rps": ones, "events_lost": lost,
		"net_http_client_constant_rps": median(webConstants), "net_http_client_v1_rps": median(webOnes),
		"net_http_client_ratio": median(webOnes) / median(webConstants)}
	out := row{Name: "hive_v1_rps", Value: median(ones), Yardstick: median(constants), Bar: 0.5, AtLeast: true, Unit: "requests/s", Detail: detail}
	if lost > 0 {
		out.Error = fmt.Sprintf("%d events were lost: what was answered was not kept", lost)
	}
	return []row{out, {Name: "hive_v2_rps", Value: median(twos), Yardstick: median(constants), Unit: "requests/s",
		Detail: map[string]any{"v2_rps": twos}}}, nil
}
