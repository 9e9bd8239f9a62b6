package stats

import (
	"errors"
	"regexp/syntax"
)

// re2Texts are RE2's words for the errors of Go's regular expressions, which
// are RE2's too.
var re2Texts = map[syntax.ErrorCode]string{
	syntax.ErrInternalError:         "unexpected error",
	syntax.ErrInvalidCharClass:      "invalid character class",
	syntax.ErrInvalidCharRange:      "invalid character class range",
	syntax.ErrInvalidEscape:         "invalid escape sequence",
	syntax.ErrInvalidNamedCapture:   "invalid named capture group",
	syntax.ErrInvalidPerlOp:         "invalid perl operator",
	syntax.ErrInvalidRepeatOp:       "bad repetition operator",
	syntax.ErrInvalidRepeatSize:     "invalid repetition size",
	syntax.ErrInvalidUTF8:           "invalid UTF-8",
	syntax.ErrMissingBracket:        "missing ]",
	syntax.ErrMissingParen:          "missing )",
	syntax.ErrMissingRepeatArgument: "no argument for repetition operator",
	syntax.ErrTrailingBackslash:     `trailing \`,
	syntax.ErrUnexpectedParen:       "unexpected )",
	syntax.ErrNestingDepth:          "expression nests too deeply",
	syntax.ErrLarge:                 "pattern too large - compile failed",
}

// RE2Error words an error of [regexp.Compile] as RE2, and so Envoy, does.
func RE2Error(err error) string {
	var bad *syntax.Error
	if !errors.As(err, &bad) {
		return err.Error()
	}
	text := re2Texts[bad.Code]
	if text == "" {
		text = bad.Code.String()
	}
	switch bad.Code {
	case syntax.ErrTrailingBackslash, syntax.ErrInvalidUTF8, syntax.ErrLarge, syntax.ErrNestingDepth:
		return text
	}
	return text + ": " + bad.Expr
}
