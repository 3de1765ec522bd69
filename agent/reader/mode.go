package reader

import "fmt"

// modeNames are the words of the settings.
var modeNames = []string{"card", "card_pin", "pin", "either", "closed"}

// String returns the mode as the settings write it.
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}
