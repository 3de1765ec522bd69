package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"sync"
)

// board is a connection to the simulated board's socket: one JSON object a
// line, one answer a line.
type board struct {
	mu   sync.Mutex // one request and its answer at a time
	conn net.Conn
	in   *bufio.Reader
}

func dialBoard(path string) (*board, error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return nil, fmt.Errorf("board: %w", err)
	}
	return &board{conn: c, in: bufio.NewReader(c)}, nil
}

type boardAnswer struct {
	Line  string `json:"line"`
	Level int    `json:"level"`
	Error string `json:"error"`
}

func (b *board) ask(req any) (boardAnswer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var a boardAnswer
	data, err := json.Marshal(req)
	if err != nil {
		return a, err
	}
	if _, err := b.conn.Write(append(data, '\n')); err != nil {
		return a, fmt.Errorf("board: %w", err)
	}
	line, err := b.in.ReadBytes('\n')
	if err != nil {
		return a, fmt.Errorf("board: %w", err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("board: answer: %w", err)
	}
	if a.Error != "" {
		return a, fmt.Errorf("board: %s", a.Error)
	}
	return a, nil
}

func (b *board) set(line string, level int) error {
	_, err := b.ask(map[string]any{"set": line, "level": level})
	return err
}

func (b *board) get(line string) (int, error) {
	a, err := b.ask(map[string]any{"get": line})
	return a.Level, err
}

func (b *board) wiegand(d0, d1 string, n int, hexBits string) error {
	_, err := b.ask(map[string]any{"wiegand": map[string]any{"d0": d0, "d1": d1, "bits": n, "hex": hexBits}})
	return err
}

func (b *board) Close() error { return b.conn.Close() }
