package gpio

import (
	"os"
	"path/filepath"
	"testing"

	"gatehouse/hal"
)

// device puts a chip into a folder that is like /sys, and returns the folder of its
// driver's parameters.
func (m *machine) device(chip, device, driver, module string) string {
	m.t.Helper()
	at := filepath.Join(m.sysfs, "devices/platform", device)
	parameters := filepath.Join(m.sysfs, "module", module, "parameters")
	for _, dir := range []string{filepath.Join(at, chip), parameters, filepath.Join(m.sysfs, "bus/gpio/devices"), filepath.Join(m.sysfs, "bus/platform/drivers", driver)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			m.t.Fatal(err)
		}
	}
	for to, link := range map[string]string{
		filepath.Join("../../../devices/platform", device, chip): filepath.Join(m.sysfs, "bus/gpio/devices", chip),
		filepath.Join("../../../bus/platform/drivers", driver):   filepath.Join(at, "driver"),
	} {
		if err := os.Symlink(to, link); err != nil {
			m.t.Fatal(err)
		}
	}
	return parameters
}

func TestKeepsOutputs(t *testing.T) {
	for _, tt := range []struct {
		name       string
		rp1, other string // the parameter of the line's driver, and of one that is built in and not in use
		line       hal.LineName
		want       bool
	}{
		{"a kernel of Raspberry Pi keeps it", "Y\n", "Y\n", "GPIO17", true},
		{"strict_gpiod, and another driver that would keep its own", "N\n", "Y\n", "GPIO17", false},
		{"a driver without the parameter", "", "Y\n", "GPIO17", false},
		{"the chip of another driver", "Y\n", "Y\n", "IN1", false},
		{"no such line", "Y\n", "Y\n", "GPIO99", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := pi(t)
			rp1 := m.device("gpiochip0", "1f000d0000.gpio", "pinctrl-rp1", "pinctrl_rp1")
			unused := filepath.Join(m.sysfs, "module/pinctrl_bcm2835/parameters")
			m.device("gpiochip2", "expander", "raspberrypi-exp-gpio", "raspberrypi_exp_gpio")
			if err := os.MkdirAll(unused, 0o700); err != nil {
				t.Fatal(err)
			}
			for dir, v := range map[string]string{rp1: tt.rp1, unused: tt.other} {
				if v == "" {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, "persist_gpio_outputs"), []byte(v), 0o444); err != nil {
					t.Fatal(err)
				}
			}
			if got := m.board().KeepsOutputs(tt.line); got != tt.want {
				t.Errorf("%s: %v", tt.line, got)
			}
		})
	}
}

// Without a /sys nothing is said.
func TestKeepsOutputsUnknown(t *testing.T) {
	if pi(t).board().KeepsOutputs("GPIO17") {
		t.Error("without a word of the kernel")
	}
}
