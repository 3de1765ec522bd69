package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// failure is what stopped an attempt: where, why and what to do.
type failure struct {
	stage  StageName
	err    error
	advice string
	// renew asks for new credentials and another attempt at once (401).
	renew bool
}

// Error says where and why.
func (f *failure) Error() string { return string(f.stage) + ": " + f.err.Error() }

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.err }

func (f *failure) cause() string { return f.err.Error() }

// explain makes a failure of an error of the network or of TLS.
func explain(stage StageName, err error) *failure {
	return &failure{stage: stage, err: err, advice: adviceFor(stage, err)}
}

func adviceFor(stage StageName, err error) string {
	if stage == StageDNS {
		if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
			return "check the host's name in uplink.server_url, and that the site's DNS server knows it"
		}
		return "check the network and the DNS server of this board (gatehouse net)"
	}
	if text := adviceTLS(err); text != "" {
		return text
	}
	if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
		err = closed // IsCloseError does not unwrap
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: check host and port in uplink.server_url, and that the IP host runs"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "there is no route: check cable, address and gateway of this board (gatehouse net)"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer in time: check that a firewall lets this board out to the host and port, or set a proxy"
	case websocket.IsCloseError(err, websocket.CloseAbnormalClosure), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the other side hung up: look at the IP host's log, and for a firewall or proxy between"
	}
	return "look at the IP host's log"
}

// adviceTLS returns "" for what is not an error of TLS.
func adviceTLS(err error) string {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the port does not speak TLS: check the port in uplink.server_url"
	}
	if host, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("the certificate is for other names: use one of them in uplink.server_url, or give the host a certificate with %q as subject alternative name", host.Host)
	}
	if bad, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if bad.Reason == x509.Expired {
			return "check the clock of this board; if it is right, the host's certificate must be renewed"
		}
		return "the host's certificate must be made anew"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the pinned root did not sign the host's certificate, and fetching it again did not help: check that uplink.ca_url belongs to this host; somebody may be in between"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" { // a TLS alert
		return "the host refused the handshake: look at its log; TLS 1.2 or later is wanted"
	}
	return ""
}

// untrusted reports whether TLS failed because the host could not be believed.
func untrusted(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// explainHTTP makes a failure of an answer's status. now is the board's time.
func explainHTTP(stage StageName, resp *http.Response, now time.Time) *failure {
	f := &failure{stage: stage, err: fmt.Errorf("the host answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))}
	switch code := resp.StatusCode; {
	case code/100 == 3:
		f.err = fmt.Errorf("the host redirects to %.200q, which is not followed", resp.Header.Get("Location"))
		f.advice = "set that address as uplink.server_url, if it is the IP host's and https"
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		f.renew = stage == StageUpgrade && code == http.StatusUnauthorized
		f.advice = "check that the host knows this gateway's serial number and has the same site key" + skew(resp, now)
	case code == http.StatusNotFound && stage == StageCredentials:
		f.advice = "the host has no " + CredentialsPath + ": check host and port in uplink.server_url"
	case code == http.StatusNotFound:
		f.advice = "check the path in uplink.server_url"
	case code == http.StatusTooManyRequests || code >= 500:
		f.advice = "the host is busy or broken: look at its log; the gateway tries on"
	default:
		f.advice = "look at the host's log, and check uplink.server_url"
	}
	return f
}

// skew says how far the clocks are apart when the host tells its time.
func skew(resp *http.Response, now time.Time) string {
	at, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return ", and the clock of this board"
	}
	d := now.Sub(at).Round(time.Second)
	switch {
	case d > time.Minute:
		return fmt.Sprintf("; the clock of this board is %s ahead of the host's, which takes 5 minutes", d)
	case d < -time.Minute:
		return fmt.Sprintf("; the clock of this board is %s behind the host's, which takes 5 minutes", -d)
	}
	return "; the clocks agree"
}
