package main

import (
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
