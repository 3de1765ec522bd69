package config

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"gatehouse/agent/site"
)

// Swordfish is the locks' protocol.
type Swordfish struct {
	Auth  SwordfishAuth
	Calls [2]int // minutes of the day between which locks are asked to call
}

// SwordfishAuth says what happens to a lock that does not authenticate itself.
type SwordfishAuth uint8

// The choices; the zero value is the default and the safe one.
const (
	AuthEnforce SwordfishAuth = iota
	AuthReport
	AuthNone
)

// Gateway is the gateway's RESTful API.
type Gateway struct{ Local bool }

// Uplink is the client of the IP host.
type Uplink struct {
	ServerURL, CAURL string
	FromOldest       bool // a new host gets the oldest event first, else only what comes from now on
	KeepAlive        time.Duration
	Proxy            string // empty: that of the environment
}

// MQTT is the client of a broker.
type MQTT struct{ Broker, TopicPrefix string }

// BACnet is the BACnet web services.
type BACnet struct {
	UUID          string // empty: made and kept by the part
	TokenLifetime time.Duration
}

// Presence is the receiver of Wi-Fi location notifications.
type Presence struct{}

// Notify is one receiver of alarms: a webhook, or mail.
type Notify struct {
	ID       string
	On       []site.Kind // empty: all alarms but duress
	Webhook  string
	Secret   Secret // signs the webhook's calls; nil: they are not signed
	Mail     []string
	SMTP     string // host:port
	From     string
	User     string // empty: no sign-in
	Password Secret // set with User
}

// Secret is a password or a key. It is redacted wherever it is printed.
type Secret []byte

// String redacts the secret.
func (Secret) String() string { return "[secret]" }

// GoString redacts the secret.
func (Secret) GoString() string { return "[secret]" }

// Format redacts the secret under every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[secret]") }

// MarshalText redacts the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// LogValue redacts the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }
