package swordfish

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
)

// lexer cuts one JSON value into tokens as json.Decoder.Token does, with numbers as
// json.Number. Most tokens of a door file are the same few names: those cost no memory
// here, where the decoder makes several allocations for each token.
type lexer struct {
	r     *bufio.Reader
	at    int64  // bytes that were read
	open  []byte // the objects and lists that are open
	state lexState
	buf   []byte
}

// lexState is what may come next.
type lexState uint8

const (
	lexValue      lexState = iota
	lexValueOrEnd          // the first of a list
	lexNameOrEnd           // the first of an object
	lexName
	lexMore // a comma or an end
	lexDone
)

var errSyntax = errors.New("is no JSON")

func newLexer(r io.Reader) *lexer { return &lexer{r: bufio.NewReaderSize(r, 16<<10)} }

// boxed are the texts that nearly every record has, ready to be handed out.
var boxed = func() map[string]json.Token {
	m := map[string]json.Token{}
	for _, s := range []string{"usrID", "adaEn", "fnctn", "crSch", "actDtTm", "expDtTm", "primeCr", "prCrTyp", "scndCr", "scndCrTyp", "norm", "card", "null", ""} {
		m[s] = s
	}
	return m
}()

// next returns the next token: a json.Delim, string, json.Number, bool or nil. After
// the value it is io.EOF.
func (l *lexer) next() (json.Token, error) {
	c, err := l.skipSpace()
	if l.state == lexDone {
		if err == nil {
			err = errSyntax
		}
		return nil, err
	}
	if err != nil {
		return nil, early(err)
	}
	switch l.state {
	case lexMore:
		return l.more(c)
	case lexName, lexNameOrEnd:
		return l.name(c)
	case lexValueOrEnd:
		if c == ']' {
			return l.close(c)
		}
	}
	return l.value(c)
}

// early makes an end inside of the value an error of its own.
func early(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (l *lexer) byte() (byte, error) {
	c, err := l.r.ReadByte()
	if err == nil {
		l.at++
	}
	return c, err
}

// back gives the last byte back.
func (l *lexer) back() {
	if l.r.UnreadByte() == nil {
		l.at--
	}
}

func (l *lexer) skipSpace() (byte, error) {
	for {
		c, err := l.byte()
		if err != nil || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c, err
		}
	}
}

// more reads what follows a value inside of an object or a list.
func (l *lexer) more(c byte) (json.Token, error) {
	in := l.open[len(l.open)-1]
	if c == in+2 { // ']' is two after '[', and so are the braces
		return l.close(c)
	}
	if c != ',' {
		return nil, errSyntax
	}
	c, err := l.skipSpace()
	if err != nil {
		return nil, early(err)
	}
	if in == '{' {
		l.state = lexName
		return l.name(c)
	}
	l.state = lexValue
	return l.value(c)
}

// name reads the name of a member and its colon.
func (l *lexer) name(c byte) (json.Token, error) {
	if c == '}' && l.state == lexNameOrEnd {
		return l.close(c)
	}
	if c != '"' {
		return nil, errSyntax
	}
	t, err := l.text()
	if err != nil {
		return nil, err
	}
	if c, err = l.skipSpace(); err != nil {
		return nil, early(err)
	}
	if c != ':' {
		return nil, errSyntax
	}
	l.state = lexValue
	return t, nil
}

func (l *lexer) close(c byte) (json.Token, error) {
	l.open = l.open[:len(l.open)-1]
	l.after()
	return json.Delim(c), nil
}

// after says what follows a value.
func (l *lexer) after() {
	l.state = lexMore
	if len(l.open) == 0 {
		l.state = lexDone
	}
}

func (l *lexer) value(c byte) (json.Token, error) {
	switch {
	case c == '{' || c == '[':
		l.open = append(l.open, c)
		l.state = lexValueOrEnd
		if c == '{' {
			l.state = lexNameOrEnd
		}
		return json.Delim(c), nil
	case c == '"':
		t, err := l.text()
		l.after()
		return t, err
	}
	err := l.word(c)
	if err != nil {
		return nil, err
	}
	l.after()
	switch string(l.buf) {
	case "null":
		return nil, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	if !(c == '-' || c >= '0' && c <= '9') || !json.Valid(l.buf) {
		return nil, errSyntax
	}
	return json.Number(l.buf), nil
}

// word reads letters, digits and what else numbers have into buf.
func (l *lexer) word(c byte) error {
	l.buf = l.buf[:0]
	for {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == 'E' || c == '-' || c == '+' || c == '.') {
			if len(l.buf) == 0 {
				return errSyntax
			}
			l.back()
			return nil
		}
		l.buf = append(l.buf, c)
		var err error
		if c, err = l.byte(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// text reads a string after its quote.
func (l *lexer) text() (json.Token, error) {
	l.buf = append(l.buf[:0], '"')
	plain := true
	for {
		c, err := l.byte()
		if err != nil {
			return nil, early(err)
		}
		l.buf = append(l.buf, c)
		switch {
		case c == '"':
			return unquote(l.buf, plain)
		case c < ' ':
			return nil, errSyntax
		case c == '\\':
			plain = false
			if c, err = l.byte(); err != nil {
				return nil, early(err)
			}
			l.buf = append(l.buf, c)
		case c >= 0x80:
			plain = false
		}
	}
}

func unquote(quoted []byte, plain bool) (json.Token, error) {
	if plain {
		inner := quoted[1 : len(quoted)-1]
		if t, ok := boxed[string(inner)]; ok {
			return t, nil
		}
		return string(inner), nil
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return nil, errSyntax
	}
	return s, nil
}
