package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/sirupsen/logrus"
)

// builder builds the stages of a plan one after the other in one file system.
type builder struct {
	o       *options
	plan    *plan
	fs      *rootfs
	snap    *snapshotter
	cache   *layerCache
	context *tree
	built   map[int]v1.Image
	keys    map[int]cacheKey // of built stages
	stores  sync.WaitGroup   // of layers into the cache
}

func emptyImage() v1.Image { return empty.Image }

func build(o *options, r *registries) (v1.Image, error) {
	p, err := readPlan(o, r.pull)
	if err != nil {
		return nil, err
	}
	fs, err := newRootfs(o)
	if err != nil {
		return nil, fmt.Errorf("failed to initialize ignore list: %w", err)
	}
	context, err := contextTree(o)
	if err != nil {
		return nil, err
	}
	b := &builder{
		o: o, plan: p, fs: fs, context: context, cache: &layerCache{r},
		snap:  &snapshotter{fs: fs, mode: o.snapshotMode, level: o.compressionLevel, folder: home + "/layers"},
		built: map[int]v1.Image{}, keys: map[int]cacheKey{},
	}
	if err := os.MkdirAll(b.snap.folder, 0o755); err != nil {
		return nil, err
	}
	for name, image := range p.images {
		if err := unpack(&rootfs{root: imageFolder(name)}, image); err != nil {
			return nil, err
		}
	}
	defer b.stores.Wait()
	for i, s := range p.stages {
		image, err := b.stage(s, i == len(p.stages)-1)
		if err != nil {
			return nil, err
		}
		b.built[s.index] = image
	}
	last := b.built[p.stages[len(p.stages)-1].index]
	if o.cleanup {
		if err := fs.moveTo(home + "/trash"); err != nil {
			return nil, err
		}
	}
	if o.reproducible {
		return mutate.Canonical(last)
	}
	return mutate.CreatedAt(last, v1.Time{Time: time.Now()})
}

func stageFolder(index int) string { return filepath.Join(home, "stages", strconv.Itoa(index)) }
func imageFolder(image string) string {
	return filepath.Join(home, "images", strings.ReplaceAll(image, "/", "_"))
}

func unpack(to *rootfs, image v1.Image) error {
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		if err := to.extract(layer); err != nil {
			return fmt.Errorf("failed to get filesystem from image: %w", err)
		}
	}
	return nil
}

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

func (b *builder) stage(s *stage, isLast bool) (v1.Image, error) {
	image := s.base
	if s.onStage >= 0 {
		image = b.built[s.onStage]
	}
	logrus.Infof("Building stage '%v' [idx: '%v', base-idx: '%v']", s.baseName, s.index, s.onStage)
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	st := newState(config.Config, b.o, b.plan.global)
	steps, err := b.lookUp(s, image, st.clone())
	if err != nil {
		return nil, fmt.Errorf("failed to optimize instructions: %w", err)
	}
	if image, err = b.run(s, image, st, steps); err != nil {
		return nil, fmt.Errorf("error building stage: %w", err)
	}
	if isLast {
		for _, label := range b.o.labels {
			key, value, found := strings.Cut(label, "=")
			if !found {
				return nil, fmt.Errorf("labels must be of the form key=value, got %s", label)
			}
			put(&st.config.Labels, key, value)
		}
	}
	if image, err = mutate.Config(image, st.finished()); err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	platform, err := v1.ParsePlatform(b.o.customPlatform)
	if err != nil {
		return nil, err
	}
	file.OS, file.Architecture, file.Variant = platform.OS, platform.Architecture, platform.Variant
	if st.author != "" {
		file.Author = st.author
	}
	if image, err = mutate.ConfigFile(image, file); err != nil || isLast {
		return image, err
	}
	folder := stageFolder(s.index)
	if !s.isSource {
		folder = filepath.Join(home, "trash", strconv.Itoa(s.index))
	}
	logrus.Info("Deleting filesystem...")
	b.snap.forget()
	return image, b.fs.moveTo(folder)
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

func layerMedia(image v1.Image) (types.MediaType, error) {
	media, err := image.MediaType()
	if strings.Contains(string(media), types.OCIVendorPrefix) {
		return types.OCILayer, err
	}
	return types.DockerLayer, err
}

// unpackFor unpacks the base where a step, or a later stage, needs its files.
func (b *builder) unpackFor(s *stage, image v1.Image, steps []*step) (bool, error) {
	needs := s.isSource
	for _, step := range steps {
		if step.cached == nil && step.changesFiles() {
			logrus.Infof("Unpacking rootfs as cmd %s requires it.", step)
			needs = true
			break
		}
	}
	if !needs {
		logrus.Info("Skipping unpacking as no commands require it.")
		return false, nil
	}
	return true, unpack(b.fs, image)
}

func (b *builder) run(s *stage, image v1.Image, st *state, steps []*step) (v1.Image, error) {
	media, err := layerMedia(image)
	if err != nil {
		return nil, err
	}
	unpacked, err := b.unpackFor(s, image, steps)
	if err != nil {
		return nil, err
	}
	if b.o.singleSnapshot && unpacked {
		if err := b.snap.start(); err != nil {
			return nil, err
		}
	}
	for _, step := range steps {
		logrus.Info(step)
		if err := st.apply(step.command); err != nil {
			return nil, fmt.Errorf("failed to execute command: %w", err)
		}
		layer, err := b.execute(step, st, unpacked, media)
		if err != nil {
			return nil, err
		}
		if layer == nil {
			continue
		}
		if step.key != "" && step.cached == nil && !b.o.noPushCache {
			b.stores.Go(func() {
				if err := b.cache.store(string(step.key), step.String(), layer); err != nil {
					logrus.Warnf("Error uploading layer to cache: %s", err)
				}
			})
		}
		if image, err = appendLayer(image, layer, step.String()); err != nil {
			return nil, fmt.Errorf("failed to save layer: %w", err)
		}
	}
	if b.o.singleSnapshot && unpacked {
		layer, err := b.snap.changes(media)
		if err != nil {
			return nil, fmt.Errorf("failed to take snapshot: %w", err)
		}
		return appendLayer(image, layer, "kaniko single snapshot")
	}
	return image, nil
}

func appendLayer(image v1.Image, layer v1.Layer, createdBy string) (v1.Image, error) {
	media, err := layer.MediaType()
	if err != nil {
		return nil, err
	}
	return mutate.Append(image, mutate.Addendum{Layer: layer, MediaType: media, History: v1.History{Author: "kaniko", CreatedBy: createdBy}})
}

// execute does what a step does to the files; nil where it makes no layer.
func (b *builder) execute(step *step, st *state, unpacked bool, media types.MediaType) (v1.Layer, error) {
	if step.cached != nil {
		if unpacked {
			logrus.Info("Found cached layer, extracting to filesystem")
			b.snap.forget()
			return step.cached, b.fs.extract(step.cached)
		}
		return step.cached, nil
	}
	if run, isRun := step.command.(*instructions.RunCommand); isRun {
		logrus.Info("Initializing snapshotter ...")
		if err := b.snap.start(); err != nil {
			return nil, err
		}
		if err := runStep(run, st); err != nil {
			return nil, fmt.Errorf("failed to execute command: %w", err)
		}
		if b.o.singleSnapshot {
			return nil, nil
		}
		logrus.Info("Taking snapshot of full filesystem...")
		layer, err := b.snap.changes(media)
		if err != nil {
			return nil, fmt.Errorf("failed to take snapshot: %w", err)
		}
		return layer, nil
	}
	made, err := b.filesOf(step, st)
	if err != nil {
		return nil, fmt.Errorf("failed to execute command: %w", err)
	}
	if len(made) == 0 || b.o.singleSnapshot {
		return nil, nil
	}
	logrus.Info("Taking snapshot of files...")
	layer, err := b.snap.layer(made, nil, media)
	if err != nil {
		return nil, fmt.Errorf("failed to take snapshot: %w", err)
	}
	return layer, b.snap.noted(made)
}

func (b *builder) filesOf(step *step, st *state) ([]string, error) {
	if copied := b.copyStep(step.command); copied != nil {
		made, err := copied.run(st, b.fs)
		if isMissing(err) {
			return nil, fmt.Errorf("resolving src: %w", err)
		}
		return made, err
	}
	if _, isWorkdir := step.command.(*instructions.WorkdirCommand); !isWorkdir {
		return nil, nil
	}
	p := &placer{r: b.fs}
	path, err := p.real(st.config.WorkingDir)
	if err != nil {
		return nil, err
	}
	err = p.parents(filepath.Join(path, "x"))
	return p.made, errors.Join(err)
}
