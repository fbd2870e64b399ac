package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sirupsen/logrus"
)

// layerCache keeps the layers of steps in a repository, each as an image of one layer whose tag is the key.
type layerCache struct {
	r *registries
}

func (c *layerCache) ref(key string) (name.Tag, error) {
	repo := c.r.o.cacheRepo
	if repo == "" {
		destination, err := c.r.tag(c.r.o.destinations[0])
		if err != nil {
			return destination, err
		}
		repo = destination.Context().Name() + "/cache"
	}
	return c.r.tag(repo + ":" + key)
}

// find returns nil where there is no layer of that key, or only one that is too old, or the registry cannot say.
func (c *layerCache) find(key string) v1.Layer {
	layer, err := c.read(key)
	if err != nil {
		logrus.Debugf("Failed to retrieve layer: %s", err)
		return nil
	}
	return layer
}

func (c *layerCache) read(key string) (v1.Layer, error) {
	ref, err := c.ref(key)
	if err != nil {
		return nil, err
	}
	logrus.Infof("Checking for cached layer %s...", ref)
	tr, err := c.r.transport(ref.RegistryStr(), c.r.o.skipTLSVerify)
	if err != nil {
		return nil, err
	}
	image, err := remote.Image(ref, remote.WithTransport(tr), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	if config.Created.Add(c.r.o.cacheTTL).Before(time.Now()) {
		return nil, fmt.Errorf("Cache entry expired: %s", ref) //lint:ignore ST1005 as Kaniko says it
	}
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	if len(layers) != 1 {
		return nil, fmt.Errorf("expected 1 layer, got %d", len(layers))
	}
	return layers[0], nil
}

func (c *layerCache) store(key, createdBy string, layer v1.Layer) error {
	ref, err := c.ref(key)
	if err != nil {
		return fmt.Errorf("getting cache destination: %w", err)
	}
	logrus.Infof("Pushing layer %s to cache now", ref)
	image, err := mutate.CreatedAt(empty.Image, v1.Time{Time: time.Now()})
	if err != nil {
		return err
	}
	image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{Author: "kaniko", CreatedBy: createdBy}})
	if err != nil {
		return err
	}
	return c.r.write(ref, image)
}

// cacheKey chains what has gone into a stage so far.
type cacheKey string

func (k cacheKey) with(parts ...string) cacheKey {
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s", len(k), k)
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return cacheKey(hex.EncodeToString(h.Sum(nil)))
}

// hashFiles is over names, modes and contents; not over times, which differ between two checkouts of one tree.
func hashFiles(root string, sources []source, excluded func(string) bool) (string, error) {
	h := sha256.New()
	for _, source := range sources {
		fmt.Fprintf(h, "%d:%s", len(source.name), source.name)
		err := filepath.WalkDir(source.path, func(full string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			relative := strings.TrimPrefix(strings.TrimPrefix(full, root), "/")
			if !entry.IsDir() && excluded(relative) {
				return nil
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "%d:%s %o\n", len(relative), relative, info.Mode())
			switch {
			case info.Mode().IsRegular():
				fmt.Fprintf(h, "%d:", info.Size())
				content, err := os.Open(full)
				if err != nil {
					return err
				}
				defer content.Close()
				_, err = io.Copy(h, content)
				return err
			case info.Mode()&fs.ModeSymlink != 0:
				target, err := os.Readlink(full)
				fmt.Fprintf(h, "%d:%s", len(target), target)
				return err
			}
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
