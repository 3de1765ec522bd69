// Package supervise is the parent process of `run`, and the child's side of it:
// an agent that dies or hangs leaves its outputs safe within 2 s (design.md
// promise 2).
//
// # The two processes
//
// [Parent] starts the agent as its child, in a process group of its own, with
// two pipes: descriptor 3 carries beats from the parent to the child, 4 from
// the child to the parent. A beat is one byte each [Config.Beat], "."; the
// child's last is "!" when it has stopped in order.
//
//	what happens                  who notices           then
//	child is killed, crashes      parent, by its death  Safe, restart
//	child is silent: SIGSTOP,     parent, by silence    SIGKILL, wait, Safe, restart
//	  deadlock, a door is stuck
//	parent is killed              child, by the end of  the agent drives safe and exits
//	                              the pipe
//	parent is silent: SIGSTOP     child, by silence     the same
//	SIGTERM to the parent         (its ctx)             SIGTERM to the child, wait, Safe, exit
//
// The kernel refuses a line that another process holds, so the parent waits for
// the child's death before it calls Safe, and Safe claims the lines at their
// safe level and gives them back. Both at once are the service manager's, the
// watchdog's and the resistor's.
//
// # Time
//
// With the defaults a silent child is killed 0.7 to 0.9 s after its last beat,
// and Safe has a second. Silence is counted in the listener's own running time:
// a listener that was itself stopped, starved or suspended counts at most two
// beats for it, and what waits in the pipe is read before it judges. So a pause
// of the whole machine kills nobody, and a listener that is scheduled late is
// slower to judge, not wrong. All times are monotonic.
//
// # Exit codes of the child
//
// A code of [Config.Final] (125, and 78, sysexits.h's EX_CONFIG) says that a
// restart would change nothing: it ends the parent with that code. Any other, 0
// too when nobody asked the parent to end, is restarted after a growing delay:
// somebody who ends the agent alone must not leave the doors dead. What
// is left in the child's process group after a crash is killed; a process that
// must survive, such as the simulated board's holder, has its own session.
package supervise
