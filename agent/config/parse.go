package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The limits of a file (package doc).
const (
	MaxSize   = 1 << 20
	maxKeys   = 10_000 // the YAML parser compares each key of a mapping with all before it
	maxTokens = 200_000
	maxDepth  = 16
	maxIndent = 200 // of a block: each level needs a column more
	maxKey    = 64 << 10
)

// Load reads and checks the settings file at path, and the key files that it
// names. The error is for a file that could not be read (errors.Is with
// fs.ErrNotExist and the like); all else is in the issues. opts.Base and
// opts.KeyFile and opts.Folder, where empty, become the file's folder, ReadKeyFile and
// CheckFolder.
func Load(path string, opts Options) (*Config, []Issue, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("settings: %w", err)
	}
	defer f.Close()
	if opts.Base == "" {
		abs, err := filepath.Abs(filepath.Dir(path))
		if err != nil {
			return nil, nil, fmt.Errorf("settings: %w", err)
		}
		opts.Base = abs
	}
	if opts.KeyFile == nil {
		opts.KeyFile = ReadKeyFile
	}
	if opts.Folder == nil {
		opts.Folder = CheckFolder
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, nil, fmt.Errorf("settings: %w", err)
	}
	c, issues := Parse(b, path, opts)
	return c, issues, nil
}

// ReadKeyFile is the KeyFile of real files.
func ReadKeyFile(path string) ([]byte, fs.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is no regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKey))
	return b, info.Mode(), err
}

// CheckFolder is the Folder of real paths. What may not be looked at is not judged.
func CheckFolder(path string) error {
	for at := path; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("%s is no folder", at)
		}
		if _, lerr := os.Lstat(at); lerr == nil && errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is a link to nothing", at)
		}
		if err == nil || at == filepath.Dir(at) {
			return nil
		}
	}
}

// Parse checks the settings in src. name is the file's name in issues. The
// Config is nil where an issue is an Error; the issues are in the order of the
// file.
func Parse(src []byte, name string, opts Options) (*Config, []Issue) {
	l := &issueList{file: name}
	body := document(src, l)
	if body == nil {
		return nil, l.sorted()
	}
	var raw rawFile
	d := &decoder{issueList: l, keys: map[string]at{}}
	if d.plain(body, at{Line: 1, Col: 1}) {
		d.object(body, reflect.ValueOf(&raw).Elem(), place(body, ""))
	}
	b := &builder{issueList: l, keys: d.keys, opts: opts}
	c := b.build(&raw)
	if Worst(l.issues) == Error {
		c = nil
	}
	return c, l.sorted()
}

// document returns the one document of src, or nil after noting why not.
func document(src []byte, l *issueList) ast.Node {
	start := at{Line: 1, Col: 1}
	if len(src) > MaxSize {
		l.errorf(start, "the file is larger than %d bytes", MaxSize)
		return nil
	}
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	if a, ok := notText(src); ok {
		l.errorf(a, "the file is not UTF-8 text without control characters")
		return nil
	}
	f, err := parseYAML(src)
	if err != nil {
		a, msg := start, err.Error()
		var syntax *yaml.SyntaxError
		var lim *limitError
		switch {
		case errors.As(err, &syntax):
			a, msg = tokenAt(syntax.Token, ""), syntax.Message
		case errors.As(err, &lim):
			a, msg = lim.at, lim.text
		}
		l.errorf(a, "not valid YAML: %s", msg)
		return nil
	}
	if len(f.Docs) == 0 || f.Docs[0].Body == nil || f.Docs[0].Body.Type() == ast.CommentType {
		l.errorf(start, "the file is empty")
		return nil
	}
	if len(f.Docs) > 1 {
		l.errorf(tokenAt(f.Docs[1].Start, ""), "the file has a second document")
		return nil
	}
	return f.Docs[0].Body
}

// notText returns the first place that is not text.
func notText(src []byte) (at, bool) {
	a := at{Line: 1, Col: 1}
	for len(src) > 0 {
		r, n := utf8.DecodeRune(src)
		switch {
		case r == utf8.RuneError && n == 1, r < ' ' && r != '\n' && r != '\r' && r != '\t', r == 0x7F:
			return a, true
		case r == '\n':
			a.Line, a.Col = a.Line+1, 0
		}
		a.Col++
		src = src[n:]
	}
	return a, false
}

// limitError is a file that is refused before it is parsed.
type limitError struct {
	at   at
	text string
}

func (e *limitError) Error() string { return e.text }

// parseYAML runs the YAML parser on text that cannot make it recurse deeply or
// run long, and turns a panic of it into an error.
func parseYAML(src []byte) (f *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			f, err = nil, fmt.Errorf("the parser gave up")
		}
	}()
	tokens := lexer.Tokenize(string(src))
	if err := limits(tokens); err != nil {
		return nil, err
	}
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// limits refuses what is nested too deeply or too long.
func limits(tokens token.Tokens) error {
	if len(tokens) > maxTokens {
		return &limitError{at{Line: 1, Col: 1}, "the file has too many values"}
	}
	flow, keys := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.MappingValueType:
			keys++
		case token.MappingKeyType:
			return &limitError{tokenAt(t, ""), "keys written with ? are not taken"}
		case token.AnchorType, token.AliasType:
			return &limitError{tokenAt(t, ""), "anchors and aliases are not taken"}
		default:
		}
		structural := t.Type == token.SequenceEntryType || t.Type == token.TagType
		if flow > maxDepth || flow <= 0 && structural && t.Position.Column > maxIndent {
			return &limitError{tokenAt(t, ""), "nested too deeply"}
		}
		if keys > maxKeys {
			return &limitError{tokenAt(t, ""), fmt.Sprintf("more than %d keys", maxKeys)}
		}
		if t.Type == token.MappingValueType && flow <= 0 && t.Prev != nil && t.Prev.Position.Column > maxIndent {
			return &limitError{tokenAt(t, ""), "nested too deeply"}
		}
	}
	return nil
}
