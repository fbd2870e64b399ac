package main

import (
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/sirupsen/logrus"
)

// tree is what COPY and ADD copy from: the context without what .dockerignore names, or a stage, or an image.
type tree struct {
	root    string
	ignore  *patternmatcher.PatternMatcher // nil: nothing
	ownedBy *[2]int                        // nil: as it is in the tree
}

func contextTree(o *options) (*tree, error) {
	t := &tree{root: o.context, ownedBy: &[2]int{0, 0}}
	for _, path := range []string{o.dockerfile + ".dockerignore", filepath.Join(o.context, ".dockerignore")} {
		content, err := os.Open(path)
		if err != nil {
			continue
		}
		defer content.Close()
		logrus.Infof("Using dockerignore file: %v", path)
		patterns, err := ignorefile.ReadAll(content)
		if err != nil {
			return nil, err
		}
		t.ignore, err = patternmatcher.New(patterns)
		return t, err
	}
	return t, nil
}

func (t *tree) excludes(relative string) bool {
	if t.ignore == nil || relative == "" || relative == "." {
		return false
	}
	excluded, err := t.ignore.MatchesOrParentMatches(relative)
	return err == nil && excluded
}

// copyStep is a COPY or an ADD.
type copyStep struct {
	from         *tree
	paths        instructions.SourcesAndDest
	chown, chmod string
	extracts     bool // ADD: fetches URLs, extracts archives
}

// source is one of what is copied: where it lies, its links followed, and the name that it has at the destination.
type source struct{ path, name string }

// sources are what is copied, wildcards resolved.
func (c *copyStep) sources(s *state) ([]source, error) {
	var all []source
	for _, word := range c.paths.SourcePaths {
		word, err := s.word(word)
		if err != nil {
			return nil, err
		}
		if c.extracts && isURL(word) {
			continue
		}
		full := filepath.Join(c.from.root, filepath.Clean("/"+word))
		if !strings.ContainsAny(word, "*?[") {
			path, err := resolveBelow(c.from.root, full)
			if err != nil {
				return nil, fmt.Errorf("failed to get fileinfo for %s: %w", full, err)
			}
			all = append(all, source{path, filepath.Base(full)})
			continue
		}
		matches, err := filepath.Glob(full)
		if err != nil {
			return nil, err
		}
		for _, match := range matches {
			if c.from.excludes(c.relative(match)) {
				continue
			}
			resolved, err := resolveBelow(c.from.root, match)
			if err != nil {
				return nil, err
			}
			all = append(all, source{resolved, filepath.Base(match)})
		}
	}
	return all, nil
}

func (c *copyStep) relative(full string) string {
	return strings.TrimPrefix(strings.TrimPrefix(full, c.from.root), "/")
}

func isURL(source string) bool {
	u, err := url.ParseRequestURI(source)
	return err == nil && u.Scheme != "" && u.Host != ""
}

// resolveBelow follows the links of full as a container with that root would.
func resolveBelow(root, full string) (string, error) {
	rest := strings.TrimPrefix(strings.TrimPrefix(full, root), "/")
	at := "/"
	for links := 0; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		next := filepath.Join(at, part)
		target, err := os.Readlink(filepath.Join(root, next))
		if err != nil {
			at = next
			continue
		}
		if links++; links > 255 {
			return full, errors.New("too many links")
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = strings.Trim(target, "/") + "/" + rest
		rest = strings.Trim(rest, "/")
	}
	resolved := filepath.Join(root, at)
	if _, err := os.Lstat(resolved); err != nil {
		return full, err
	}
	return resolved, nil
}

// run copies and returns the paths that are new or changed, as the file system has them.
func (c *copyStep) run(s *state, r *rootfs) ([]string, error) {
	dest, err := s.word(c.paths.DestPath)
	if err != nil {
		return nil, err
	}
	sources, err := c.sources(s)
	if err != nil {
		return nil, err
	}
	isFolder := strings.HasSuffix(dest, "/") || dest == "." || strings.HasSuffix(dest, "/.")
	if !filepath.IsAbs(dest) {
		dest = filepath.Join("/", s.config.WorkingDir, dest)
	}
	p := &placer{r: r, from: c.from, owner: c.from.ownedBy}
	if dest, err = p.real(filepath.Clean(dest)); err != nil {
		return nil, err
	}
	if info, err := os.Stat(filepath.Join(r.root, dest)); err == nil && info.IsDir() {
		isFolder = true
	}
	if len(sources)+len(c.paths.SourceContents) > 1 && !isFolder {
		return nil, errors.New("when specifying multiple sources in a COPY command, destination must be a directory and end in '/'")
	}
	if c.chown != "" {
		who, err := s.word(c.chown)
		if err != nil {
			return nil, err
		}
		uid, gid, _, err := lookup(who)
		if err != nil {
			return nil, fmt.Errorf("getting user group from chown: %w", err)
		}
		p.owner = &[2]int{uid, gid}
	}
	if c.chmod != "" {
		text, err := s.word(c.chmod)
		if err != nil {
			return nil, err
		}
		mode, err := strconv.ParseUint(text, 8, 12)
		if err != nil {
			return nil, fmt.Errorf("getting permissions from chmod: parsing value from chmod: %w", err)
		}
		p.mode = &mode
	}
	at := func(name string) string {
		if isFolder {
			return filepath.Join(dest, name)
		}
		return dest
	}
	for _, word := range c.paths.SourcePaths {
		if word, err = s.word(word); err == nil && c.extracts && isURL(word) {
			err = p.fetch(word, at(filepath.Base(word)))
		}
		if err != nil {
			return nil, err
		}
	}
	for _, source := range sources {
		if err := c.place(p, source.path, dest, at(source.name)); err != nil {
			return nil, err
		}
	}
	for _, inline := range c.paths.SourceContents {
		data := inline.Data
		if inline.Expand {
			if data, err = s.word(data); err != nil {
				return nil, err
			}
		}
		if err := p.write(at(filepath.Base(inline.Path)), strings.NewReader(data), 0o644, nil); err != nil {
			return nil, err
		}
	}
	return p.made, nil
}

func (c *copyStep) place(p *placer, source, dest, file string) error {
	info, err := os.Lstat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return p.folder(source, dest)
	}
	if c.from.excludes(c.relative(source)) {
		logrus.Infof("%s is excluded by .dockerignore", source)
		return nil
	}
	if c.extracts {
		if archive := openArchive(source); archive != nil {
			defer archive.Close()
			made, err := p.r.untar(archive, dest)
			p.made = append(p.made, made...)
			return err
		}
	}
	return p.file(source, file, info)
}

// openArchive returns nil for what is no tar archive, plain or compressed with gzip or bzip2.
func openArchive(path string) io.ReadCloser {
	for _, name := range []string{".tar", ".tar.gz", ".tgz", ".tar.bz2"} {
		if !strings.HasSuffix(path, name) {
			continue
		}
		content, err := os.Open(path)
		if err != nil {
			return nil
		}
		var plain io.Reader = content
		if slices.Contains([]string{".tar.gz", ".tgz"}, name) {
			if plain, err = gzip.NewReader(content); err != nil {
				_ = content.Close()
				return nil
			}
		} else if name == ".tar.bz2" {
			plain = bzip2.NewReader(content)
		}
		return struct {
			io.Reader
			io.Closer
		}{plain, content}
	}
	return nil
}

// fetch does what ADD does with a URL.
func (p *placer) fetch(source, file string) error {
	response, err := http.Get(source) //nolint:gosec // the Dockerfile says so
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= 400 {
		return fmt.Errorf("invalid response status %d", response.StatusCode)
	}
	return p.write(file, response.Body, 0o600, nil)
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
