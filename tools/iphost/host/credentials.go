package host

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/registry"
)

// newCredentials answers POST /engage/newCredentials (section 1). What proves
// nothing is answered 401, never 403: some firmware then stops trying.
func (h *Host) newCredentials(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		refuse(w, http.StatusMethodNotAllowed, "POST only")
		return
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(smallBodyIn)); err != nil {
		h.cfg.Log.Debug("newCredentials", "err", err)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSmall))
	if err != nil {
		refuse(w, http.StatusBadRequest, "the body is too long or ended early")
		return
	}
	sealed, err := engage.ParseCredentials(body)
	if err != nil {
		h.cfg.Log.Warn("newCredentials refused", "peer", r.RemoteAddr, "err", err)
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	log := h.cfg.Log.With("gateway", sealed.Serial.String(), "peer", r.RemoteAddr)
	password, err := h.reg.NewPassword(r.Context(), sealed, h.cfg.Window)
	switch {
	case err == nil:
	case errors.Is(err, registry.ErrClock), errors.Is(err, registry.ErrUnknownKey), errors.Is(err, registry.ErrReplay), errors.Is(err, engage.ErrCredentials):
		log.Warn("newCredentials refused", "err", err)
		refuse(w, http.StatusUnauthorized, err.Error())
		return
	default:
		log.Error("newCredentials", "err", err)
		refuse(w, http.StatusServiceUnavailable, "the host cannot keep passwords now")
		return
	}
	log.Debug("new credentials")
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Cache-Control", "no-store")
	io.WriteString(w, password) // a gateway that left asks again
}

// Buffers of a connection. Larger messages pass through in pieces.
const (
	readBuffer  = 1024
	writeBuffer = 4096
)

var upgrader = websocket.Upgrader{
	HandshakeTimeout: 10 * time.Second, ReadBufferSize: readBuffer, WriteBufferSize: writeBuffer,
	WriteBufferPool: &writeBuffers, Subprotocols: []string{engage.SubProtocol},
	Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
		refuse(w, status, reason.Error())
	},
}

// connect answers the upgrade of a gateway (section 1).
func (h *Host) connect(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		refuse(w, http.StatusUpgradeRequired, "a WebSocket is here")
		return
	}
	name, password, _ := r.BasicAuth()
	serial, err := engage.ParseSerial(name)
	site := ""
	if err == nil {
		site, err = h.reg.CheckPassword(r.Context(), serial, password)
	}
	if err != nil {
		if !errors.Is(err, registry.ErrPassword) && !errors.Is(err, engage.ErrSerial) {
			h.cfg.Log.Error("upgrade", "gateway", serial.String(), "err", err)
			refuse(w, http.StatusServiceUnavailable, "the host cannot check passwords now")
			return
		}
		h.cfg.Log.Warn("upgrade refused", "gateway", name[:min(len(name), 32)], "peer", r.RemoteAddr, "err", err)
		w.Header().Set("WWW-Authenticate", `Basic realm="engage"`)
		refuse(w, http.StatusUnauthorized, "authenticate again")
		return
	}
	if !strings.Contains(","+strings.Join(websocket.Subprotocols(r), ",")+",", ","+engage.SubProtocol+",") {
		refuse(w, http.StatusBadRequest, "want the sub-protocol "+engage.SubProtocol)
		return
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		h.cfg.Log.Warn("upgrade", "gateway", serial.String(), "peer", r.RemoteAddr, "err", err)
		return
	}
	h.begin(ws, serial, site)
}
