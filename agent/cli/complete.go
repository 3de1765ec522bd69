package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/agent/control"
	"gatehouse/agent/site"
)

// completeLimit is how long a shell waits for an agent that does not answer.
const completeLimit = time.Second

// completions are those of words that begin so, each with its name for a person.
type completions struct {
	begin string
	out   []string
}

func (c *completions) add(id, name string) {
	if strings.HasPrefix(id, c.begin) {
		c.out = append(c.out, id+"\t"+printable(name))
	}
}

// completeLocks completes the id of a lock, of any line. Without an agent there
// is nothing to complete.
func (e *env) completeLocks(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	c := completions{begin: begin}
	if len(args) == 0 {
		for _, l := range e.askLocks(cmd) {
			c.add(string(l.ID), l.Name)
		}
	}
	return c.out, cobra.ShellCompDirectiveNoFileComp
}

// completeDoors completes the id of what takes commands: a door, or a lock on a
// serial line.
func (e *env) completeDoors(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	c := completions{begin: begin}
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeLimit)
	defer cancel()
	var doors []site.DoorStatus
	if e.client().Get(ctx, "/v1/doors", nil, &doors) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	known := map[site.DoorID]bool{}
	for _, d := range doors {
		known[d.ID] = true
		c.add(string(d.ID), d.Name)
	}
	for _, l := range e.askLocks(cmd) {
		if l.Line == control.LockSerial && !known[l.ID] {
			c.add(string(l.ID), l.Name)
		}
	}
	return c.out, cobra.ShellCompDirectiveNoFileComp
}

// doorModes are the modes that door mode takes.
var doorModes = []string{"secured", "passage", "frozen_secured", "frozen_passage", "disabled", "auto"}

// completeDoorMode completes a door and then a mode.
func (e *env) completeDoorMode(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return e.completeDoors(cmd, args, begin)
	}
	c := completions{begin: begin}
	for _, m := range doorModes {
		c.add(m, "")
	}
	return c.out, cobra.ShellCompDirectiveNoFileComp
}

// askLocks returns the locks, or none where no agent says.
func (e *env) askLocks(cmd *cobra.Command) []control.LockStatus {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeLimit)
	defer cancel()
	var book control.LockBook
	if e.client().Get(ctx, "/v1/locks", nil, &book) != nil {
		return nil
	}
	return book.Locks
}
