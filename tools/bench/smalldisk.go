package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ownMounts gives a process mounts of its own: with root's right, or without in
// a user namespace where the kernel allows one.
func ownMounts() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if uid := os.Getuid(); uid != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return a
}

// smallDiskSize is that of the file system of the event log.
const smallDiskSize = "16m"

// smallDisk mounts a file system at dir and copies what is in from to it. It
// goes with the process.
func smallDisk(dir, from string) error {
	const hint = "a file system that can be full is wanted: root's right to mount, or a kernel that allows user namespaces"
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("%s: %w", hint, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+smallDiskSize+",mode=0700"); err != nil {
		return fmt.Errorf("%s: %w", hint, err)
	}
	return os.CopyFS(dir, os.DirFS(from))
}

// fillDisk writes a file until no byte has room.
func fillDisk(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for block := make([]byte, 64<<10); len(block) > 0 && err == nil; {
		if _, err = f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block, err = block[:len(block)/2], nil
		}
	}
	return errors.Join(err, f.Close())
}
