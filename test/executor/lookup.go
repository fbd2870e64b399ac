package main

import (
	"fmt"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/sirupsen/logrus"
)

// step is an instruction of a stage, with what the cache says of it.
type step struct {
	command instructions.Command
	key     cacheKey
	cached  v1.Layer
}

func (s *step) String() string { return fmt.Sprint(s.command) }

// changesFiles tells a step from one of the configuration only.
func (s *step) changesFiles() bool {
	switch s.command.(type) {
	case *instructions.RunCommand, *instructions.CopyCommand, *instructions.AddCommand, *instructions.WorkdirCommand:
		return true
	}
	return false
}

// lookUp goes through the steps as if they were run, and asks the cache for the layers of those before the first that it lacks.
func (b *builder) lookUp(s *stage, image v1.Image, st *state) ([]*step, error) {
	digest, err := image.Digest()
	if err != nil {
		return nil, err
	}
	key := cacheKey(digest.String())
	if s.onStage >= 0 {
		key = b.keys[s.onStage]
	}
	var steps []*step
	misses := false
	for _, command := range s.commands {
		next := &step{command: command}
		steps = append(steps, next)
		if b.o.cache {
			parts := []string{fmt.Sprint(command)}
			isCacheable := false
			switch c := command.(type) {
			case *instructions.RunCommand:
				for _, file := range c.Files {
					parts = append(parts, file.Data)
				}
				parts = append(parts, st.env()...)
				isCacheable = b.o.cacheRunLayers
			case *instructions.CopyCommand, *instructions.AddCommand:
				copied := b.copyStep(command)
				sources, err := copied.sources(st)
				if err != nil {
					return nil, fmt.Errorf("failed to get files used from context: %w", err)
				}
				hash, err := hashFiles(copied.from.root, sources, copied.from.excludes)
				if err != nil {
					return nil, err
				}
				for _, inline := range copied.paths.SourceContents {
					parts = append(parts, inline.Data)
				}
				parts = append(append(parts, hash), st.env()...)
				isCacheable = b.o.cacheCopyLayers
			}
			key = key.with(parts...)
			if isCacheable {
				next.key = key
				if !misses {
					next.cached = b.cache.find(string(key))
					misses = next.cached == nil
				}
				if next.cached != nil {
					logrus.Infof("Using caching version of cmd: %s", next)
				} else {
					logrus.Infof("No cached layer found for cmd %s", next)
				}
			}
		}
		if err := st.apply(command); err != nil {
			return nil, err
		}
	}
	b.keys[s.index] = key
	return steps, nil
}

func (b *builder) copyStep(command instructions.Command) *copyStep {
	switch c := command.(type) {
	case *instructions.AddCommand:
		return &copyStep{from: b.context, paths: c.SourcesAndDest, chown: c.Chown, chmod: c.Chmod, extracts: true}
	case *instructions.CopyCommand:
		from := b.context
		if index, err := strconv.Atoi(c.From); err == nil {
			from = &tree{root: stageFolder(index)}
		} else if c.From != "" {
			from = &tree{root: imageFolder(c.From)}
		}
		return &copyStep{from: from, paths: c.SourcesAndDest, chown: c.Chown, chmod: c.Chmod}
	}
	return nil
}
