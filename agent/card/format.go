package card

// Format is one card format as data: where facility and number stand and which
// bits each parity covers (protocols/wiegand.md).
type Format struct {
	Name string
	Bits int
}
