package link

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"gatehouse/agent/hive"
	"gatehouse/agent/site"
)

// The bounds of what is kept of one request.
const (
	maxMessages = 256
	maxSlots    = 64
	maxSlot     = 9999
	maxLevel    = 32
)

// oldestLog is how far back a stamp can place a message. What is older has
// stamps that mean nothing.
const oldestLog = 400 * 24 * time.Hour

// logData answers the operation log in both of its forms.
func (s *Server) logData(r *request) {
	switch {
	case r.data.Get("log_data").Present():
		s.logTemperature(r, r.data.Get("log_data"))
	case r.data.Get("messages").Present():
		s.logMessages(r, r.data.Get("messages"))
	default:
		r.unlogged("Nothing to log.", http.StatusBadRequest)
	}
}

func (r *request) unlogged(text string, status int) {
	r.set("error", hive.Text(text))
	r.respond(false)
	r.status = status
}

// logTemperature is the form of Hive13's server.
func (s *Server) logTemperature(r *request, data hive.Value) {
	item := mustText(data.Get("item"))
	shown := hive.ASCII(item, maxItem)
	door, mine := r.dev.Items[item]
	if !mine {
		text := "Unknown item " + shown
		if s.items[item] {
			text = "Device not authorized for " + shown
		}
		r.unlogged(text, http.StatusUnauthorized)
		return
	}
	temperature, ok := data.Get("temperature").NumberText()
	if !ok || len(temperature) > maxLevel {
		r.unlogged("Invalid temperature.", http.StatusBadRequest)
		return
	}
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // never fails
	id := strings.ToUpper(hex.EncodeToString(raw[:]))
	s.record(site.Event{
		Kind: site.KindLog, Device: r.dev.Name, Reader: r.from.reader, Door: door, Item: shown,
		Text: "temperature " + temperature, Data: id,
	})
	r.set("temp_log_id", hive.Text(id))
	r.set("error", hive.Text("Data logged."))
	r.respond(true)
}

// logMessages is the wiki's form. All messages are kept, or none.
func (s *Server) logMessages(r *request, messages hive.Value) {
	list := messages.Elems()
	if messages.Kind() != hive.Array || slices.ContainsFunc(list, func(m hive.Value) bool { return m.Kind() != hive.Object }) {
		r.unlogged("Invalid messages.", http.StatusBadRequest)
		return
	}
	if len(list) > maxMessages {
		r.unlogged(fmt.Sprintf("More than %d messages.", maxMessages), http.StatusBadRequest)
		return
	}
	now := s.deps.Clock().Now
	current := r.data.Get("current_timestamp")
	for _, m := range list {
		e := site.Event{
			Kind: site.KindLog, Device: r.dev.Name, Reader: r.from.reader,
			Time: now.Add(-ageOf(current, m.Get("absolute_timestamp"))),
			Text: plainText(mustText(m.Get("text")), maxText),
		}
		if level := plainText(mustText(m.Get("level")), maxLevel); level != "" {
			e.Text = level + ": " + e.Text
		}
		if data := m.Get("data"); data.Present() {
			e.Data = plainText(string(hive.Canonical(data)), maxText)
		}
		s.record(e)
	}
	r.set("error", hive.Text("Data logged."))
	r.respond(true)
}

// ageOf says how long before current, in milliseconds of the device's own
// clock, a message was made. That clock is often 32 bits wide and starts again
// after 49 days. Stamps that are missing or make no sense give no age.
func ageOf(current, made hive.Value) time.Duration {
	c, ok1 := current.Int()
	m, ok2 := made.Int()
	if !ok1 || !ok2 || c < 0 || m < 0 {
		return 0
	}
	age := c - m
	if age < 0 && m < 1<<32 {
		if age += 1 << 32; age >= 1<<31 {
			return 0 // made a moment after current was read
		}
	}
	if age < 0 || age > oldestLog.Milliseconds() {
		return 0
	}
	return time.Duration(age) * time.Millisecond
}

// sodaStatus answers the operation soda_status: all slots are kept, as one
// event, or none. The reply holds no text (hive.md).
func (s *Server) sodaStatus(r *request) {
	text, ok := sodaText(r.data.Get("soda_status"))
	if ok {
		s.record(site.Event{Kind: site.KindVend, Device: r.dev.Name, Reader: r.from.reader, Text: text})
	} else {
		r.status = http.StatusBadRequest
	}
	r.respond(ok)
}

func sodaText(list hive.Value) (string, bool) {
	slots := list.Elems()
	if list.Kind() != hive.Array || len(slots) > maxSlots {
		return "", false
	}
	seen := make(map[int64]bool, len(slots))
	parts := make([]string, 0, len(slots))
	for _, e := range slots {
		n, ok := e.Get("slot").Int()
		if !ok || n < 0 || n > maxSlot || seen[n] {
			return "", false
		}
		seen[n] = true
		switch out := e.Get("sold_out"); out.Kind() {
		case hive.Bool, hive.Number, hive.String:
			state := "available"
			if out.Truth() {
				state = "sold out"
			}
			parts = append(parts, fmt.Sprintf("slot %d %s", n, state))
		case hive.Absent, hive.Null, hive.Array, hive.Object:
			return "", false
		}
	}
	return "soda status: " + strings.Join(parts, ", "), true
}
