package swordfish

// Info is what a lock's Config says of it, where it does.
type Info struct {
	Name, Model, Firmware string
	Battery               string  // the lock's own word
	Main, Li              float64 // volts; 0: not told
}

// ReadInfo finds these in the Config that a lock put.
func ReadInfo(b []byte) (Info, error) { return Info{}, errNotBuilt }
