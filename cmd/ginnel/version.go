package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is the release. Envoy's compatibility level is that of the API it was
// built with.
const version = "0.1.0"

// versionLine has Envoy's shape: <revision>/<version>/<status>/<build>/<ssl>.
func versionLine(program string) string { return program + "  version: " + versionText() }

func versionText() string {
	revision, status := "unknown", "Clean"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				status = "Modified"
			}
		}
	}
	return fmt.Sprintf("%s/%s/%s/ginnel/%s", revision, version, status, runtime.Version())
}
