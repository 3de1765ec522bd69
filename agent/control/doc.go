// Package control is the management API of a running agent: HTTP and JSON over
// the unix socket STATE/control.sock, for the commands of this machine.
//
// # Who may
//
// Whoever may open the socket may do everything: it is made for root and the
// group gatehouse (0660) and is the only way to manage an agent without a
// token. Each request that changes something is recorded with who asked: "cli".
//
// # Form
//
// Requests and answers are JSON. A refusal is {"error": TEXT} with a status
// that says whose fault it is: 400 bad input, 404 no such thing, 409 refused in
// this state, 503 not ready or degraded, 500 a fault of ours. Long work (import,
// event tails, listings of holders and credentials) streams one JSON object a
// line; one that breaks off ends with a line that is a refusal. Members that are
// not known are refused. Bodies are bounded: 1 MiB, save an import's, which the
// store bounds (store.MaxImportRows, store.MaxImportBytes). An import answers
// while it is still sent: {"done":N,"total":M} now and then, last with "result";
// its refusal lists the records at fault. An export of credentials is a file, and
// one that breaks off ends with the connection.
//
// The policy's changes are those of the operator. Where a path names a
// credential, the beginning of its id will do if no other begins so; where it
// names a holder, so will the exact name if no other has it. Card numbers and
// PINs come in and never go out, save by an export that asks for cards.
//
// Locks open by tables of their own, which they fetch. So the answer to a change
// that takes a card away names the locks whose table still has it (still_opens),
// and the versions of tables are text, for JSON's numbers cannot hold them. A
// site-wide command that reached some doors and not others is a refusal that lists
// those reached.
//
// # Concurrency
//
// Handlers run at the same time and hold no lock of their own; what they call
// promises to be safe. A client that goes away ends its request.
package control
