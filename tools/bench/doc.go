// Bench measures what design.md section 5 promises and prints one JSON result.
//
//	go run ./tools/bench [-short] [-only row,…] [-n 1000000] [-json FILE]
//
//	-short  small sizes, under a minute; only absurd figures fail
//	-only   these rows, or all rows of these groups (-list prints both)
//	-n      credentials of the large site
//	-json   write the result to a file as well
//
// Progress goes to standard error, the result to standard output. It ends with
// 1 when a row misses its bar, or could not be measured, and with 2 for a wrong
// command line.
//
// Figures are ratios against a yardstick of the same run. Both are measured in
// short turns, one after the other and each first as often, so that what else
// the machine does hits both. Latencies are single operations, kept and sorted;
// the cost of reading the clock is taken off both sides. A p99 is the sample
// below which 99 in 100 are, not an average of anything.
//
// The sites that it measures on are made by the store's own import, in a
// temporary folder that goes at the end. `bench child` is the agent that the
// rows start_ready and rest_memory look at, `bench child-files` the one that gets
// door files, `bench child-doors` measures 64 doors with a file system of its own;
// they are not for people.
//
// Beside the rows there is a load generator:
//
//	go run ./tools/bench gateways [-n 5000] [-nodes 3 -kill] [-host URL,… …]
//
// It connects many gateways to tools/iphost in one process, with real TLS and the
// real protocol, and prints one JSON result of its own; -help says how.
//
// docs/benchmarks.md says what each row means and what was seen.
package main
