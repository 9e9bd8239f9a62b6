package httptext

import "testing"

func TestURLHost(t *testing.T) {
	for authority, want := range map[string]string{
		"a": "a", "a.b-c_d.": "a.b-c_d.", "1.2.3.4": "1.2.3.4", "[::1]": "[::1]",
		"a:1": "a:1", "a:65535": "a:65535", "a:00080": "a:00080", "[::1]:0": "[::1]:0",
		"u@a": "a", "u:p@a:1": "a:1", "u%3a@a": "a", "@a": "a",
		"": "", "@": "", "u@": "", "u@v@a": "", "u<@a": "",
		"a:": "", "a:x": "", "a:+1": "", "a:65536": "", "a:1:2": "", ":1": "", "::1": "",
		"[::1": "", "::1]": "", "[::1]x": "", "[]": "", "[x]": "", "[1.2.3.4]": "", "[::1%lo]": "", "a]b": "",
		"a~b": "", "a%41": "", "a;b": "", "a,b": "", "a/b": "", "a b": "", "a\x80": "",
	} {
		host, ok := URLHost(authority)
		if ok != (want != "") || ok && host != want {
			t.Errorf("%q is %q, %v", authority, host, ok)
		}
	}
}

func TestHostPort(t *testing.T) {
	for s, want := range map[string]bool{
		"a:1": true, "[::1]:65535": true, "1.2.3.4:0": true,
		"": false, "a": false, "a:": false, ":1": false, "[::1]": false, "u@a:1": false, "a:65536": false, "::1": false,
	} {
		if HostPort(s) != want {
			t.Errorf("%q: %v", s, HostPort(s))
		}
	}
}
