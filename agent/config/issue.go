package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Severity says what an Issue means for the file.
type Severity uint8

// The severities, mildest first.
const (
	// Warning is worth reading; the file runs.
	Warning Severity = iota
	// Error is a fault of the file. It gives no Config.
	Error
)

// String returns the severity's name.
func (s Severity) String() string {
	switch s {
	case Warning:
		return "warning"
	case Error:
	}
	return "error"
}

// MarshalText writes the severity's name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Issue is one thing to say about a settings file. Line and Column count from
// 1, columns in characters; both are 0 where the issue belongs to no place.
type Issue struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Path     string   `json:"path"` // the setting: doors[0].strike.line
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`
}

// String returns the one-line form: "site.yaml:12:7: error: doors[0].id: …".
func (i Issue) String() string {
	s := i.File
	if i.Line > 0 {
		s = fmt.Sprintf("%s:%d:%d", s, i.Line, i.Column)
	}
	s += ": " + i.Severity.String() + ": "
	if i.Path != "" {
		s += i.Path + ": "
	}
	return s + i.Text
}

// ErrInvalid is wrapped by Err when a file has faults, and only then.
var ErrInvalid = errors.New("settings are not valid")

// Err joins the errors of issues to one error that wraps
// ErrInvalid and has a line for each; nil when there are only warnings.
func Err(issues []Issue) error {
	errs := []error{ErrInvalid}
	for _, i := range issues {
		if i.Severity > Warning {
			errs = append(errs, errors.New(i.String()))
		}
	}
	if len(errs) == 1 {
		return nil
	}
	return errors.Join(errs...)
}

// Worst returns the highest severity among issues, Warning when there are none.
func Worst(issues []Issue) Severity {
	var w Severity
	for _, i := range issues {
		w = max(w, i.Severity)
	}
	return w
}

// maxIssues bounds what one file can make Parse say, for each severity, so that
// many warnings neither hide an error nor become one.
const maxIssues = 200

// issueList collects issues in any order.
type issueList struct {
	file   string
	issues []Issue
	count  [Error + 1]int
}

// add notes one issue.
func (l *issueList) add(a at, s Severity, format string, args ...any) {
	l.count[s]++
	switch n := l.count[s]; {
	case n <= maxIssues:
		l.issues = append(l.issues, Issue{
			File: l.file, Line: a.Line, Column: a.Col, Path: a.Path, Severity: s, Text: fmt.Sprintf(format, args...),
		})
	case n == maxIssues+1:
		l.issues = append(l.issues, Issue{
			File: l.file, Severity: s, Text: fmt.Sprintf("more than %d of this kind; the rest is not listed", maxIssues),
		})
	}
}

func (l *issueList) errorf(a at, format string, args ...any) { l.add(a, Error, format, args...) }
func (l *issueList) warnf(a at, format string, args ...any)  { l.add(a, Warning, format, args...) }

// sorted returns the issues in the order of the file.
func (l *issueList) sorted() []Issue {
	slices.SortStableFunc(l.issues, func(a, b Issue) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return l.issues
}
