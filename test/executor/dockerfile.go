package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// stage is one that has to be built.
type stage struct {
	index    int
	name     string
	baseName string
	base     v1.Image // nil where it is built on baseStage
	onStage  int      // -1 where it is built on an image
	commands []instructions.Command
	isSource bool // a later stage copies from it
}

// plan is what a Dockerfile asks for, in the order of building.
type plan struct {
	stages []*stage
	global []string            // K=V of the ARGs before the first FROM
	images map[string]v1.Image // of COPY --from=image
}

func expand(word string, env []string) (string, error) {
	result, _, err := shell.NewLex(parser.DefaultEscapeToken).ProcessWord(word, shell.EnvsFromSlice(env))
	return result, err
}

// readPlan parses the Dockerfile and finds the stages that the target needs; their base images are looked up at once, so that a
// missing one is told before anything is done.
func readPlan(o *options, pull func(string) (v1.Image, error)) (*plan, error) {
	content, err := os.ReadFile(o.dockerfile)
	if err != nil {
		return nil, fmt.Errorf("reading dockerfile at path %s: %w", o.dockerfile, err)
	}
	parsed, err := parser.Parse(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("parsing dockerfile: %w", err)
	}
	all, globals, err := instructions.Parse(parsed.AST, linter.New(&linter.Config{}))
	if err != nil {
		return nil, fmt.Errorf("parsing dockerfile: %w", err)
	}
	if len(all) == 0 {
		return nil, errors.New("dockerfile must contain at least one FROM instruction")
	}
	p := &plan{images: map[string]v1.Image{}}
	for _, command := range globals {
		for _, arg := range command.Args {
			if arg.Value == nil && !slices.ContainsFunc(o.buildArgs, func(given string) bool { return strings.HasPrefix(given, arg.Key+"=") }) {
				continue
			}
			value, err := expand(arg.ValueString(), p.global)
			if err != nil {
				return nil, fmt.Errorf("expanding meta ARGs: %w", err)
			}
			for _, given := range o.buildArgs {
				if key, replaced, _ := strings.Cut(given, "="); key == arg.Key {
					value = replaced
				}
			}
			p.global = append(p.global, arg.Key+"="+value)
		}
	}
	target := len(all) - 1
	if o.target != "" {
		if target = findStage(all, o.target); target < 0 {
			return nil, fmt.Errorf("error finding target stage: %q is not a valid target build stage", o.target)
		}
	}
	needed := map[int]*stage{}
	if err := p.need(all, target, needed, append(predefined(o), p.global...), pull); err != nil {
		return nil, err
	}
	for i := range all {
		if s := needed[i]; s != nil {
			p.stages = append(p.stages, s)
		}
	}
	return p, nil
}

func findStage(all []instructions.Stage, name string) int {
	return slices.IndexFunc(all, func(s instructions.Stage) bool { return s.Name != "" && strings.EqualFold(s.Name, name) })
}

// need adds the stage and all that it depends on.
func (p *plan) need(all []instructions.Stage, index int, needed map[int]*stage, env []string, pull func(string) (v1.Image, error)) error {
	if needed[index] != nil {
		return nil
	}
	parsed := all[index]
	base, err := expand(parsed.BaseName, env)
	if err != nil {
		return fmt.Errorf("resolving base name %s: %w", parsed.BaseName, err)
	}
	s := &stage{index: index, name: parsed.Name, baseName: base, onStage: findStage(all[:index], base), commands: parsed.Commands}
	needed[index] = s
	if s.onStage >= 0 {
		if err := p.need(all, s.onStage, needed, env, pull); err != nil {
			return err
		}
	} else if s.base, err = baseImage(base, pull); err != nil {
		return err
	}
	if s.base != nil {
		triggers, err := onBuild(s.base)
		if err != nil {
			return err
		}
		s.commands = append(triggers, s.commands...)
	}
	for _, command := range s.commands {
		if c, isCopy := command.(*instructions.CopyCommand); isCopy && c.From != "" {
			if err := p.needSource(all, index, c, needed, env, pull); err != nil {
				return err
			}
		}
	}
	return nil
}

// needSource makes the name that COPY gives to a stage its number.
func (p *plan) needSource(all []instructions.Stage, index int, c *instructions.CopyCommand, needed map[int]*stage, env []string, pull func(string) (v1.Image, error)) error {
	source, err := strconv.Atoi(c.From)
	if err != nil {
		source = findStage(all[:index], c.From)
	} else if source < 0 || source >= index {
		return fmt.Errorf("stage %d: COPY --from=%d refers to a stage that does not exist", index, source)
	}
	if source < 0 {
		image, err := pull(c.From)
		p.images[c.From] = image
		return err
	}
	c.From = strconv.Itoa(source)
	if err := p.need(all, source, needed, env, pull); err != nil {
		return err
	}
	needed[source].isSource = true
	return nil
}

func baseImage(name string, pull func(string) (v1.Image, error)) (v1.Image, error) {
	if name == "scratch" {
		return emptyImage(), nil
	}
	return pull(name)
}

func onBuild(image v1.Image) ([]instructions.Command, error) {
	config, err := image.ConfigFile()
	if err != nil || len(config.Config.OnBuild) == 0 {
		return nil, err
	}
	parsed, err := parser.Parse(strings.NewReader(strings.Join(config.Config.OnBuild, "\n")))
	if err != nil {
		return nil, fmt.Errorf("failed to parse ONBUILD instructions: %w", err)
	}
	var commands []instructions.Command
	for _, node := range parsed.AST.Children {
		command, err := instructions.ParseCommand(node)
		if err != nil {
			return nil, fmt.Errorf("failed to parse ONBUILD instructions: %w", err)
		}
		commands = append(commands, command)
	}
	return commands, nil
}

func predefined(o *options) []string {
	parts := strings.Split(o.customPlatform+"/", "/")
	return []string{
		"TARGETPLATFORM=" + o.customPlatform, "TARGETOS=" + parts[0], "TARGETARCH=" + parts[1], "TARGETVARIANT=" + parts[2],
		"BUILDPLATFORM=" + defaultPlatform, "BUILDOS=" + strings.Split(defaultPlatform, "/")[0], "BUILDARCH=" + strings.Split(defaultPlatform, "/")[1],
	}
}
