package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// proxyArgs reach RUN without an ARG.
var proxyArgs = []string{"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"}

// state is what the steps of a stage have set so far: the configuration of the image, and the build args.
type state struct {
	config        *v1.Config
	author        string
	given, global []string // K=V of the flags; K=V of the ARGs before the first FROM
	args          []string // K=V declared in the stage
	hasEntrypoint bool
	hasCommand    bool
}

func newState(config v1.Config, o *options, global []string) *state {
	s := &state{config: config.DeepCopy(), given: o.buildArgs, global: append(predefined(o), global...)}
	if s.config.Env == nil {
		s.config.Env = []string{defaultPath}
	}
	s.config.OnBuild = nil
	for _, given := range s.given {
		key, _, _ := strings.Cut(given, "=")
		if slices.Contains(proxyArgs, strings.ToUpper(key)) {
			s.args = append(s.args, given)
		}
	}
	return s
}

func (s *state) clone() *state {
	copied := *s
	copied.config, copied.args = s.config.DeepCopy(), slices.Clone(s.args)
	return &copied
}

// env is what words are expanded with and commands run with; ENV goes before ARG.
func (s *state) env() []string {
	env := slices.Clone(s.config.Env)
	for _, arg := range s.args {
		key, _, _ := strings.Cut(arg, "=")
		if find(s.config.Env, key) < 0 {
			env = append(env, arg)
		}
	}
	return env
}

func find(pairs []string, key string) int {
	return slices.IndexFunc(pairs, func(pair string) bool { return strings.HasPrefix(pair, key+"=") })
}

func set(pairs []string, key, value string) []string {
	if at := find(pairs, key); at >= 0 {
		pairs[at] = key + "=" + value
		return pairs
	}
	return append(pairs, key+"="+value)
}

func (s *state) word(word string) (string, error) { return expand(word, s.env()) }

// apply does what a step does to the configuration. Steps that change files do that elsewhere.
func (s *state) apply(command instructions.Command) (err error) {
	c := s.config
	switch step := command.(type) {
	case *instructions.ArgCommand:
		for _, arg := range step.Args {
			if err := s.declare(arg); err != nil {
				return err
			}
		}
	case *instructions.EnvCommand:
		env := s.env() // one ENV sees nothing of itself
		for _, pair := range step.Env {
			key, err := expand(pair.Key, env)
			if err != nil {
				return err
			}
			value, err := expand(pair.Value, env)
			if err != nil {
				return err
			}
			c.Env = set(c.Env, key, value)
		}
	case *instructions.LabelCommand:
		for _, pair := range step.Labels {
			key, err := s.word(pair.Key)
			if err != nil {
				return err
			}
			value, err := s.word(pair.Value)
			if err != nil {
				return err
			}
			put(&c.Labels, key, value)
		}
	case *instructions.WorkdirCommand:
		path, err := s.word(step.Path)
		if err != nil {
			return err
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join("/", c.WorkingDir, path)
		}
		c.WorkingDir = filepath.Clean(path)
	case *instructions.UserCommand:
		c.User, err = s.word(step.User)
	case *instructions.EntrypointCommand:
		c.Entrypoint, s.hasEntrypoint = s.commandLine(step.ShellDependantCmdLine), true
	case *instructions.CmdCommand:
		c.Cmd, s.hasCommand = s.commandLine(step.ShellDependantCmdLine), true
	case *instructions.ShellCommand:
		c.Shell = step.Shell
	case *instructions.ExposeCommand:
		for _, port := range step.Ports {
			port, err := s.word(port)
			if err != nil {
				return err
			}
			if !strings.Contains(port, "/") {
				port += "/tcp"
			}
			put(&c.ExposedPorts, port, struct{}{})
		}
	case *instructions.VolumeCommand:
		for _, volume := range step.Volumes {
			volume, err := s.word(volume)
			if err != nil {
				return err
			}
			put(&c.Volumes, volume, struct{}{})
		}
	case *instructions.StopSignalCommand:
		c.StopSignal, err = s.word(step.Signal)
	case *instructions.HealthCheckCommand:
		h := step.Health
		c.Healthcheck = &v1.HealthConfig{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, Retries: h.Retries}
	case *instructions.OnbuildCommand:
		c.OnBuild = append(c.OnBuild, step.Expression)
	case *instructions.MaintainerCommand:
		s.author = step.Maintainer
	case *instructions.RunCommand, *instructions.CopyCommand, *instructions.AddCommand:
	default:
		return fmt.Errorf("%v is not a supported command", command)
	}
	return err
}

func put[V any](to *map[string]V, key string, value V) {
	if *to == nil {
		*to = map[string]V{}
	}
	(*to)[key] = value
}

// declare gives an ARG its value: the flag's, else the default, else that of the ARG before the first FROM.
func (s *state) declare(arg instructions.KeyValuePairOptional) error {
	key, err := s.word(arg.Key)
	if err != nil {
		return err
	}
	for _, pairs := range [][]string{s.given, nil, s.global} {
		if pairs == nil && arg.Value != nil {
			value, err := s.word(*arg.Value)
			if err != nil {
				return err
			}
			s.args = set(s.args, key, value)
			return nil
		}
		if at := find(pairs, key); at >= 0 {
			s.args = set(s.args, key, strings.TrimPrefix(pairs[at], key+"="))
			return nil
		}
	}
	return nil
}

func (s *state) shell() []string {
	if len(s.config.Shell) > 0 {
		return s.config.Shell
	}
	return []string{"/bin/sh", "-c"}
}

func (s *state) commandLine(line instructions.ShellDependantCmdLine) []string {
	if line.PrependShell {
		return append(slices.Clone(s.shell()), strings.Join(line.CmdLine, " "))
	}
	return line.CmdLine
}

// finished is the configuration of the image: an ENTRYPOINT without CMD takes away the base's CMD.
func (s *state) finished() v1.Config {
	if s.hasEntrypoint && !s.hasCommand {
		s.config.Cmd = nil
	}
	return *s.config
}
