package config_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/ginnel/ginnel/internal/config"
	"github.com/ginnel/ginnel/internal/config/expect"
)

// Every file of testdata/broken says in its text what is wrong with it.
func TestBroken(t *testing.T) {
	expect.Run(t, "testdata/broken/*.*", func(path string, data []byte) []config.Issue {
		doc, err := config.Load(config.Input{Path: path, Data: data})
		var faults config.Issues
		if err != nil && !errors.As(err, &faults) {
			t.Fatal(err)
		}
		return slices.Concat(faults, doc.Warnings)
	})
}
