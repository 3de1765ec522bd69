// Package task runs the long-lived parts of the agent.
//
// A [Task] is what every such part is. A [Group] starts tasks in order, each
// when the one before is ready, restarts one that fails by its [Policy], and
// stops them in reverse order within a deadline. [Health] is the list of
// standing faults, which tells the onset and the end of each one once.
//
// # Concurrency
//
// A Group runs each task in a goroutine of its own and returns from Run when
// all have ended, or when the deadline of the stop has passed with tasks that do
// not heed their context; it names those. A panic in the goroutine that called
// a task's Run becomes an error with its stack logged; one in a goroutine that
// the task started ends the process, and the supervisor drives the lines safe.
//
// A task's failures are a standing fault "task:<name>" from the first one until
// it has run again for Policy.Healthy.
package task
