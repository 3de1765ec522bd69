package app

import (
	"strings"

	"gatehouse/hal"
)

// keepsOutputs is a board that can tell whether its kernel goes on driving an output
// that nobody holds any more.
type keepsOutputs interface{ KeepsOutputs(hal.LineName) bool }

// releasedWrong tells of the outputs that stay as they were when agent and supervisor
// end at once: what promise 2 leaves to the resistor is then nobody's.
func (a *App) releasedWrong(wrong func(what, cause, do string)) {
	b, ok := a.hw.Board.(keepsOutputs)
	if !ok {
		return
	}
	var kept []string
	add := func(n hal.LineName) {
		if n != "" && b.KeepsOutputs(n) {
			kept = append(kept, string(n))
		}
	}
	for _, c := range a.cfg.Doors {
		add(c.Strike)
	}
	for _, c := range a.cfg.Outputs {
		add(c.Line)
	}
	if len(kept) > 0 {
		wrong("the kernel goes on driving "+strings.Join(kept, ", ")+" when nothing holds them any more",
			"persist_gpio_outputs of the pin controller is set, as in Raspberry Pi's own kernels: a strike that is unlocked when all of the agent dies at once stays unlocked, whatever its resistor",
			"put dtparam=strict_gpiod into config.txt (/boot/firmware on Raspberry Pi OS) and boot; see docs/wiring.md, Released lines")
	}
}
