package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/sirupsen/logrus"
)

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
	if copied := b.copyStep(step.command); copied != nil {
		if _, err := copied.sources(st); err != nil {
			return nil, fmt.Errorf("failed to get files used from context: %w", err)
		}
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
		return copied.run(st, b.fs)
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
