//go:build !linux

package spool

import "os"

func syncFile(f *os.File) error { return f.Sync() }

// lockFile does nothing: the agent runs on Linux; elsewhere only tools do.
func lockFile(*os.File) error { return nil }
