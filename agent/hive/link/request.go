package link

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync"

	"gatehouse/agent/hive"
	"gatehouse/agent/site"
)

// maxCopied bounds random_response, so that a reply stays below the bound of a
// message whatever its numbers become.
const maxCopied = 16 << 10

// The operations (hive.md, data of a request).
const (
	opAccess     = "access"
	opVend       = "vend"
	opLog        = "log"
	opSodaStatus = "soda_status"
	opGetNonce   = "get_nonce"
	opQuietHours = "quiet_hours"
	opSwordfish  = "swordfish"
)

// The operations of what the agent sends, and of the answer to a poll of a
// device that wants nothing (engage.md section 6).
const (
	opPoll   = "poll"
	opUnlock = "unlock"
	opMode   = "mode"
	opStatus = "status"
	opPart   = "part"
	opIdle   = "idle"
)

// origin says where a request came from.
type origin struct {
	via    Via
	device site.DeviceName // the only one on a serial line; empty: any
	reader site.ReaderID
	// partSize is how much text a part of a long body takes on the line; 0:
	// nothing travels in parts.
	partSize int
}

// request is one request on its way through the checks, and its reply.
type request struct {
	from      origin
	dev       *device
	data      hive.Value
	version   int64
	operation string

	status  int // for http: true
	members []hive.Member

	accepted bool      // its nonce was used up
	called   bool      // a swordfish call was accepted
	long     *transfer // the body that follows the reply in parts
}

// requests keeps requests, and the room of their replies' members, for the next
// ones. Nothing refers to a request once it is answered.
var requests = sync.Pool{New: func() any { return &request{members: make([]hive.Member, 0, 16)} }}

func newRequest(from origin, d *device, data hive.Value) *request {
	r, ok := requests.Get().(*request)
	if !ok {
		r = new(request)
	}
	*r = request{from: from, dev: d, data: data, status: http.StatusOK, members: r.members[:0]}
	return r
}

// release gives the request back.
func (r *request) release() {
	members := r.members[:cap(r.members)]
	clear(members)
	*r = request{members: members[:0]}
	requests.Put(r)
}

// set adds a member to the reply.
func (r *request) set(name string, v hive.Value) {
	r.members = append(r.members, hive.Field(name, v))
}

// respond sets the member response.
func (r *request) respond(ok bool) { r.set("response", hive.Boolean(ok)) }

// refuse ends a check: the member that says which, the text, the HTTP status.
func (r *request) refuse(check, text string, status int) {
	r.set(check, hive.Boolean(false))
	r.set("data", hive.Text(text))
	r.respond(false)
	r.status = status
}

// note returns the text for the events of the request.
func (r *request) note() string {
	if r.version == 1 {
		return noteVersion1
	}
	return ""
}

// outcome is what became of a request.
type outcome struct {
	reply    []byte
	status   int       // of HTTP
	accepted bool      // it was the device's, and new: its nonce was used up
	called   bool      // it was a swordfish call
	long     *transfer // the body that follows the reply in parts; nil: none
}

// answer takes one request through all steps. It appends the reply, without an
// end of line, to dst, and returns it with its HTTP status. err is not nil for a body that is no
// envelope (hive.md, the last paragraph of Checks): the reply is then unsigned
// and says what is wrong, and device is what the body named, if that was read.
func (s *Server) answer(dst, body []byte, from origin) (reply []byte, status int, device site.DeviceName, err error) {
	env, err := hive.ParseRequest(body)
	if err != nil {
		return append(dst, plainReply(err.Error())...), http.StatusBadRequest, env.Device, err
	}
	o := s.answerEnvelope(dst, env, from)
	return o.reply, o.status, env.Device, nil
}

// answerEnvelope is answer for what was parsed.
func (s *Server) answerEnvelope(dst []byte, env hive.Envelope, from origin) outcome {
	d := s.devices[env.Device]
	if d == nil || from.device != "" && from.device != d.Name {
		s.faults.add("", causeDevice)
		return outcome{reply: append(dst, plainReply("Cannot find device.")...), status: statusFor(env.Data, http.StatusBadRequest)}
	}
	r := newRequest(from, d, env.Data)
	defer r.release()
	s.check(s.limits.context(), r, env.Checksum)
	r.set("version", hive.Int(1))
	r.set("random", random16())
	return outcome{
		reply:  hive.AppendEncode(dst, d.Key, d.Name, hive.Fields(r.members...)),
		status: statusFor(env.Data, r.status), accepted: r.accepted, called: r.called, long: r.long,
	}
}

// plainReply is the unsigned reply.
func plainReply(text string) []byte {
	return hive.EncodePlain(hive.Fields(hive.Field("response", hive.Boolean(false)), hive.Field("data", hive.Text(text)),
		hive.Field("version", hive.Int(1))))
}

// statusFor returns the HTTP status: 200 unless the request asked for others.
func statusFor(data hive.Value, status int) int {
	if data.Get("http").Truth() {
		return status
	}
	return http.StatusOK
}

// random16 makes the 16 integers that make packets differ.
func random16() hive.Value {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hive.Bytes(b[:])
}

// check goes through the steps of hive.md's table, in its order.
func (s *Server) check(ctx context.Context, r *request, checksum string) {
	if !hive.Verify(r.dev.Key, r.data, checksum) {
		s.faults.add(r.dev.Name, causeChecksum)
		r.refuse("checksum_valid", "Invalid checksum.", http.StatusBadRequest)
		return
	}
	r.set("checksum_valid", hive.Boolean(true))
	copied := r.data.Get("random_response")
	if len(copied.Raw()) > maxCopied {
		r.set("data", hive.Text("random_response is too long."))
		r.set("random_response", hive.Nothing())
		r.respond(false)
		r.status = http.StatusBadRequest
		return
	}
	if copied.Kind() == hive.Absent {
		copied = hive.Nothing() // as the Perl server answers
	}
	r.set("random_response", copied)
	r.operation = operationOf(r.data)
	if ok, err := s.versionAllowed(r); err != nil {
		s.fail(r, "version", err)
		return
	} else if !ok {
		s.faults.add(r.dev.Name, causeVersion)
		r.refuse("version_valid", "Invalid version for device.", http.StatusForbidden)
		return
	}
	r.set("version_valid", hive.Boolean(true))
	if r.version == 1 {
		if s.operationKnown(r) {
			r.dev.spoke1.Store(true)
			s.perform(ctx, r)
		}
		return
	}
	s.checkNonce(ctx, r)
}

// operationOf reads the operation as the Perl server does, and the wiki's form
// of a log.
func operationOf(data hive.Value) string {
	v := data.Get("operation")
	if !v.Present() {
		if v = data.Get("option"); v.Kind() != hive.String || !strings.EqualFold(mustText(v), opLog) {
			return opAccess
		}
	}
	text, _ := v.Text()
	return strings.ToLower(text)
}

func mustText(v hive.Value) string {
	t, _ := v.Text()
	return t
}

// versionAllowed reads the version and says whether the device may speak it.
func (s *Server) versionAllowed(r *request) (bool, error) {
	v := r.data.Get("version")
	r.version = 1
	if v.Truth() { // 0, "" and null are 1 too, as in Perl
		r.version, _ = v.Int()
	}
	switch {
	case r.version == 2:
		return r.dev.Versions&Version2 != 0, nil
	case r.version != 1 || r.from.via == ViaSerial || r.dev.Versions&Version1 == 0:
		return false, nil
	case r.dev.Versions&Version2 == 0:
		return true, nil
	}
	saw, err := s.spokeVersion2(r.dev)
	return !saw, err
}

// checkNonce takes a version-2 request from the nonce on. The nonce moves when
// all checks have passed, and before the operation; a vend's moves with its credit.
func (s *Server) checkNonce(ctx context.Context, r *request) {
	current, err := s.deps.Nonces.Current(r.dev.Name)
	if err != nil {
		s.fail(r, "nonce", err)
		return
	}
	if r.operation == opGetNonce {
		r.set("nonce_valid", hive.Boolean(true))
		r.set("operation_valid", hive.Boolean(true))
		r.setNonce(current)
		r.respond(true)
		return
	}
	given, ok := nonceOf(r.data)
	if !ok || subtle.ConstantTimeCompare(given[:], current[:]) != 1 {
		s.staleNonce(r, current)
		return
	}
	if !s.operationKnown(r) {
		r.set("nonce_valid", hive.Boolean(true))
		r.setNonce(current)
		return
	}
	r.dev.spoke2.Store(maySpeak2) // before the nonce can move
	if bits, ok := badgeOf(r.data); ok && r.operation == opVend {
		s.vendOnce(ctx, r, bits, given)
		return
	}
	next, ok, err := s.deps.Nonces.Use(ctx, r.dev.Name, given)
	if err != nil {
		s.fail(r, "nonce", err)
		return
	}
	if !ok { // another packet with this nonce was faster
		s.staleNonce(r, next)
		return
	}
	r.accepted = true
	r.set("nonce_valid", hive.Boolean(true))
	r.setNonce(next)
	s.perform(ctx, r)
}

func (s *Server) staleNonce(r *request, current [16]byte) {
	s.faults.add(r.dev.Name, causeNonce)
	r.refuse("nonce_valid", "Invalid nonce.", http.StatusForbidden)
	r.setNonce(current)
}

func (r *request) setNonce(n [16]byte) {
	r.set("new_nonce", hive.Text(strings.ToUpper(hex.EncodeToString(n[:]))))
}

func nonceOf(data hive.Value) (n [16]byte, ok bool) {
	text, _ := data.Get("nonce").Text()
	if len(text) != 2*len(n) {
		return n, false
	}
	_, err := hex.Decode(n[:], []byte(text))
	return n, err == nil
}

// operationKnown is the last check. It answers the request when it refuses.
func (s *Server) operationKnown(r *request) bool {
	switch r.operation {
	case opAccess, opVend, opLog, opSodaStatus, opGetNonce, opQuietHours:
		return true
	case opSwordfish: // engage.md section 6: version 2
		if s.deps.Swordfish != nil && r.version == 2 {
			return true
		}
	}
	r.set("operation_valid", hive.Boolean(false))
	r.set("error", hive.Text("Invalid operation."))
	r.respond(false)
	r.status = http.StatusBadRequest
	return false
}

// perform does an accepted operation.
func (s *Server) perform(ctx context.Context, r *request) {
	r.set("operation_valid", hive.Boolean(true))
	switch r.operation {
	case opAccess:
		s.access(ctx, r)
	case opVend:
		s.vend(ctx, r)
	case opLog:
		s.logData(r)
	case opSodaStatus:
		s.sodaStatus(r)
	case opGetNonce: // version 1: succeeds without a nonce
		r.respond(true)
	case opQuietHours:
		s.quietHours(r)
	case opSwordfish:
		s.swordfish(ctx, r)
	}
}

// fail answers a request that the store or another part could not serve. It is
// a signed refusal, never an HTTP error, and an access event where a badge was
// asked for.
func (s *Server) fail(r *request, what string, err error) {
	s.log.Error("hive request could not be served", "device", string(r.dev.Name), "operation", hive.ASCII(r.operation, 32), "part", what, "err", err)
	r.set("error", hive.Text("Access denied"))
	r.set("reason", hive.Text(string(site.ReasonFault)))
	r.status = http.StatusUnauthorized
	named := func(m hive.Member) bool { return m.Name == "new_nonce" }
	if r.version == 2 && !slices.ContainsFunc(r.members, named) {
		if n, err := s.deps.Nonces.Current(r.dev.Name); err == nil {
			r.setNonce(n)
		}
	}
	switch r.operation {
	case opAccess:
		r.set("access", hive.Boolean(false))
		r.respond(true)
		s.recordRefusal(r, s.itemOf(r), site.ReasonFault)
	case opVend:
		r.set("vend", hive.Boolean(false))
		r.respond(true)
	default:
		r.respond(false)
	}
}
