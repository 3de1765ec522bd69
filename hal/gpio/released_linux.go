package gpio

import (
	"os"
	"path/filepath"
	"strings"

	"gatehouse/hal"
)

// keepParameter is the parameter of a pin controller's driver that keeps a released
// output driven: of pinctrl_bcm2835 and pinctrl_rp1, since 2024. Raspberry Pi's
// kernels set it, mainline does not.
const keepParameter = "persist_gpio_outputs"

// KeepsOutputs reports whether the kernel says that it goes on driving the line as
// an output after it was released (docs/wiring.md, Released lines). It is false where
// that cannot be known: the line is not there, or its driver has no such parameter.
func (b *Board) KeepsOutputs(n hal.LineName) bool {
	p, err := b.k.find(n)
	return err == nil && b.k.keepsOutputs(p.chip)
}

// keepsOutputs asks the driver of the chip. In /sys a chip is below the device whose
// driver made it; the module has the driver's name, with other dashes.
func (k kernel) keepsOutputs(c *chip) bool {
	dev, err := filepath.EvalSymlinks(filepath.Join(k.sysfs, "bus/gpio/devices", c.name))
	if err != nil {
		return false
	}
	driver, err := os.Readlink(filepath.Join(filepath.Dir(dev), "driver"))
	if err != nil {
		return false
	}
	module := strings.ReplaceAll(filepath.Base(driver), "-", "_")
	v, err := os.ReadFile(filepath.Join(k.sysfs, "module", module, "parameters", keepParameter))
	return err == nil && strings.TrimSpace(string(v)) == "Y"
}
