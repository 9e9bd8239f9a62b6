package state

import "time"

// directive returns what strftime's %c does in the C locale; nil for an unknown
// letter, which is printed as it stands.
func directive(c byte) clockPart {
	if l, ok := layouts[c]; ok {
		return layout(l)
	}
	if n, ok := numbers[c]; ok {
		return func(dst []byte, t time.Time) []byte { return number(dst, n.of(t), n.width, n.fill) }
	}
	switch c {
	case 'P':
		return func(dst []byte, t time.Time) []byte { return t.AppendFormat(dst, "pm") }
	case 's':
		return unixSeconds
	case 't':
		return verbatim("\t")
	case '%':
		return verbatim("%")
	}
	return nil
}

// layouts are the directives that package time has a layout for.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'h': "Jan",
	'c': "Mon Jan _2 15:04:05 2006", 'D': "01/02/06", 'F': "2006-01-02", 'p': "PM",
	'r': "03:04:05 PM", 'R': "15:04", 'T': "15:04:05", 'x': "01/02/06", 'X': "15:04:05",
	'z': "-0700", 'Z': "MST",
}

// A numeral is a directive that prints a number.
type numeral struct {
	of    func(time.Time) int
	width int
	fill  byte
}

var numbers = map[byte]numeral{
	'C': {func(t time.Time) int { return t.Year() / 100 }, 2, '0'},
	'd': {time.Time.Day, 2, '0'},
	'e': {time.Time.Day, 2, ' '},
	'g': {func(t time.Time) int { y, _ := t.ISOWeek(); return y % 100 }, 2, '0'},
	'G': {func(t time.Time) int { y, _ := t.ISOWeek(); return y }, 4, '0'},
	'H': {time.Time.Hour, 2, '0'},
	'I': {hour12, 2, '0'},
	'j': {time.Time.YearDay, 3, '0'},
	'k': {time.Time.Hour, 2, ' '},
	'l': {hour12, 2, ' '},
	'm': {func(t time.Time) int { return int(t.Month()) }, 2, '0'},
	'M': {time.Time.Minute, 2, '0'},
	'S': {time.Time.Second, 2, '0'},
	'u': {func(t time.Time) int { return (int(t.Weekday())+6)%7 + 1 }, 1, '0'},
	'U': {func(t time.Time) int { return (t.YearDay() + 6 - int(t.Weekday())) / 7 }, 2, '0'},
	'V': {func(t time.Time) int { _, w := t.ISOWeek(); return w }, 2, '0'},
	'w': {func(t time.Time) int { return int(t.Weekday()) }, 1, '0'},
	'W': {func(t time.Time) int { return (t.YearDay() + 6 - (int(t.Weekday())+6)%7) / 7 }, 2, '0'},
	'y': {func(t time.Time) int { return t.Year() % 100 }, 2, '0'},
	'Y': {time.Time.Year, 1, '0'},
}

func hour12(t time.Time) int { return (t.Hour()+11)%12 + 1 }
