// Command executor has the command line, the files and the messages of the Kaniko executor; see README.md.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"github.com/spf13/cobra"
)

// home is the folder of the executor's own files, which no image that it builds sees.
const home = "/kaniko"

const defaultPlatform = runtime.GOOS + "/" + runtime.GOARCH

func main() {
	var o options
	command := &cobra.Command{
		Use:               "executor",
		PersistentPreRunE: func(*cobra.Command, []string) error { return o.resolve() },
		Run: func(*cobra.Command, []string) {
			if err := run(&o); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(exitCode(err))
			}
		},
	}
	o.register(command.PersistentFlags())
	if command.Execute() != nil {
		os.Exit(1)
	}
}

func run(o *options) error {
	// It replaces what lies in /, so it starts nowhere but in its own image, whatever --force says.
	if self, err := os.Executable(); err != nil || self != home+"/executor" {
		return errors.New("kaniko should only be run inside of a container, run with the --force flag if you are sure you want to continue")
	}
	r := newRegistries(o)
	if err := r.checkPushPermissions(); err != nil {
		return fmt.Errorf("error checking push permissions -- make sure you entered the correct tag name, and that you are authenticated correctly, and try again: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("error changing to root dir: %w", err)
	}
	image, err := build(o, r)
	if err != nil {
		return fmt.Errorf("error building image: %w", err)
	}
	if err := r.push(image); err != nil {
		return fmt.Errorf("error pushing image: %w", err)
	}
	return nil
}

// exitCode passes on that of a RUN that failed, as Kaniko does.
func exitCode(err error) int {
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return failed.ExitCode()
	}
	return 1
}
