package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	o, err := parse(strings.Fields("--only bulk,mix -peers none -hops 0,2 -scale 0.5 -rounds 2"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range chosen(o) {
		names = append(names, s.Name)
		if !slices.Equal(s.hops, []int{0, 2}) || s.rounds != 2 || s.job.Warm != 150*time.Millisecond {
			t.Errorf("%s: hops %v, %d rounds, %v", s.Name, s.hops, s.rounds, s.job.Warm)
		}
	}
	if want := []string{"bulk-down-1", "bulk-up-1", "bulk-down-8", "bulk-up-8", "mix"}; !slices.Equal(names, want) {
		t.Errorf("scenarios %v, want %v", names, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"-only nothing":    `no scenario "nothing"`,
		"-peers squid":     `"squid" is none of`,
		"-hops 0,17":       `"17" is no number`,
		"-rounds 0":        "must be above 0",
		"-variant x":       "want name=args",
		"-variant ginnel=": "taken",
		"bulk":             `unexpected argument "bulk"`,
	} {
		_, err := parse(strings.Fields(args))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}

func TestVariants(t *testing.T) {
	o, err := parse([]string{"-variant", "pipes=--force-pipes --x=1", "-variant", "old=@/bin/ginnel", "-variant", "same="})
	if err != nil {
		t.Fatal(err)
	}
	b := &bins{ginnel: "g"}
	want := map[string]string{
		"ginnel": "g ", "pipes": "g --force-pipes --x=1", "old": "/bin/ginnel ", "same": "g ",
		"ginnel-2": "g ", "ginnel-pipes-2": "g --force-pipes", "pipes-2": "g --force-pipes --x=1", "old-2": "/bin/ginnel ", "same-2": "g ",
	}
	for _, s := range b.lineup(o, []int{0, 2}) {
		if s.command == nil {
			continue
		}
		line, err := s.command(place{dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		rest := strings.Join(line[slices.Index(line, "--disable-hot-restart")+1:], " ")
		if got := line[0] + " " + rest; got != want[s.name] {
			t.Errorf("%s runs %q, want %q", s.name, got, want[s.name])
		}
		delete(want, s.name)
	}
	if len(want) > 0 {
		t.Errorf("these do not take part: %v", want)
	}
}
