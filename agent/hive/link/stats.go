package link

import "time"

// LineStats is what became of a line so far.
type LineStats struct {
	Port     string
	Offline  bool          // the port cannot be used
	Answered uint64        // envelopes, refused ones included
	Bad      uint64        // lines that were too long or no envelope
	Devices  []DeviceStats // in the order of the settings
}

// DeviceStats is what became of a device on a line so far.
type DeviceStats struct {
	LineDevice
	Offline bool      // the port cannot be used, or a polled device was silent for 8 s
	Heard   time.Time // of the last packet that was surely its; zero: none
	Sent    uint64    // commands sent to it, polls and repeats included
	Silent  uint64    // of those, without an answer in time
	Late    uint64    // packets in its name that answered nothing that was awaited
}
