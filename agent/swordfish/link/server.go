package link

import (
	"context"
	"errors"
	"net/http"

	"gatehouse/agent/site"
)

// Server answers the locks of the site.
type Server struct{ ready chan struct{} }

var errNotBuilt = errors.New("not built yet")

// New builds the server of validated settings: it reads the state of the locks
// and what the event log has beyond it. It starts nothing.
func New(cfg Config, deps Deps) (*Server, error) { return nil, errNotBuilt }

// Handler answers everything under /swordfish/lock/.
func (s *Server) Handler() http.Handler { return http.NotFoundHandler() }

// Call answers a call of a lock that hangs on a serial line and was authenticated
// by it. err is ErrUnknownLock where no lock hangs on that device, or that of ctx.
func (s *Server) Call(ctx context.Context, device site.DeviceName, method, path string, body []byte) (status int, out []byte, err error) {
	return 0, nil, errNotBuilt
}

// PutConfig keeps a config of the host for the lock's next call, in place of one
// that waits: a JSON object, or one whose only member "config" is that object.
func (s *Server) PutConfig(door site.DoorID, body []byte) error { return errNotBuilt }

// DeleteConfig takes back a config that waits; ErrNoConfig where there is none.
func (s *Server) DeleteConfig(door site.DoorID) error { return errNotBuilt }

// Params returns the Config that the lock put last, as it came; ErrNoConfig where
// it has put none.
func (s *Server) Params(door site.DoorID) ([]byte, error) { return nil, errNotBuilt }

// Run notices locks that miss their calls and works out which are behind. It
// returns nil when ctx ends. Calls are answered whether or not it runs.
func (s *Server) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Ready is closed when Run has begun.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// String names the task.
func (s *Server) String() string { return "locks" }
