package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gatehouse/agent/swordfish"
	"gatehouse/agent/uplink"
)

// fileSlack is by how much the last message stays below the largest.
const fileSlack = 4 << 10

// fileRun sends door files to an agent in another process.
type fileRun struct {
	filesTask
	host  *fileHost
	cards *swordfish.Cards
	links map[string]string // by door
	agent *agentProcess
	watch *memoryWatch

	took      time.Duration // of the doors' own files
	largeTook time.Duration
	largeSize int // of its message
	denseTook time.Duration
}

// doorFileRows sends a door file to each of many doors, one after the other, then
// one that is nearly as large as a message may be and two that have as many records
// as a file can, and looks at the agent's memory.
func doorFileRows(b *bench) (rows []row, err error) {
	r := &fileRun{filesTask: filesTask{Dir: filepath.Join(b.dir, "doorfiles"), Doors: pick(b, 200, 4), Each: pick(b, 5000, 2500),
		Dense: pick(b, swordfish.MaxUserID, 5000)}}
	if r.cards, err = swordfish.NewCards(fileKey); err != nil {
		return nil, err
	}
	defer os.RemoveAll(r.Dir)
	if err := r.fill(b.ctx); err != nil {
		return nil, err
	}
	if r.host, err = startFileHost(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.host.stop()) }()
	r.Server = "https://" + r.host.addr + drainPath
	if err := r.pinRoot(r.host.root); err != nil {
		return nil, err
	}
	r.Large = r.fits(pick(b, uplink.MaxMessage, 1<<20))
	arg, err := json.Marshal(r.filesTask)
	if err != nil {
		return nil, err
	}
	if r.agent, err = startChild(b.ctx, filesCommand, string(arg)); err != nil {
		return nil, err
	}
	if err := r.measure(b); err != nil {
		return nil, errors.Join(err, r.agent.end())
	}
	rep, err := r.finish()
	if err != nil {
		return nil, err
	}
	out, err := r.row(rep)
	return []row{out}, err
}

// measure waits for rest, sends all files, and waits for rest again.
func (r *fileRun) measure(b *bench) (err error) {
	if err := r.host.linked(b.ctx); err != nil {
		return err
	}
	if r.links, err = r.host.devices(b.ctx); err != nil {
		return err
	}
	r.watch = watchMemory(r.agent)
	defer func() { err = errors.Join(err, r.watch.end()) }()
	still := pick(b, 15*time.Second, time.Second)
	if err := pauseFor(b.ctx, still); err != nil { // after the start
		return err
	}
	r.watch.next()
	if err := pauseFor(b.ctx, still); err != nil {
		return err
	}
	r.watch.next()
	if err := r.phase(); err != nil {
		return err
	}
	began := time.Now()
	for file := range r.Doors {
		if _, err := r.put(b.ctx, file, file); err != nil {
			return err
		}
		if n := file + 1; n%25 == 0 {
			b.printf("  %d door files in %.1f s, at most %.1f MiB …", n, time.Since(began).Seconds(), mebibytes(r.watch.part(2).high))
		}
	}
	r.took = time.Since(began)
	r.watch.next()
	if err := r.putLast(b.ctx); err != nil {
		return err
	}
	if err := r.phase(); err != nil {
		return err
	}
	return pauseFor(b.ctx, still)
}

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// phase begins the next one of the agent's cards.
func (r *fileRun) phase() error {
	_, err := io.WriteString(r.agent.stdin, "next\n")
	return err
}

// finish ends the agent and returns its report.
func (r *fileRun) finish() (rep filesReport, err error) {
	_ = r.agent.stdin.Close()
	err = json.NewDecoder(r.agent.stdout).Decode(&rep)
	return rep, errors.Join(err, r.agent.end())
}

// putLast replaces the file of the last door by the large one, and that by the dense
// ones.
func (r *fileRun) putLast(ctx context.Context) (err error) {
	began := time.Now()
	if r.largeSize, err = r.put(ctx, r.Doors, r.Doors-1); err != nil {
		return err
	}
	r.largeTook = time.Since(began)
	r.watch.next()
	began = time.Now()
	for file := r.Doors + 1; file < r.files(); file++ {
		if _, err := r.put(ctx, file, r.Doors-1); err != nil {
			return err
		}
	}
	r.denseTook = time.Since(began)
	r.watch.next()
	return nil
}

// put sends a door file and waits until it is in force. size is that of its message.
func (r *fileRun) put(ctx context.Context, file, door int) (size int, err error) {
	link := r.links[string(gateID(door))]
	path := "/edgeDevices/" + link + "/database"
	var text strings.Builder
	r.write(&text, file)
	frame, err := r.host.request("PUT", path, text.String())
	if err != nil {
		return 0, err
	}
	if len(frame) > uplink.MaxMessage {
		return 0, fmt.Errorf("message of %d bytes", len(frame))
	}
	if _, err := r.host.send(ctx, path, frame); err != nil {
		return 0, err
	}
	return len(frame), r.host.completed(ctx, link)
}

const (
	fileHead = `{"db":{"usrRcrd":{"deleteAll":1,"delete":[],"update":[],"add":[`
	fileTail = `]},"schedules":[{"days":["Su","Mo","Tu","We","Th","Fr","Sa"],"strtHr":0,"strtMn":0,"lngth":1440}],"holidays":[],"autoUnlock":[]}}`
)

// write writes a door file.
func (r *fileRun) write(w *strings.Builder, file int) {
	first, n := r.first(file)
	record := r.record
	if file > r.Doors {
		record = r.shortest
	}
	w.WriteString(fileHead)
	for i := range n {
		if i > 0 {
			w.WriteByte(',')
		}
		w.WriteString(record(i+1, first+i))
	}
	w.WriteString(fileTail)
}

// record is one of a door file, with all members that a host sends.
func (r *fileRun) record(user, card int) string {
	return fmt.Sprintf(`{"usrID":%d,"adaEn":0,"fnctn":"norm","crSch":[1],"actDtTm":"20200101000000","expDtTm":"20991231235959",`+
		`"primeCr":"%s","prCrTyp":"card","scndCr":"null","scndCrTyp":"null"}`, user, r.primeCr(card))
}

// shortest is a record with no more than what lets a card pass.
func (r *fileRun) shortest(user, card int) string {
	return fmt.Sprintf(`{"usrID":%d,"crSch":1,"primeCr":"%s"}`, user, r.primeCr(card))
}

func (r *fileRun) primeCr(card int) string {
	block, err := cardBits(card).Block()
	if err != nil {
		return "" // never: 26 bits
	}
	return r.cards.Encrypt(block)
}

// fits returns how many records a message of size bytes holds.
func (r *fileRun) fits(size int) int {
	longest := r.record(swordfish.MaxUserID, maxCards)
	return (size - fileSlack) / (len(longest) + strings.Count(longest, `"`) + 1)
}

// row is the figure: the highest that was seen from the first file on, above the
// lowest at rest.
func (r *fileRun) row(rep filesReport) (row, error) {
	rest, files, large, dense, after := r.watch.part(1), r.watch.part(2), r.watch.part(3), r.watch.part(4), r.watch.part(5)
	peak := max(files.high, large.high, dense.high, after.high)
	records := r.Doors * r.Each
	out := row{Name: "doorfile_memory", Value: mebibytes(peak) - mebibytes(rest.low), Bar: 64, Unit: "MiB", Detail: map[string]any{
		"doors": r.Doors, "records": records, "seconds": r.took.Seconds(), "records_per_second": float64(records) / r.took.Seconds(),
		"rest_mib": mebibytes(rest.low), "rest_high_mib": mebibytes(rest.high), "peak_mib": mebibytes(peak), "looks": files.looks + large.looks + dense.looks + after.looks,
		"files_peak_mib": mebibytes(files.high), "large_peak_mib": mebibytes(large.high), "dense_peak_mib": mebibytes(dense.high), "after_mib": mebibytes(after.last),
		"large_records": r.Large, "large_message_bytes": r.largeSize, "large_seconds": r.largeTook.Seconds(),
		"dense_files": denseFiles, "dense_records": r.Dense, "dense_seconds": r.denseTook.Seconds(),
		"events": r.host.events.Load(), "cards_of_files": rep.Cards}}
	if len(rep.Phases) != 3 {
		return out, fmt.Errorf("the agent reports %d phases", len(rep.Phases))
	}
	for i, name := range []string{"before", "during", "after"} {
		p := rep.Phases[i]
		out.Detail[name+"_samples"], out.Detail[name+"_p50_us"], out.Detail[name+"_p99_us"] = p.Samples, p.P50, p.P99
		out.Detail[name+"_longest_us"], out.Detail[name+"_ended_by_timer"] = p.Longest, p.Early
	}
	return out, nil
}

// lookEvery is the time between two looks at the agent's memory.
const lookEvery = 3 * time.Millisecond

// memoryWatch looks at the anonymous memory of an agent, part by part.
type memoryWatch struct {
	stop chan struct{}
	done chan error

	mu    sync.Mutex // guards the following
	parts []memoryPart
}

// memoryPart is what was seen in one part, in bytes.
type memoryPart struct {
	low, high, last uint64
	looks           int
}

func (p *memoryPart) take(n uint64) {
	if p.looks == 0 || n < p.low {
		p.low = n
	}
	p.high, p.last = max(p.high, n), n
	p.looks++
}

// watchMemory begins to look; call end.
func watchMemory(p *agentProcess) *memoryWatch {
	w := &memoryWatch{stop: make(chan struct{}), done: make(chan error, 1), parts: make([]memoryPart, 1)}
	go func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-w.stop:
				w.done <- nil
				return
			case <-tick.C:
			}
			n, _, err := p.anonymous()
			if err != nil {
				w.done <- err
				return
			}
			w.mu.Lock()
			w.parts[len(w.parts)-1].take(n)
			w.mu.Unlock()
		}
	}()
	return w
}

// next begins another part.
func (w *memoryWatch) next() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parts = append(w.parts, memoryPart{})
}

func (w *memoryWatch) part(i int) memoryPart {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.parts[i]
}

// end stops looking. The agent must still run.
func (w *memoryWatch) end() error {
	close(w.stop)
	return <-w.done
}
