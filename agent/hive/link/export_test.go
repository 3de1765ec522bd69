package link

// NewSplitter gives tests the splitter of a line.
func NewSplitter() func(b []byte, message func([]byte), dropped func()) {
	var s splitter
	return s.feed
}
