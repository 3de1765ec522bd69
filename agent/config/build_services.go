package config

import (
	"fmt"
	"strings"
	"unicode"
)

// services fills the parts that talk to the outside.
func (b *builder) services(c *Config, raw *rawFile) {
	if s := raw.Swordfish; s != nil {
		c.Swordfish = &Swordfish{Auth: map[string]SwordfishAuth{"none": AuthNone, "report": AuthReport}[s.Auth.V]}
		switch c.Swordfish.Auth {
		case AuthNone:
			b.warnf(s.Auth.at, "locks are believed without any proof of who they are; anyone on their network can take a lock's door file")
		case AuthReport:
			b.warnf(s.Auth.at, "a lock without a right proof is reported and served all the same; anyone on their network can take a lock's door file")
		case AuthEnforce:
		}
		c.Swordfish.Calls = DefaultCalls
		if w := s.Calls; w != nil {
			if c.Swordfish.Calls = [2]int{int(w.Start.V), int(w.End.V)}; w.End.V <= w.Start.V {
				b.errorf(w.At, "end is not after start")
			}
		}
	}
	if g := raw.Gateway; g != nil {
		c.Gateway = &Gateway{Local: g.Local.V}
	}
	if u := raw.Uplink; u != nil {
		c.Uplink = &Uplink{ServerURL: u.ServerURL.V, CAURL: u.CAURL.V, FromOldest: u.Start.V == "oldest", KeepAlive: u.KeepAlive.V, Proxy: u.Proxy.V}
	}
	if m := raw.MQTT; m != nil {
		c.MQTT = &MQTT{Broker: m.Broker.V, TopicPrefix: m.TopicPrefix.V}
	}
	if n := raw.BACnet; n != nil {
		c.BACnet = &BACnet{TokenLifetime: n.TokenLifetime.V}
		if n.UUID.V != "auto" {
			c.BACnet.UUID = n.UUID.V
		}
	}
	if raw.Presence != nil {
		c.Presence = &Presence{}
	}
	for i := range raw.Notify {
		c.Notify = append(c.Notify, b.notify(&raw.Notify[i]))
	}
}

func (b *builder) notify(r *rawNotify) Notify {
	b.unique("receiver", r.ID)
	hook, letter := r.Webhook.Set, len(r.Mail) > 0
	switch {
	case hook == letter:
		b.errorf(r.At, "wants either webhook or mail")
	case letter && !r.SMTP.Set:
		b.errorf(r.At, "mail wants smtp, the mail server")
	case letter && !r.From.Set:
		b.errorf(r.At, "mail wants from, the address that it comes from")
	case hook:
		for _, t := range []text{r.SMTP, r.From, r.User, r.PasswordFile} {
			if t.Set {
				b.errorf(t.at, "goes with mail, not with webhook")
			}
		}
	}
	if letter && r.SecretFile.Set {
		b.errorf(r.SecretFile.at, "goes with webhook, not with mail")
	}
	if r.User.Set != r.PasswordFile.Set {
		b.errorf(r.At, "user and password_file go together")
	}
	if strings.HasPrefix(r.Webhook.V, "http://") {
		b.warnf(r.Webhook.at, "plain HTTP: what is sent can be read and altered on the network")
	}
	return Notify{
		ID: r.ID.V, On: kindsOf(r.On), Webhook: r.Webhook.V, Secret: b.hookSecret(r.SecretFile),
		Mail: values(r.Mail), SMTP: r.SMTP.V, From: r.From.V, User: r.User.V, Password: b.password(r.PasswordFile),
	}
}

// minSecret is the shortest secret that signs.
const minSecret = 16

func (b *builder) hookSecret(file text) Secret {
	if !file.Set {
		return nil
	}
	key, ok := b.key(file, Warning)
	if ok && len(key) < minSecret {
		b.errorf(file.at, "the secret has %d bytes; at least %d are needed", len(key), minSecret)
		return nil
	}
	return Secret(key)
}

// password reads the one line of a password file.
func (b *builder) password(file text) Secret {
	if !file.Set {
		return nil
	}
	content, ok := b.keyFile(file, Warning)
	if !ok {
		return nil
	}
	line, err := keyLine(content)
	if err == nil {
		line = strings.TrimPrefix(line, "text:")
		if line == "" || strings.ContainsFunc(line, unicode.IsControl) {
			err = fmt.Errorf("the password file holds no password")
		}
	}
	if err != nil {
		b.errorf(file.at, "%v", err)
		return nil
	}
	return Secret(line)
}
