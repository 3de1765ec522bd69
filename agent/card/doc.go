// Package card holds card formats as data and turns what a reader sent into
// numbers and back. It is pure: no I/O, no goroutine, no clock. All values may
// be copied and used by several goroutines at once; a Format and a Set are
// never changed after they were made.
//
// # Bits, numbers, blocks
//
// A credential is its bits, not its number: [Bits] is what a reader sent, bit 0
// first on the wire, up to 256 bits. Its text form is LENGTH:HEX, the length in
// bits in decimal, then whole bytes in hex, left-justified, unused bits 0:
// 26:26831000.
//
// A [Format] says where facility, issue level and card number stand in bits of
// one length and which bits each parity covers. A [Set] holds the formats that a
// site knows: those of the Wiegand table (H10301, D10202, H10306, C1K35S,
// S12906, H10302, H10304, C1K48S, CSN32, CSN56, CSN64) and its own. One frame
// may fit several formats: H10302 and H10304 differ only in where the number
// begins.
//
// A [Block] is the clear 16-byte form by which a card is looked up: its bits
// left-justified, the last byte filled with 0 bits, then 0xFF (the ENGAGE
// primeCr rule). Only cards up to 128 bits have one. Frames of different length
// may share a block, so a record that knows its length must be asked for it. The
// encryption of the block belongs to the store.
//
// # Secrets
//
// Bits, Block, Number and Key are card numbers and PIN digits. Printing, logging
// or marshalling one shows its kind and length only. fmt cannot call methods on
// unexported fields: a struct that keeps one there and is printed whole would
// show it, so such structs want a String method of their own. The clear forms
// are asked for by name: Bits.Text, Bits.Bytes, the fields of Number, the bytes
// of Block.
//
// # Limits
//
// Frames: 256 bits. Formats and blocks: 128 bits. One field: 64 bits.
package card
