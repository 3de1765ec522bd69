package notify

import (
	"bytes"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"slices"
	"strings"
	"time"
	"unicode"

	"gatehouse/agent/site"
)

// clean makes text of people and of other programs fit for one line: what
// breaks lines, and what turns the direction of text, becomes a space. At most
// most runes are left.
func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	runes := []rune(strings.TrimSpace(s))
	if len(runes) > most {
		runes = append(runes[:most-1], '…')
	}
	return string(runes)
}

// headerText writes a header's value: in clear where it is plain ASCII, else as
// encoded words (RFC 2047), folded between them.
func headerText(s string) string {
	s = strings.ReplaceAll(clean(s, 200), "=?", "= ?") // no encoded word of somebody else's
	return strings.ReplaceAll(mime.QEncoding.Encode("utf-8", s), "?= =?", "?=\r\n =?")
}

// letter is a mail before it is written.
type letter struct {
	from   string
	to     []string
	site   string
	serial string
	id     string // the receiver's
	zone   *time.Location
	now    time.Time
	test   bool
	events []site.Event // one at least; fit to be shown
}

// bytes writes the message with CRLF line ends (RFC 5322).
func (l *letter) bytes() []byte {
	var b bytes.Buffer
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	header("From", "<"+l.from+">")
	header("To", "<"+strings.Join(l.to, ">,\r\n <")+">")
	header("Subject", headerText(l.subject()))
	header("Date", l.now.In(l.zone).Format(time.RFC1123Z))
	header("Message-ID", l.messageID())
	header("Auto-Submitted", "auto-generated") // RFC 3834: no holiday notices, please
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	_, _ = q.Write([]byte(l.body())) // a buffer takes everything
	_ = q.Close()
	return b.Bytes()
}

// messageID is the same for the same alarms at every try. It has the last
// number too: one that grew while it waited is another message.
func (l *letter) messageID() string {
	id := strings.ReplaceAll(l.id, ".", "_")
	_, domain, _ := strings.Cut(l.from, "@")
	first, last := l.events[0], l.events[len(l.events)-1]
	if l.test {
		return fmt.Sprintf("<gatehouse.%s.test.%s.%d@%s>", l.serial, id, first.Time.UnixNano(), domain)
	}
	return fmt.Sprintf("<gatehouse.%s.%s.%s.%d-%d@%s>", l.serial, id, first.Log, first.Seq, last.Seq, domain)
}

func (l *letter) subject() string {
	where := "[" + clean(l.site, 80) + "] "
	first := l.events[0]
	switch {
	case l.test:
		return where + "test message"
	case len(l.events) == 1:
		return where + strings.Join(slices.DeleteFunc([]string{headline(&first), string(first.Door)}, empty), ": ")
	}
	var kinds []string
	for _, ev := range l.events {
		if k := string(meaning(&ev)); !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	if len(kinds) > 4 {
		kinds = append(kinds[:4], "…")
	}
	return fmt.Sprintf("%s%d alarms: %s", where, len(l.events), strings.Join(kinds, ", "))
}

func empty(s string) bool { return s == "" }

// meaning is an event's kind; of a lock's audit the kind that it means.
func meaning(ev *site.Event) site.Kind {
	if ev.As != "" {
		return ev.As
	}
	return ev.Kind
}

// headline says what happened in two words.
func headline(ev *site.Event) string {
	s := string(meaning(ev))
	if _, ok := acknowledged(ev); ok {
		s = "acknowledged"
	}
	if ev.Cleared {
		s += " ended"
	}
	return s
}

func (l *letter) body() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Site:  %s\nAgent: %s\n", clean(l.site, 200), l.serial)
	if l.test {
		fmt.Fprintf(&b, "\nThis is a test of the receiver %s. Nothing has happened.\n", l.id)
		return b.String()
	}
	for i := range l.events {
		b.WriteString("\n")
		l.event(&b, &l.events[i])
	}
	return b.String()
}

// event writes one alarm as a line and its details.
func (l *letter) event(b *strings.Builder, ev *site.Event) {
	doubt := ""
	if !ev.Trusted {
		doubt = " (the clock is not trusted)"
	}
	fmt.Fprintf(b, "%s  %s%s\n", ev.Time.In(l.zone).Format("2006-01-02 15:04:05 MST"), headline(ev), doubt)
	reason := ""
	if ev.Reason != "" {
		reason = ev.Reason.Text()
	}
	count := ""
	if ev.Count > 0 {
		count = fmt.Sprint(ev.Count)
	}
	for _, d := range []struct{ name, value string }{
		{"door", string(ev.Door)}, {"reader", string(ev.Reader)}, {"area", string(ev.Area)}, {"device", string(ev.Device)},
		{"holder", ev.Holder}, {"card", ev.Card.String()}, {"reason", reason}, {"mode", ev.Mode},
		{"text", ev.Text}, {"count", count}, {"by", ev.By}, {"lock", strings.TrimSpace(ev.Code + " " + ev.Data)},
	} {
		if v := clean(d.value, 500); v != "" {
			fmt.Fprintf(b, "  %-7s %s\n", d.name+":", v)
		}
	}
	fmt.Fprintf(b, "  event:  %s/%d\n", ev.Log, ev.Seq)
}
