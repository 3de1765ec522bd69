package link

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"time"

	"gatehouse/agent/hive"
	"gatehouse/agent/site"
)

// The times of an answer (engage.md section 6). answerSlack is for adapters and
// drivers, which hand on what came some milliseconds later.
const (
	answerTime  = 200 * time.Millisecond
	answerSlack = 25 * time.Millisecond
	answerWhole = time.Second // and the time that the longest message takes
)

// awaited is the answer that a session waits for.
type awaited struct {
	p      *peer
	op     string
	random [16]byte
	got    *hive.Envelope // the answer, verified
	broken bool           // the device answered, and it could not be read

	silence time.Time // it is given up then
	whole   time.Time // and then, whatever comes; zero: nothing came yet
}

// began moves the end of the wait as something came.
func (w *awaited) began(now time.Time, longest time.Duration) {
	if w.whole.IsZero() {
		w.whole = now.Add(answerWhole + longest)
	}
	if t := now.Add(answerTime + answerSlack); t.After(w.silence) {
		w.silence = t
	}
	if w.silence.After(w.whole) {
		w.silence = w.whole
	}
}

// isAnswer reports whether data answers what was sent: it has its numbers.
func (w *awaited) isAnswer(data hive.Value) bool {
	numbers := data.Get("random_response").Elems()
	if len(numbers) != len(w.random) {
		return false
	}
	for i, v := range numbers {
		if n, ok := v.Int(); !ok || n != int64(w.random[i]) {
			return false
		}
	}
	return true
}

// command makes what the agent sends to a device, without its end.
func command(d *device, op string, counter uint64, random [16]byte, extra []hive.Member) ([]byte, error) {
	if counter > math.MaxInt64 {
		return nil, fmt.Errorf("the counter of %q is beyond 63 bits", d.Name)
	}
	members := append([]hive.Member{
		hive.Field("to", hive.Text(string(d.Name))), hive.Field("operation", hive.Text(op)),
		hive.Field("counter", hive.Int(int64(counter))), hive.Field("random", hive.Bytes(random[:])),
	}, extra...)
	return hive.Encode(d.Key, d.Name, hive.Fields(members...)), nil
}

// unsent is the error of a command that could not be made; the line is as good
// as it was.
type unsent struct{ err error }

func (u *unsent) Error() string { return u.err.Error() }
func (u *unsent) Unwrap() error { return u.err }

// exchange sends a command to a device and waits for its answer, which is nil
// where none came in time. The error is an *unsent, or the end of the session.
func (s *session) exchange(ctx context.Context, p *peer, op string, extra ...hive.Member) (*hive.Envelope, error) {
	counter, err := s.l.s.deps.Counters.NextCounter(p.Device)
	if err != nil {
		s.missed(p)
		return nil, &unsent{err}
	}
	w := &awaited{p: p, op: op}
	_, _ = rand.Read(w.random[:]) // never fails: crypto/rand ends the program instead
	msg, err := command(p.dev, op, counter, w.random, extra)
	if err != nil {
		s.missed(p)
		return nil, &unsent{err}
	}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	if s.bus {
		s.lines.reset() // what is not whole by now is nobody's answer
		if s.dirty {    // devices have heard it too: they begin anew here
			msg, s.dirty = append([]byte{'\n'}, msg...), false
		}
	}
	if err := s.write(append(msg, '\n')); err != nil {
		return nil, err
	}
	s.l.count(p, func(st *DeviceStats) { st.Sent++ })
	if p.silent.IsZero() {
		p.silent = time.Now()
	}
	w.silence = s.clear.Add(answerTime + answerSlack)
	s.awaits = w
	defer func() { s.awaits = nil }()
	for w.got == nil && !w.broken && time.Now().Before(w.silence) {
		if err := s.receive(ctx, w.silence); err != nil {
			return nil, err
		}
	}
	if w.got == nil {
		s.dirty, s.quiet = true, time.Now().Add(lateTime)
		s.missed(p)
		s.l.count(p, func(st *DeviceStats) { st.Silent++ })
		return nil, nil
	}
	s.heard(p)
	return w.got, nil
}

// heard notes that a device is there.
func (s *session) heard(p *peer) {
	p.silent, p.misses = time.Now(), 0
	now := s.l.s.deps.Clock().Now
	s.l.count(p, func(st *DeviceStats) { st.Heard = now })
	s.l.setOffline(p, false)
}

// missed notes that a device gave no answer.
func (s *session) missed(p *peer) {
	p.misses++
	if p.silent.IsZero() {
		p.silent = time.Now()
	}
}

// suspect returns the device that a message that cannot be read may be of: the
// line's only one, or the one whose answer is awaited.
func (s *session) suspect() site.DeviceName {
	switch {
	case !s.bus:
		return s.l.peers[0].Device
	case s.awaits != nil:
		return s.awaits.p.Device
	}
	return ""
}

// message takes one message from the line.
func (s *session) message(line []byte) {
	w := s.awaits
	env, err := hive.ParseRequest(line)
	asked := w != nil && w.got == nil && !w.broken && env.Device == w.p.Device
	switch {
	case err != nil:
		s.dirty = true
		s.l.skipped(s.suspect())
		switch {
		case asked && w.op == opPoll:
			w.broken = true
			s.reply(plainReply(err.Error()))
		case !s.bus && env.Device == s.l.peers[0].Device:
			s.reply(plainReply(err.Error()))
		}
	case env.Data.Get("to").Present():
		// The agent's own: many adapters of a half-duplex line give it back.
	case asked && w.isAnswer(env.Data) && hive.Verify(w.p.dev.Key, env.Data, env.Checksum):
		w.got = &env
	case s.bus:
		s.stray(env, asked)
	case isReply(env.Data):
		s.late(s.l.peers[0])
	default:
		s.request(s.l.peers[0], env)
	}
}

// isReply tells an answer from a request.
func isReply(data hive.Value) bool {
	return data.Get("response").Present() || operationOf(data) == opIdle
}

// request takes what the device of a line of its own asks for.
func (s *session) request(p *peer, env hive.Envelope) {
	switch {
	case !p.calling:
		s.call(p, env)
	case len(p.held) < maxHeld:
		p.held = append(p.held, env)
	default:
		s.l.skipped(p.Device)
	}
}

// stray takes an envelope of a bus that is not the answer that is awaited:
// nobody speaks unless polled, so it is not acted on. asked says that it has the
// name of the device whose answer is awaited.
func (s *session) stray(env hive.Envelope, asked bool) {
	d := s.l.s.devices[env.Device]
	switch {
	case d == nil:
		s.l.s.faults.add("", causeDevice)
	case !hive.Verify(d.Key, env.Data, env.Checksum):
		s.l.s.faults.add(d.Name, causeChecksum)
		if asked && s.awaits.op == opPoll {
			s.awaits.broken = true
			s.call(s.awaits.p, env) // is refused, and the refusal signed
		}
	default:
		for _, p := range s.l.peers {
			if p.dev == d {
				s.late(p)
			}
		}
	}
}

// late counts an answer that nobody waits for.
func (s *session) late(p *peer) {
	s.l.count(p, func(st *DeviceStats) { st.Late++ })
}
