package link

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"gatehouse/agent/card"
	"gatehouse/agent/hive"
	"gatehouse/agent/site"
)

// maxItem bounds the item's name in replies and events.
const maxItem = 64

// maxText bounds a text that goes to the event log, in bytes.
const maxText = 512

// itemOf returns what the request asks for: location wins, as in Perl.
func (s *Server) itemOf(r *request) string {
	v := r.data.Get("location")
	if !v.Present() {
		v = r.data.Get("item")
	}
	return mustText(v)
}

// badgeOf makes the card's bits of the badge. It fails for a badge that is
// absent, no whole number or more than 24 bits.
func badgeOf(data hive.Value) (card.Bits, bool) {
	n, ok := data.Get("badge").Int()
	if !ok || n < 0 {
		return card.Bits{}, false
	}
	bits, err := card.HiveBadge(uint64(n))
	return bits, err == nil
}

// access answers the operation access (hive.md).
func (s *Server) access(ctx context.Context, r *request) {
	item := s.itemOf(r)
	door, mine := r.dev.Items[item]
	if !mine {
		text := "Cannot find item "
		if s.items[item] {
			text = "Device not authorized for "
		}
		s.denied(r, text+hive.ASCII(item, maxItem), site.ReasonNoRight, s.items[item])
		s.recordRefusal(r, item, site.ReasonNoRight)
		return
	}
	bits, ok := badgeOf(r.data)
	if !ok {
		s.denied(r, "Unknown badge", site.ReasonUnknownFormat, true)
		s.recordRefusal(r, item, site.ReasonUnknownFormat)
		return
	}
	answer, err := s.deps.Access.Access(ctx, Ask{
		Device: r.dev.Name, Item: item, Door: door, Reader: r.from.reader, Bits: bits, Via: r.from.via, Note: r.note(),
	})
	switch {
	case err != nil:
		s.fail(r, opAccess, err)
	case answer.Granted:
		if !answer.Reason.Grants() {
			answer.Reason = site.ReasonGranted
		}
		r.set("access", hive.Boolean(true))
		r.set("reason", hive.Text(string(answer.Reason)))
		r.respond(true)
	case answer.Reason == site.ReasonUnknownCredential || answer.Reason == site.ReasonUnknownFormat:
		s.denied(r, "Unknown badge", answer.Reason, true)
	default:
		s.denied(r, "Access denied", answer.Reason, true)
	}
}

// denied answers an ask that was refused.
func (s *Server) denied(r *request, text string, reason site.Reason, response bool) {
	r.set("access", hive.Boolean(false))
	r.set("error", hive.Text(text))
	r.set("reason", hive.Text(string(reason)))
	r.respond(response)
	r.status = http.StatusUnauthorized
}

// recordRefusal keeps an ask that reached no door.
func (s *Server) recordRefusal(r *request, item string, reason site.Reason) {
	s.record(site.Event{
		Kind: site.KindAccess, Reason: reason, Device: r.dev.Name, Reader: r.from.reader,
		Door: r.dev.Items[item], Item: hive.ASCII(item, maxItem), Text: r.note(),
	})
}

// vend answers the operation vend (hive.md) in version 1, and in both versions
// for a badge that cannot be read; the nonce has moved then.
func (s *Server) vend(ctx context.Context, r *request) {
	bits, ok := badgeOf(r.data)
	if !ok {
		s.record(site.Event{
			Kind: site.KindAccess, Reason: site.ReasonUnknownFormat, Device: r.dev.Name, Reader: r.from.reader,
			Text: strings.TrimSuffix("vend; "+r.note(), "; "),
		})
		r.sold(false, "Cannot find member associated with this badge.")
		return
	}
	answer, err := s.deps.Vend.Vend(ctx, s.vendAsk(r, bits))
	if err != nil {
		s.fail(r, opVend, err)
		return
	}
	s.vended(r, answer)
}

// errNoNext is the fault of a Vender that does not keep its contract: a packet
// must not be accepted when its nonce may be valid still.
var errNoNext = errors.New("no next nonce came back")

// vendOnce answers a vend in version 2: nonce, credit and event move together.
func (s *Server) vendOnce(ctx context.Context, r *request, bits card.Bits, nonce [16]byte) {
	ask := s.vendAsk(r, bits)
	ask.Nonce = &nonce
	answer, err := s.deps.Vend.Vend(ctx, ask)
	if err == nil && (answer.Next == [16]byte{} || answer.NonceOK && answer.Next == nonce) {
		err = errNoNext
	}
	switch {
	case err != nil:
		s.fail(r, opVend, err)
	case !answer.NonceOK: // another packet with this nonce was faster
		s.staleNonce(r, answer.Next)
	default:
		r.accepted = true
		r.set("nonce_valid", hive.Boolean(true))
		r.setNonce(answer.Next)
		r.set("operation_valid", hive.Boolean(true))
		s.vended(r, answer)
	}
}

func (s *Server) vendAsk(r *request, bits card.Bits) VendAsk {
	return VendAsk{Device: r.dev.Name, Bits: bits, Initial: s.cfg.Vend.Credits, Via: r.from.via, Note: r.note()}
}

// vended answers with what became of the credit.
func (s *Server) vended(r *request, answer VendAnswer) {
	switch {
	case !answer.Known:
		r.sold(false, "Cannot find member associated with this badge.")
	case !answer.Vend:
		r.sold(false, "You have no soda credits.")
	default:
		r.sold(true, "Have a soda.")
		if answer.Left <= s.cfg.Vend.Alert {
			r.set("alert", hive.Boolean(true))
		}
	}
}

func (r *request) sold(ok bool, text string) {
	r.set("vend", hive.Boolean(ok))
	r.set("error", hive.Text(text))
	r.respond(true)
}

// plainText makes a device's text fit for the event log: valid UTF-8 without
// controls, at most limit bytes.
func plainText(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7F || r >= 0x80 && r < 0xA0 {
			return ' '
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
