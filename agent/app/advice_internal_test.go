package app

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gatehouse/agent/notify"
	"gatehouse/agent/uplink"
	"gatehouse/store/spool"
)

// TestAdvice: doctor says what to do about every fault that this package or the
// event log sets, not that the cause is unknown.
func TestAdvice(t *testing.T) {
	ids := []string{spool.FaultWrite, spool.FaultDamaged, spool.FaultBudget, spool.FaultState, uplink.FaultID,
		notify.Item("ops"), "task:https", "listen.https", "input.fire", "output.siren"}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := regexp.MustCompile(`health\.Set\("([^"]+)"`)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range set.FindAllStringSubmatch(string(text), -1) {
			ids = append(ids, m[1])
		}
	}
	if !slices.Contains(ids, "listen.certificate") || len(ids) < 20 {
		t.Fatalf("found only %v", ids)
	}
	for _, id := range ids {
		if cause, do := adviceOn(id); cause == unknownCause || do == "" {
			t.Errorf("fault %s: cause %s, do: %s", id, cause, do)
		}
	}
}
