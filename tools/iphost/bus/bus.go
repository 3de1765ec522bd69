// Package bus joins the hosts of one installation: a NATS connection with
// JetStream, to a server inside the process or to a cluster that exists.
//
// Without a URL a NATS server is embedded, with its files in the state folder.
// It listens to nobody unless Cluster is given; with it, the hosts' servers
// join over their routes and every bucket and stream has replicas.
//
// The bus is the trust domain: who can speak on it can read site keys and the
// CA's key. Routes between machines want TLS or a network of their own.
//
// Reads of buckets go to the leader of the bucket, never to a replica that may
// lag, so what one host has written every host reads.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// MaxPayload is the largest message on an embedded server: an ENGAGE message
// of 8 MiB and what goes with it.
const MaxPayload = 10 << 20

// Config says how to join. The zero value with a Dir is one host alone.
type Config struct {
	// Dir holds the embedded server's files.
	Dir string
	// Name is this host's name; it must differ from the others'.
	Name string
	// URL is an existing NATS cluster; then nothing is embedded.
	URL string
	// CredsFile and CAFile are for URL; either may be empty.
	CredsFile, CAFile string
	// Cluster joins embedded servers; nil for one alone.
	Cluster *Cluster
	// Replicas of each bucket and stream: 0 means as many as there are hosts,
	// at most 3; with a URL it means 1.
	Replicas int
	// SyncAlways flushes each write to disk before it is acknowledged. Without
	// it a power cut takes what this machine wrote in the last two minutes,
	// which the replicas make up for.
	SyncAlways bool
	// Log may be nil.
	Log *slog.Logger
}

// Bus is an open connection. It is made by Open and ended by Close.
type Bus struct {
	NC *nats.Conn
	JS jetstream.JetStream

	srv      *server.Server
	once     sync.Once // its end
	replicas int
	alone    bool // an embedded server without others
	log      *slog.Logger
}

// Open joins and waits until JetStream answers, as long as ctx lasts: a cluster
// answers when more than half of its hosts are there.
func Open(ctx context.Context, cfg Config) (*Bus, error) {
	b := &Bus{log: cfg.Log, replicas: replicas(cfg), alone: cfg.URL == "" && cfg.Cluster == nil}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	opts := []nats.Option{nats.Name("iphost " + cfg.Name), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond),
		nats.RetryOnFailedConnect(true), nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			b.log.Warn("nats", "subject", subject, "err", err)
		})}
	target := cfg.URL
	if cfg.URL == "" {
		srv, auth, err := embed(cfg, b.log)
		if err != nil {
			return nil, err
		}
		b.srv = srv
		opts = append(opts, nats.InProcessServer(srv))
		opts = append(opts, auth...)
	} else {
		if cfg.CredsFile != "" {
			opts = append(opts, nats.UserCredentials(cfg.CredsFile))
		}
		if cfg.CAFile != "" {
			opts = append(opts, nats.RootCAs(cfg.CAFile))
		}
	}
	var err error
	if b.NC, err = nats.Connect(target, opts...); err != nil {
		b.Close()
		return nil, fmt.Errorf("nats %s: %w", where(cfg.URL), err)
	}
	if b.JS, err = jetstream.New(b.NC); err != nil {
		b.Close()
		return nil, fmt.Errorf("nats: %w", err)
	}
	if err := b.await(ctx, cfg); err != nil {
		b.Close()
		return nil, err
	}
	if most := b.NC.MaxPayload(); most < MaxPayload {
		b.log.Warn("the NATS cluster takes smaller messages than ENGAGE has; larger ones are refused", "max_payload", most, "want", MaxPayload)
	}
	return b, nil
}

func replicas(cfg Config) int {
	switch {
	case cfg.Replicas > 0:
		return cfg.Replicas
	case cfg.Cluster != nil:
		return min(3, len(cfg.Cluster.Routes)+1)
	}
	return 1
}

// where names a NATS cluster without its password.
func where(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "at an unreadable URL"
	}
	return u.Redacted()
}

// await waits for JetStream.
func (b *Bus) await(ctx context.Context, cfg Config) error {
	start, told := time.Now(), time.Duration(0)
	for {
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := b.JS.AccountInfo(once)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("nats %s: JetStream does not answer: %w", where(cfg.URL), err)
		}
		if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
			if b.srv == nil {
				return fmt.Errorf("nats %s: %w", where(cfg.URL), err)
			}
		}
		if since := time.Since(start); since-told > 10*time.Second {
			told = since
			b.log.Warn("waiting for JetStream; a cluster needs more than half of its hosts", "for", since.Round(time.Second), "err", err)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("nats %s: JetStream does not answer: %w", where(cfg.URL), err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Close leaves: what was published is flushed, then the connection and the
// embedded server end.
func (b *Bus) Close() {
	if b.NC != nil {
		if b.NC.IsConnected() {
			if err := b.NC.FlushTimeout(2 * time.Second); err != nil {
				b.log.Warn("nats: flush at the end", "err", err)
			}
		}
		b.NC.Close()
	}
	b.end()
}

// end stops the embedded server, which must not be told twice.
func (b *Bus) end() {
	if b.srv != nil {
		b.once.Do(func() { b.srv.Shutdown(); b.srv.WaitForShutdown() })
	}
}

// Abort ends without a flush, as a crash does; for tests.
func (b *Bus) Abort() {
	b.NC.Close()
	b.end()
}

// Stream makes the stream, or takes the one that is there and adds replicas
// where it has fewer. It retries while ctx lasts, for a young cluster refuses;
// a server alone that refuses (a disk that is too small) means it.
func (b *Bus) Stream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	cfg.Replicas = b.replicas
	cfg.Storage = jetstream.FileStorage
	start, told := time.Now(), time.Duration(0)
	for {
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		s, err := b.stream(once, cfg)
		cancel()
		if err == nil {
			return s, nil
		}
		var refused *jetstream.APIError
		if b.alone && errors.As(err, &refused) {
			return nil, fmt.Errorf("nats: stream %s: %w", cfg.Name, err)
		}
		if since := time.Since(start); since-told > 10*time.Second {
			told = since
			b.log.Warn("waiting for a stream", "stream", cfg.Name, "for", since.Round(time.Second), "err", err)
		}
		if pause(ctx, 250*time.Millisecond) != nil {
			return nil, fmt.Errorf("nats: stream %s: %w", cfg.Name, err)
		}
	}
}

func (b *Bus) stream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	s, err := b.JS.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = b.JS.CreateStream(ctx, cfg)
	}
	if err != nil {
		return nil, err
	}
	have := s.CachedInfo().Config
	if have.Replicas < cfg.Replicas || have.MaxAge != cfg.MaxAge || have.MaxBytes != cfg.MaxBytes {
		have.Replicas = max(have.Replicas, cfg.Replicas)
		have.MaxAge, have.MaxBytes = cfg.MaxAge, cfg.MaxBytes
		return b.JS.UpdateStream(ctx, have)
	}
	return s, nil
}

// Bucket makes or takes a key-value bucket whose entries live for ttl, or for
// ever when it is zero. Only the newest value of a key is kept.
func (b *Bus) Bucket(ctx context.Context, name string, ttl time.Duration) (jetstream.KeyValue, error) {
	// The bucket's stream is made here because AllowDirect, which nats.go always
	// sets, lets a lagging replica answer a read.
	_, err := b.Stream(ctx, jetstream.StreamConfig{
		Name: "KV_" + name, Subjects: []string{"$KV." + name + ".>"},
		MaxMsgsPerSubject: 1, MaxAge: ttl, AllowRollup: true, DenyDelete: true,
		MaxBytes: -1, Discard: jetstream.DiscardNew, Duplicates: dedupe(ttl),
	})
	if err != nil {
		return nil, err
	}
	var kv jetstream.KeyValue
	for end := time.Now().Add(patience); ; {
		err := Again(ctx, func(ctx context.Context) (err error) {
			kv, err = b.JS.KeyValue(ctx, name)
			return err
		})
		if err == nil {
			return kv, nil
		}
		// In a young cluster it may be asked of a host that does not know it yet.
		if !errors.Is(err, jetstream.ErrBucketNotFound) || time.Now().After(end) || pause(ctx, pauseTime) != nil {
			return nil, fmt.Errorf("nats: bucket %s: %w", name, err)
		}
	}
}

// dedupe is a bucket's window for repeats, which may not be longer than ttl.
func dedupe(ttl time.Duration) time.Duration {
	const usual = 2 * time.Minute
	if ttl > 0 && ttl < usual {
		return ttl
	}
	return usual
}

func storeDir(cfg Config) string { return filepath.Join(cfg.Dir, "nats") }
