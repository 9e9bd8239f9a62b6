package compile_test

import (
	"strings"
	"testing"

	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/internal/load"
)

func TestDrops(t *testing.T) {
	for text, want := range map[string]uint32{
		"[]":              0,
		"[{category: a}]": 0,
		"[{category: a, drop_percentage: {numerator: 7}}]":                                70_000,
		"[{category: a, drop_percentage: {numerator: 7, denominator: TEN_THOUSAND}}]":     700,
		"[{category: a, drop_percentage: {numerator: 7, denominator: MILLION}}]":          7,
		"[{category: a, drop_percentage: {numerator: 101}}]":                              1_000_000,
		"[{category: a, drop_percentage: {numerator: 4294967295, denominator: HUNDRED}}]": 1_000_000,
	} {
		got := compiled(t, "load_assignment: {cluster_name: c, policy: {drop_overloads: "+text+"}}")[0].Assignment.DropsOfMillion
		if got != want {
			t.Errorf("%s: got %d of a million, want %d", text, got, want)
		}
	}
}

func TestDropsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"[{category: a}, {category: b}]":                     "policy.drop_overloads: Cluster drop_overloads config has 2 categories. Envoy only support one.",
		"[{category: a, drop_percentage: {denominator: 3}}]": "policy.drop_overloads[0].drop_percentage.denominator: got 3; expected one of HUNDRED, TEN_THOUSAND, MILLION",
		"[{drop_percentage: {numerator: 1}}]":                "policy.drop_overloads[0].category: must not be empty",
	} {
		data := "static_resources: {clusters: [{name: c, load_assignment: {cluster_name: c, policy: {drop_overloads: " + text + "}}}]}"
		r, err := load.Load(load.Source{Path: "t.yaml", Data: []byte(data)}, builtin.Registry())
		if err == nil {
			err = r.Err(false)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
