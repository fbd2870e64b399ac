package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

// file is what is compared of a file to see whether it has changed.
type file struct {
	mode              uint32
	uid, gid          uint32
	size              int64
	modified, changed unix.Timespec
	inode             uint64
}

// snapshotter turns what a step has changed into a layer.
type snapshotter struct {
	fs     *rootfs
	mode   string // full (also looks at the time of the last change of any kind), redo or time
	level  int
	folder string // of the layers
	known  map[string]file
	count  int
}

func (s *snapshotter) look(path string) (file, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(filepath.Join(s.fs.root, path), &stat); err != nil {
		return file{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	f := file{mode: stat.Mode, uid: stat.Uid, gid: stat.Gid}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR { // of a folder all these only tell that something in it has changed
		f.size, f.modified, f.inode = stat.Size, stat.Mtim, stat.Ino
		if s.mode == "full" {
			f.changed = stat.Ctim
		}
	}
	return f, nil
}

func (s *snapshotter) scan() (map[string]file, error) {
	found := make(map[string]file, len(s.known)+1024)
	err := filepath.WalkDir(s.fs.root, func(full string, entry fs.DirEntry, err error) error {
		path := "/" + strings.TrimPrefix(strings.TrimPrefix(full, s.fs.root), "/")
		if path == "/" {
			return err
		}
		if s.fs.isIgnored(path) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if err != nil {
			return err
		}
		found[path], err = s.look(path)
		return err
	})
	return found, err
}

// start remembers what is there. Only steps whose changes are not known beforehand need it.
func (s *snapshotter) start() (err error) {
	if s.known == nil {
		s.known, err = s.scan()
	}
	return err
}

// forget is called when the file system has been replaced.
func (s *snapshotter) forget() { s.known = nil }

// noted adds paths that are known to have changed, and are in a layer already.
func (s *snapshotter) noted(paths []string) error {
	if s.known == nil {
		return nil
	}
	for _, path := range withParents(paths) {
		f, err := s.look(path)
		if errors.Is(err, fs.ErrNotExist) {
			delete(s.known, path)
		} else if err != nil {
			return err
		} else {
			s.known[path] = f
		}
	}
	return nil
}

// changes makes a layer of all that has changed since start.
func (s *snapshotter) changes(media types.MediaType) (v1.Layer, error) {
	now, err := s.scan()
	if err != nil {
		return nil, err
	}
	var changed, gone []string
	for path, f := range now {
		if before, there := s.known[path]; !there || before != f {
			changed = append(changed, path)
		}
	}
	for path, f := range s.known {
		if _, there := now[path]; there || s.fs.isIgnored(path) {
			continue
		}
		// of a folder that went, or is something else now, the whiteout or the new file says it all
		parent := filepath.Dir(path)
		if over, there := now[parent]; parent == "/" || (there && over.mode&unix.S_IFMT == unix.S_IFDIR) {
			gone = append(gone, path)
		}
		_ = f
	}
	s.known = now
	return s.layer(changed, gone, media)
}

// withParents adds the folders that paths lie in, sorted so that a folder comes before what is in it.
func withParents(paths []string) []string {
	set := map[string]bool{}
	for _, path := range paths {
		for ; path != "/" && path != "." && !set[path]; path = filepath.Dir(path) {
			set[path] = true
		}
	}
	all := make([]string, 0, len(set))
	for path := range set {
		all = append(all, path)
	}
	sort.Strings(all)
	return all
}

// layer writes paths and whiteouts to a compressed archive, both digests taken on the way.
func (s *snapshotter) layer(paths, gone []string, media types.MediaType) (v1.Layer, error) {
	s.count++
	out, err := os.Create(filepath.Join(s.folder, fmt.Sprintf("%d.tar.gz", s.count)))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	compressed, plain := sha256.New(), sha256.New()
	zip, err := gzip.NewWriterLevel(io.MultiWriter(out, compressed), s.level)
	if err != nil {
		return nil, err
	}
	archive := tar.NewWriter(io.MultiWriter(zip, plain))
	whiteouts := map[string]bool{}
	all := slices.Clone(paths)
	for _, path := range gone {
		whiteout := filepath.Join(filepath.Dir(path), ".wh."+filepath.Base(path))
		whiteouts[whiteout] = true
		all = append(all, whiteout)
	}
	links := map[uint64]string{}
	for _, path := range withParents(all) {
		if whiteouts[path] {
			err = archive.WriteHeader(&tar.Header{Name: path[1:], Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0)})
		} else {
			err = s.append(archive, path, links)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		return nil, err
	}
	info, err := out.Stat()
	if err != nil {
		return nil, err
	}
	return &fileLayer{path: out.Name(), digest: sum(compressed), diff: sum(plain), size: info.Size(), media: media}, nil
}

func (s *snapshotter) append(archive *tar.Writer, path string, links map[uint64]string) error {
	full := filepath.Join(s.fs.root, path)
	var stat unix.Stat_t
	if err := unix.Lstat(full, &stat); err != nil {
		return &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	header := &tar.Header{
		Name: path[1:], Mode: int64(stat.Mode & 0o7777), Uid: int(stat.Uid), Gid: int(stat.Gid), ModTime: time.Unix(stat.Mtim.Unix()).Truncate(time.Second),
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
	case unix.S_IFLNK:
		target, err := os.Readlink(full)
		if err != nil {
			return err
		}
		header.Typeflag, header.Linkname = tar.TypeSymlink, target
	case unix.S_IFREG:
		header.Typeflag, header.Size = tar.TypeReg, stat.Size
		if first := links[stat.Ino]; first != "" {
			header.Typeflag, header.Size, header.Linkname = tar.TypeLink, 0, first
		} else if stat.Nlink > 1 {
			links[stat.Ino] = path[1:]
		}
		value := make([]byte, 128)
		if n, err := unix.Lgetxattr(full, "security.capability", value); err == nil && n > 0 {
			header.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": string(value[:n])}
		}
	default: // sockets, pipes and devices are left out, as Kaniko leaves sockets out
		return nil
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	if header.Typeflag != tar.TypeReg {
		return nil
	}
	content, err := os.Open(full)
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = io.Copy(archive, content)
	return err
}

func sum(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// fileLayer is a layer that lies in a compressed file.
type fileLayer struct {
	path         string
	digest, diff v1.Hash
	size         int64
	media        types.MediaType
}

func (l *fileLayer) Digest() (v1.Hash, error)            { return l.digest, nil }
func (l *fileLayer) DiffID() (v1.Hash, error)            { return l.diff, nil }
func (l *fileLayer) Size() (int64, error)                { return l.size, nil }
func (l *fileLayer) MediaType() (types.MediaType, error) { return l.media, nil }
func (l *fileLayer) Compressed() (io.ReadCloser, error)  { return os.Open(l.path) }
func (l *fileLayer) Uncompressed() (io.ReadCloser, error) {
	content, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	unzipped, err := gzip.NewReader(content)
	if err != nil {
		return nil, errors.Join(err, content.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{unzipped, content}, nil
}
