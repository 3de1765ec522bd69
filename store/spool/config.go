package spool

import "time"

// Config is the events section of the settings, validated.
type Config struct {
	Dir    string        // the folder of the log's files
	Budget int64         // bytes on disk before the oldest go; at least 1 MiB
	Keep   time.Duration // age after which delivered events go; zero: by budget only
	// Queue is the number of events that may wait for the disk. Zero: 4096.
	Queue int
}
