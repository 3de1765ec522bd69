package config

// services fills the parts that talk to the outside.
func (b *builder) services(c *Config, raw *rawFile) {
	if s := raw.Swordfish; s != nil {
		c.Swordfish = &Swordfish{Auth: map[string]SwordfishAuth{"none": AuthNone, "report": AuthReport}[s.Auth.V]}
		if c.Swordfish.Auth == AuthNone {
			b.warnf(s.Auth.at, "locks are believed without any proof of who they are")
		}
	}
	if g := raw.Gateway; g != nil {
		c.Gateway = &Gateway{Local: g.Local.V}
	}
	if u := raw.Uplink; u != nil {
		c.Uplink = &Uplink{ServerURL: u.ServerURL.V, CAURL: u.CAURL.V, FromOldest: u.Start.V == "oldest"}
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
	case hook && r.SMTP.Set:
		b.errorf(r.SMTP.at, "goes with mail, not with webhook")
	}
	return Notify{ID: r.ID.V, On: kindsOf(r.On), Webhook: r.Webhook.V, Mail: values(r.Mail), SMTP: r.SMTP.V}
}
