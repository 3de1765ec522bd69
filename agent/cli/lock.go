package cli

import (
	"fmt"

	"gatehouse/agent/control"
)

// showStillOpens names the locks that do not know of a change yet.
func (e *env) showStillOpens(locks []control.StillOpen, what string) error {
	if len(locks) == 0 {
		return nil
	}
	return fmt.Errorf("%d locks still open for %s: not built yet", len(locks), what)
}
