package cli_test

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"gatehouse/agent/site"
)

// terminal gives the commands a terminal as standard input and returns the side
// where a person types.
func terminal(t *testing.T) *os.File {
	t.Helper()
	person, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stdin
	os.Stdin = tty
	t.Cleanup(func() { os.Stdin = old; tty.Close(); person.Close() })
	return person
}

// echoes reports whether the terminal shows what is typed.
func echoes(t *testing.T) bool {
	t.Helper()
	v, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return v.Lflag&unix.ECHO != 0
}

func TestAskPIN(t *testing.T) {
	for _, tt := range []struct {
		name, typed string
		code        int
		pin, duress string
		said        string
	}{
		{"none", "\n", 1, "", "", "no PIN was given"},
		{"two different", "4711\n4712\n", 1, "", "", "not the same"},
		{"no PIN", "12\n12\n\n", 1, "", "", "4 to 12 digits"},
		{"a PIN", "4711\n4711\n\n", 0, "4711", "", ""},
		{"and a duress PIN", "4711\n4711\n0815\n0815\n", 0, "4711", "0815", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAgent(t)
			id := site.CredentialID(ids.FindString(a.must("credential", "add", "--holder", "Ada", "--bits", "8:01")))
			person := terminal(t)
			if _, err := io.WriteString(person, tt.typed); err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := a.run("credential", "pin", string(id))
			if code != tt.code || !strings.Contains(stderr, tt.said) || strings.Contains(stdout+stderr, "4711") {
				t.Errorf("%d %s%s", code, stdout, stderr)
			}
			if !echoes(t) {
				t.Error("the terminal was left silent")
			}
			for _, pin := range []string{tt.pin, tt.duress} {
				if pin == "" {
					continue
				}
				if ok, _, err := a.store.CheckPIN(id, pin); !ok || err != nil {
					t.Errorf("%s: %v, %v", pin, ok, err)
				}
			}
		})
	}
}

// TestAskInterrupted: an interrupt ends the question and gives the terminal back.
func TestAskInterrupted(t *testing.T) {
	a := newAgent(t)
	terminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code, _, _ := run(ctx, "--config", a.config, "credential", "pin", "abcd")
	if code != 1 || !echoes(t) {
		t.Errorf("%d, echo %v", code, echoes(t))
	}
}
