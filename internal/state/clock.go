package state

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A clock prints times in a compiled format of START_TIME(...): strftime, Abseil's
// %E forms, and Envoy's %f, %1f..%9f and %s.
type clock struct {
	local bool
	parts []clockPart // nil: the default form
}

type clockPart func(dst []byte, t time.Time) []byte

// Envoy 1.40.0 prints these forms for an empty format.
const (
	defaultUTC   = "2006-01-02T15:04:05.000Z"
	defaultLocal = "2006-01-02T15:04:05.000-0700"
)

// A format string may end up in a header, where no newline may be.
var clockNewline = regexp.MustCompile(`%[-_0^#]*[1-9]*(E|O)?n`)

func newClock(format string, local bool) (*clock, error) {
	if clockNewline.MatchString(format) {
		return nil, errors.New("Invalid header configuration. Format string contains newline.") //nolint:staticcheck // Envoy's text
	}
	c := &clock{local: local}
	for format != "" {
		var p clockPart
		p, format = cutClock(format)
		c.parts = append(c.parts, p)
	}
	return c, nil
}

func (c *clock) append(dst []byte, t time.Time) []byte {
	if c.local {
		t = t.Local()
	} else {
		t = t.UTC()
	}
	switch {
	case c.parts != nil:
		for _, p := range c.parts {
			dst = p(dst, t)
		}
		return dst
	case c.local:
		return t.AppendFormat(dst, defaultLocal)
	}
	return t.AppendFormat(dst, defaultUTC)
}

// cutClock compiles the first part of a format and returns the rest.
func cutClock(f string) (clockPart, string) {
	if i := strings.IndexByte(f, '%'); i != 0 {
		if i < 0 {
			i = len(f)
		}
		return verbatim(f[:i]), f[i:]
	}
	if p, n := subseconds(f); n > 0 {
		return p, f[n:]
	}
	if p, n := extended(f); n > 0 {
		return p, f[n:]
	}
	i, pad, width := 1, byte(0), 0
	for i < len(f) && strings.IndexByte("-_0^#", f[i]) >= 0 {
		pad, i = f[i], i+1
	}
	for i < len(f) && f[i] >= '0' && f[i] <= '9' && width < 100 {
		width, i = width*10+int(f[i]-'0'), i+1
	}
	if i == len(f) {
		return verbatim(f), ""
	}
	if f[i] == 'O' && i+1 < len(f) && directive(f[i+1]) != nil {
		i++ // alternative digits: none in the C locale
	}
	d := directive(f[i])
	if d == nil {
		return verbatim(f[:i+1]), f[i+1:]
	}
	return padded(d, pad, width), f[i+1:]
}

func verbatim(s string) clockPart {
	return func(dst []byte, _ time.Time) []byte { return append(dst, s...) }
}

// subseconds compiles %s, %f and %1f..%9f, which Envoy replaces before strftime sees
// the format (and so also after a doubled percent sign).
func subseconds(f string) (clockPart, int) {
	switch {
	case strings.HasPrefix(f, "%s"):
		return unixSeconds, 2
	case strings.HasPrefix(f, "%%s"):
		return func(dst []byte, t time.Time) []byte { return unixSeconds(append(dst, '%'), t) }, 3
	case strings.HasPrefix(f, "%f"):
		return fraction(9), 2
	case strings.HasPrefix(f, "%%f"):
		return func(dst []byte, t time.Time) []byte { return fraction(9)(append(dst, '%'), t) }, 3
	case len(f) >= 3 && f[1] >= '1' && f[1] <= '9' && f[2] == 'f':
		return fraction(int(f[1] - '0')), 3
	case len(f) >= 4 && f[1] == '%' && f[2] >= '1' && f[2] <= '9' && f[3] == 'f':
		n := int(f[2] - '0')
		return func(dst []byte, t time.Time) []byte { return fraction(n)(append(dst, '%'), t) }, 4
	}
	return nil, 0
}

func unixSeconds(dst []byte, t time.Time) []byte { return strconv.AppendInt(dst, t.Unix(), 10) }

// fraction prints the first digits of the fraction of the second, which Envoy's
// clock knows to the microsecond.
func fraction(digits int) clockPart {
	return func(dst []byte, t time.Time) []byte {
		micros := t.Nanosecond() / 1000 * 1000
		start := len(dst)
		dst = number(dst, micros, 9, '0')
		return dst[:start+digits]
	}
}

// extended compiles Abseil's forms: %Ez, %E*z, %E#S, %E*S, %E#f, %E*f, %E4Y, %ET,
// %:z, and the C library's %Ec, %EC, %Ex, %EX, %Ey and %EY.
func extended(f string) (clockPart, int) {
	switch {
	case strings.HasPrefix(f, "%Ez"), strings.HasPrefix(f, "%:z"):
		return layout("-07:00"), 3
	case strings.HasPrefix(f, "%E*z"), strings.HasPrefix(f, "%::z"):
		return layout("-07:00:00"), 4
	case strings.HasPrefix(f, "%E*S"):
		return func(dst []byte, t time.Time) []byte {
			return trimmedFraction(append(number(dst, t.Second(), 2, '0'), '.'), t, true)
		}, 4
	case strings.HasPrefix(f, "%E*f"):
		return func(dst []byte, t time.Time) []byte { return trimmedFraction(dst, t, false) }, 4
	case strings.HasPrefix(f, "%E4Y"):
		return func(dst []byte, t time.Time) []byte { return number(dst, t.Year(), 4, '0') }, 4
	case strings.HasPrefix(f, "%ET"):
		return verbatim("T"), 3
	case len(f) >= 3 && f[1] == 'E' && strings.IndexByte("cCxXyY", f[2]) >= 0:
		return clockPart(directive(f[2])), 3
	case len(f) >= 4 && f[1] == 'E' && f[2] >= '0' && f[2] <= '9' && (f[3] == 'S' || f[3] == 'f'):
		return sized(int(f[2]-'0'), f[3] == 'S'), 4
	}
	return nil, 0
}

func sized(digits int, seconds bool) clockPart {
	return func(dst []byte, t time.Time) []byte {
		if seconds {
			dst = number(dst, t.Second(), 2, '0')
			if digits > 0 {
				dst = append(dst, '.')
			}
		}
		return fraction(digits)(dst, t)
	}
}

// trimmedFraction prints all digits of the fraction but trailing zeros; nothing, and
// no point before it, when there is no fraction.
func trimmedFraction(dst []byte, t time.Time, point bool) []byte {
	start := len(dst)
	dst = fraction(9)(dst, t)
	for len(dst) > start && dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	switch {
	case len(dst) > start:
	case point:
		dst = dst[:start-1]
	default:
		dst = append(dst, '0')
	}
	return dst
}

func layout(l string) clockPart {
	return func(dst []byte, t time.Time) []byte { return t.AppendFormat(dst, l) }
}

// number prints n with at least width digits.
func number(dst []byte, n, width int, fill byte) []byte {
	if n < 0 {
		dst, n = append(dst, '-'), -n
	}
	digits := 1
	for m := n; m >= 10; m /= 10 {
		digits++
	}
	for ; digits < width; width-- {
		dst = append(dst, fill)
	}
	return strconv.AppendInt(dst, int64(n), 10)
}

// padded applies the flags and the width of the GNU C library to a directive.
func padded(d clockPart, pad byte, width int) clockPart {
	if pad == 0 && width == 0 {
		return d
	}
	return func(dst []byte, t time.Time) []byte {
		start := len(dst)
		dst = d(dst, t)
		text := string(dst[start:])
		numeric := strings.Trim(text, "0123456789 ") == ""
		dst = dst[:start]
		fill := byte(' ')
		switch {
		case pad == '-' && numeric:
			text = strings.TrimLeft(text[:len(text)-1], "0 ") + text[len(text)-1:]
		case pad == '^' || pad == '#':
			text = strings.ToUpper(text)
		case pad == '_' && numeric:
			digits := strings.TrimLeft(text[:len(text)-1], "0 ") + text[len(text)-1:]
			text = strings.Repeat(" ", len(text)-len(digits)) + digits
		}
		if (numeric && pad != '_') || pad == '0' {
			fill = '0'
		}
		for n := len(text); n < width; n++ {
			dst = append(dst, fill)
		}
		return append(dst, text...)
	}
}
