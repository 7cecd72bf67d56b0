package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionText says which source this binary was built from: what the Go toolchain recorded of the
// module and of the version control checkout, if there was one.
func versionText() string {
	version, commit, changed := "development build", "", ""
	info, ok := debug.ReadBuildInfo()
	if ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		version = info.Main.Version
	}
	if ok {
		for _, setting := range info.Settings {
			switch {
			case setting.Key == "vcs.revision":
				commit += ", commit " + setting.Value[:min(12, len(setting.Value))]
			case setting.Key == "vcs.time":
				commit += " of " + setting.Value
			case setting.Key == "vcs.modified" && setting.Value == "true":
				changed = " with local changes"
			}
		}
	}
	return fmt.Sprintf("chronos %s%s%s, %s %s/%s", version, commit, changed,
		runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print which source this binary was built from",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), versionText())
			return err
		},
	}
}
