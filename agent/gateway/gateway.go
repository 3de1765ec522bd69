package gateway

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"gatehouse/agent/site"
	"gatehouse/store"
)

// Gateway answers requests. Make one with New.
type Gateway struct {
	cfg      Config
	deps     Deps
	deviceID string // of the appliance
	links    *links
	files    *files

	mu sync.Mutex // guards the following
	// read is up to which event the audits of a door were read, seen from where on
	// its next one can be.
	read, seen map[site.DoorID]site.EventSeq
	issued     string // the credentials that GET gave last
}

// New makes a gateway. It reads what was kept and gives new devices their links.
func New(cfg Config, deps Deps) (*Gateway, error) {
	deps, err := deps.check()
	if err != nil {
		return nil, err
	}
	cfg, serial, err := cfg.check()
	if err != nil {
		return nil, err
	}
	ls, err := newLinks(&cfg, serial, deps.Keep)
	if err != nil {
		return nil, err
	}
	return &Gateway{cfg: cfg, deps: deps, deviceID: hex.EncodeToString(serial[8:]), links: ls, files: newFiles(),
		read: map[site.DoorID]site.EventSeq{}, seen: map[site.DoorID]site.EventSeq{}}, nil
}

// Devices returns the linked devices' ids by door, for status pages.
func (g *Gateway) Devices() map[site.DoorID]string {
	out := map[site.DoorID]string{}
	for _, l := range g.links.all() {
		out[l.Door] = l.linkID
	}
	return out
}

// reply is an answer.
type reply struct {
	status int
	body   []byte
}

// message is an answer with a statusMessage.
func message(status int, text string) reply {
	body, err := json.Marshal(struct {
		StatusMessage string `json:"statusMessage"`
	}{text})
	if err != nil {
		return reply{status: status} // never: a text
	}
	return reply{status, body}
}

// answer is an answer with a body.
func answer(status int, v any) reply {
	body, err := json.Marshal(v)
	if err != nil {
		return message(500, "Internal error")
	}
	return reply{status, body}
}

// failed turns an error into an answer.
func (g *Gateway) failed(err error) reply {
	for _, k := range []struct {
		err    error
		status int
	}{{ErrInvalid, 400}, {ErrRefused, 403}, {ErrUnsupported, 501}, {ErrNotReady, 503}, {store.ErrFault, 503}, {store.ErrClosed, 503}} {
		if errors.Is(err, k.err) {
			return message(k.status, err.Error())
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return message(500, "Timed out")
	}
	g.deps.Logger.Error("gateway request failed", "err", err)
	return message(500, err.Error())
}

// request is a request on its way to its resource.
type request struct {
	method string
	link   *link // nil: of the gateway, or of all devices
	body   string
	local  bool // over HTTPS, not through the uplink
}

// resource answers the methods that it has.
type resource map[string]func(g *Gateway, ctx context.Context, r *request) reply

// The resources of engage.md section 3.
var (
	ofGateway = map[string]resource{
		"scanList":       {"GET": (*Gateway).scanList},
		"deviceInfo":     {"GET": (*Gateway).deviceInfo},
		"time":           {"GET": (*Gateway).gatewayTime},
		"config":         {"PUT": (*Gateway).putGatewayConfig},
		"newCredentials": {"GET": (*Gateway).getCredentials, "PUT": (*Gateway).putCredentials},
	}
	ofDevices = map[string]resource{
		"":            {"POST": (*Gateway).linkDevice},
		"linkList":    {"GET": (*Gateway).linkList},
		"lockControl": {"PUT": (*Gateway).controlAll},
		"lockStatus":  {"GET": (*Gateway).statusAll},
		"audits":      {"GET": (*Gateway).getAllAudits, "DELETE": (*Gateway).deleteAllAudits},
	}
	ofDevice = map[string]resource{
		"":                 {"DELETE": (*Gateway).unlinkDevice},
		"lockControl":      {"PUT": (*Gateway).control},
		"lockStatus":       {"GET": (*Gateway).status},
		"database":         {"PUT": (*Gateway).putDatabase, "DELETE": (*Gateway).cancelDatabase},
		"dbDownloadStatus": {"GET": (*Gateway).downloadStatus},
		"config":           {"PUT": (*Gateway).putConfig, "DELETE": (*Gateway).deleteConfig},
		"audits":           {"GET": (*Gateway).getAudits, "DELETE": (*Gateway).deleteAudits},
		"time":             {"GET": (*Gateway).deviceTime},
		"params":           {"GET": (*Gateway).params},
	}
)

// Serve answers one request of a host. path may have surplus slashes and a query,
// which no resource has a use for. body is at most 8 MiB and is not kept. The answer's
// body is JSON, or empty.
func (g *Gateway) Serve(ctx context.Context, method, path, body string) (status int, answer []byte) {
	r := g.serve(ctx, method, path, body, false)
	return r.status, r.body
}

func (g *Gateway) serve(ctx context.Context, method, path, body string, local bool) reply {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
	r := &request{method: strings.ToUpper(method), body: body, local: local}
	var res resource
	switch {
	case len(parts) == 2 && parts[0] == "gateway":
		res = ofGateway[parts[1]]
	case len(parts) == 1 && parts[0] == "edgeDevices":
		res = ofDevices[""]
	case len(parts) == 2 && parts[0] == "edgeDevices" && ofDevices[parts[1]] != nil:
		res = ofDevices[parts[1]]
	case (len(parts) == 2 || len(parts) == 3) && parts[0] == "edgeDevices":
		if len(parts) == 2 {
			parts = append(parts, "")
		}
		if res = ofDevice[parts[2]]; res == nil {
			break
		}
		if r.link = g.links.find(parts[1]); r.link == nil {
			return message(404, "Unknown linkId")
		}
	}
	if res == nil {
		return message(404, "Unknown resource")
	}
	fn := res[r.method]
	if fn == nil {
		return message(405, fmt.Sprintf("Method %.16q is not supported here", method))
	}
	return fn(g, ctx, r)
}

// String names the task.
func (g *Gateway) String() string { return "gateway" }
