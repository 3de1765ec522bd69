package config

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gatehouse/agent/site"
	"gatehouse/hal"
)

// class is what a scalar looks like in YAML.
type class uint8

const (
	classOther class = iota
	classText
	classInt
	classBool
)

// scalar is a field[T] of any T.
type scalar interface {
	class() class
	// set parses s under the rules of m and keeps it. given tells a value of
	// the file from a default.
	set(s string, a at, m *member, given bool) error
}

func (f *field[T]) class() class {
	switch any(&f.V).(type) {
	case *int:
		return classInt
	case *bool:
		return classBool
	}
	return classText
}

func (f *field[T]) set(s string, a at, m *member, given bool) (err error) {
	f.at = a
	switch p := any(&f.V).(type) {
	case *string:
		*p, err = parseText(s, m)
	case *int:
		*p, err = bounded(s, m, parseInt)
	case *bool:
		*p, err = strconv.ParseBool(s)
	case *time.Duration:
		*p, err = bounded(s, m, ParseDuration)
	case *byteCount:
		*p, err = bounded(s, m, parseSize)
	case *minuteOfDay:
		*p, err = parseDaytime(s)
	case *hal.Level:
		*p, err = parseLevel(s)
	default:
		err = fmt.Errorf("has a type that settings do not know")
	}
	f.Set = given && err == nil
	return err
}

func parseText(s string, m *member) (string, error) {
	if len(m.enum) > 0 {
		if slices.Contains(m.enum, s) {
			return s, nil
		}
		return "", unknownWord(s, m.enum)
	}
	if m.check == "" {
		return s, nil
	}
	check, ok := checks[m.check]
	if !ok {
		return "", fmt.Errorf("has no check named %s", m.check)
	}
	return check.fn(s)
}

func unknownWord(s string, words []string) error {
	if w := suggest(s, words); w != "" {
		return fmt.Errorf("%s is not known (did you mean %s?)", quote(s), w)
	}
	return fmt.Errorf("%s is not known (one of %s)", quote(s), strings.Join(words, ", "))
}

// quote shows a value of the file, cut to a bounded length.
func quote(s string) string {
	if r := []rune(s); len(r) > 40 {
		return strconv.Quote(string(r[:40])) + "…"
	}
	return strconv.Quote(s)
}

func bounded[T cmp.Ordered](s string, m *member, parse func(string) (T, error)) (T, error) {
	v, err := parse(s)
	if err != nil {
		return v, err
	}
	if m.min != "" {
		if low, err := parse(m.min); err != nil || v < low {
			return v, fmt.Errorf("%s is less than %s", s, m.min)
		}
	}
	if m.max != "" {
		if high, err := parse(m.max); err != nil || v > high {
			return v, fmt.Errorf("%s is more than %s", s, m.max)
		}
	}
	return v, nil
}

func parseInt(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%s is out of range", quote(s))
	}
	if err != nil || len(s) > 1 && s[0] == '0' || s[0] == '+' {
		return 0, fmt.Errorf("want a whole decimal number, not %s", quote(s))
	}
	return int(n), nil
}

// ParseDuration reads a time as the settings write it: numbers with the units
// ms, s, m, h and d (24 hours), largest first or alone: "5s", "1h30m", "400d".
// It is never negative and at most 36500 days.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("want a time with its unit (ms, s, m, h, d), as 5s, not %s", quote(s))
	if s == "" || strings.Trim(s, "0123456789.mshd") != "" {
		return 0, bad
	}
	var total time.Duration
	rest := s
	if days, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n > 36500 {
			return 0, bad
		}
		total, rest = time.Duration(n)*24*time.Hour, after
	}
	if rest == "" {
		return total, nil
	}
	d, err := time.ParseDuration(rest)
	const most = 36500 * 24 * time.Hour
	if err != nil || rest == "0" || d > most-total {
		return 0, bad
	}
	return total + d, nil
}

// parseSize reads a number of bytes: "1GiB", "200MiB", "64KiB".
func parseSize(s string) (byteCount, error) {
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.ParseUint(digits, 10, 20)
			if err != nil {
				break
			}
			return byteCount(n) << (10 * (i + 1)), nil
		}
	}
	return 0, fmt.Errorf("want a size with its unit (KiB, MiB, GiB, TiB), as 1GiB, not %s", quote(s))
}

func parseDaytime(s string) (minuteOfDay, error) {
	t, err := time.Parse("15:04", s)
	if err != nil || len(s) != len("15:04") {
		return 0, fmt.Errorf("want a time of day as \"22:30\", not %s", quote(s))
	}
	return minuteOfDay(t.Hour()*60 + t.Minute()), nil
}

func parseLevel(s string) (hal.Level, error) {
	switch s {
	case "high":
		return hal.High, nil
	case "low":
		return hal.Low, nil
	}
	return hal.Low, unknownWord(s, []string{"low", "high"})
}

// check is a rule for text. pattern is its form for the JSON schema, where one
// expression can say it.
type check struct {
	fn      func(string) (string, error)
	pattern string
}

// checks are the rules that raw.go names.
var checks = map[string]check{
	"id":         {checkID, `^[A-Za-z0-9][-A-Za-z0-9_.]{0,63}$`},
	"label":      {checkLabel, `^.{1,128}$`},
	"device":     {checkLabel, `^.{1,128}$`},
	"path":       {checkPath, `^.{1,4096}$`},
	"port":       {checkPath, `^.{1,4096}$`},
	"line":       {checkLine, `^[A-Za-z0-9][-A-Za-z0-9_.:/]{0,63}$`},
	"zone":       {checkZone, ``},
	"serial":     {checkSerial, `^[0-9A-Fa-f]{32}$`},
	"listen":     {checkListen, ``},
	"hostport":   {checkHostPort, ``},
	"kind":       {checkKind, ``},
	"reason":     {checkReason, ``},
	"uuid":       {checkUUID, ``},
	"topic":      {checkTopic, `^[^#+\s/]+(/[^#+\s/]+)*$`},
	"mail":       {checkMail, ``},
	"proxy-url":  {checkURL("http"), `^http://`},
	"http-url":   {checkURL("http", "https"), `^https?://`},
	"uplink-url": {checkURL("https", "wss"), `^(https|wss)://`},
	"mqtt-url":   {checkURL("mqtt", "mqtts", "ws", "wss"), `^(mqtts?|wss?)://`},
}

func checkID(s string) (string, error) { return s, site.CheckID(s) }

func checkLabel(s string) (string, error) {
	if strings.TrimSpace(s) == "" {
		return "", fmt.Errorf("is empty")
	}
	if len(s) > 128 {
		return "", fmt.Errorf("is longer than 128 bytes")
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", fmt.Errorf("has a control character")
	}
	return s, nil
}

func checkPath(s string) (string, error) {
	if s == "" {
		return "", fmt.Errorf("is empty")
	}
	if len(s) > 4096 || strings.ContainsFunc(s, unicode.IsControl) {
		return "", fmt.Errorf("is no path of a file")
	}
	return s, nil
}

func checkLine(s string) (string, error) {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	}
	bad := strings.IndexFunc(s, func(r rune) bool { return !ok(r) && !strings.ContainsRune("-_.:/", r) })
	if s == "" || len(s) > 64 || bad >= 0 || !ok(rune(s[0])) {
		return "", fmt.Errorf("want the name of a line, as GPIO24, not %s", quote(s))
	}
	return s, nil
}

func checkZone(s string) (string, error) {
	if s == "" || s == "Local" {
		return "", fmt.Errorf("want the name of a time zone, as Europe/Berlin, not %s", quote(s))
	}
	if _, err := time.LoadLocation(s); err != nil {
		return "", fmt.Errorf("time zone %s is not known", quote(s))
	}
	return s, nil
}

func checkSerial(s string) (string, error) {
	if b, err := hex.DecodeString(s); err != nil || len(b) != 16 {
		return "", fmt.Errorf("want 32 hex digits, not %s", quote(s))
	}
	return strings.ToUpper(s), nil
}

// checkListen accepts host:port with a literal address, a name or nothing as
// host. Port 0 takes any free one (tests, the demonstration).
func checkListen(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("want an address as \"192.168.50.1:80\" or \":443\", not %s", quote(s))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "", fmt.Errorf("port %s is not a number from 0 to 65535", quote(port))
	}
	if strings.ContainsFunc(host, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '/' }) {
		return "", fmt.Errorf("host %s is not an address", quote(host))
	}
	return s, nil
}

func checkHostPort(s string) (string, error) {
	if host, port, err := net.SplitHostPort(s); err == nil && (host == "" || port == "0") {
		return "", fmt.Errorf("want host:port, not %s", quote(s))
	}
	return checkListen(s)
}

func checkKind(s string) (string, error) {
	var words []string
	for _, k := range site.Kinds() {
		words = append(words, string(k))
	}
	if !slices.Contains(words, s) {
		return "", unknownWord(s, words)
	}
	return s, nil
}

func checkReason(s string) (string, error) {
	var words []string
	for _, r := range site.Reasons() {
		words = append(words, string(r))
	}
	if !slices.Contains(words, s) {
		return "", unknownWord(s, words)
	}
	return s, nil
}

func checkUUID(s string) (string, error) {
	if s == "auto" {
		return s, nil
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != 16 || len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return "", fmt.Errorf("want auto or a UUID, not %s", quote(s))
	}
	return strings.ToLower(s), nil
}

func checkTopic(s string) (string, error) {
	if s == "" || len(s) > 256 || strings.HasPrefix(s, "$") || strings.ContainsFunc(s, func(r rune) bool {
		return r == '#' || r == '+' || unicode.IsSpace(r) || unicode.IsControl(r)
	}) || slices.Contains(strings.Split(s, "/"), "") {
		return "", fmt.Errorf("want an MQTT topic without + # $ and empty parts, not %s", quote(s))
	}
	return s, nil
}

func checkMail(s string) (string, error) {
	if a, err := mail.ParseAddress(s); err != nil || a.Address != s {
		return "", fmt.Errorf("want a mail address, not %s", quote(s))
	}
	return s, nil
}

// checkURL refuses a password in a URL: it would stand in clear in the file.
func checkURL(schemes ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		u, err := url.Parse(s)
		if err != nil || u.Hostname() == "" || !slices.Contains(schemes, u.Scheme) {
			return "", fmt.Errorf("want a URL with %s://", strings.Join(schemes, ":// or "))
		}
		if u.User != nil {
			return "", fmt.Errorf("a name or password in a URL is not taken")
		}
		return s, nil
	}
}
