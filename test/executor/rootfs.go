package main

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

// rootfs is the file system that steps work on: the executor's own / (another folder in tests), without what is ignored.
type rootfs struct {
	root    string
	ignored []string // absolute paths as a container sees them
}

// newRootfs ignores the executor's own folder, the context, what the runtime has mounted, and what the flags say.
func newRootfs(o *options) (*rootfs, error) {
	r := &rootfs{root: "/", ignored: []string{home, "/proc", "/sys", "/dev", "/var/run", "/workspace", o.context}}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] != "/" {
			r.ignored = append(r.ignored, strings.ReplaceAll(fields[4], `\040`, " "))
		}
	}
	r.ignored = append(r.ignored, o.ignorePaths...)
	return r, nil
}

func (r *rootfs) isIgnored(path string) bool {
	for _, ignored := range r.ignored {
		if path == ignored || strings.HasPrefix(path, ignored+"/") {
			return true
		}
	}
	return false
}

// holdsIgnored tells whether something ignored lies below path.
func (r *rootfs) holdsIgnored(path string) bool {
	for _, ignored := range r.ignored {
		if strings.HasPrefix(ignored, strings.TrimSuffix(path, "/")+"/") {
			if _, err := os.Lstat(filepath.Join(r.root, ignored)); err == nil {
				return true
			}
		}
	}
	return false
}

// extract lays a layer over what is there.
func (r *rootfs) extract(layer v1.Layer) error {
	content, err := layer.Uncompressed()
	if err != nil {
		return err
	}
	defer content.Close()
	if _, err := r.untar(content, "/"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, content) // its digest is checked at its end
	return err
}

// untar extracts an archive below the folder at and returns the paths that it has made.
func (r *rootfs) untar(content io.Reader, at string) ([]string, error) {
	var made []string
	added := map[string]bool{}
	modified := map[string]time.Time{} // of folders, set when nothing is added to them any more
	archive := tar.NewReader(bufio.NewReaderSize(content, 1<<20))
	buffer := make([]byte, 1<<18)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		path := filepath.Join(at, filepath.Clean("/"+header.Name))
		if path == "/" || r.isIgnored(path) {
			continue
		}
		dir, base := filepath.Split(path)
		if base == ".wh..wh..opq" {
			err = r.clear(filepath.Clean(dir), added)
		} else if hidden, isWhiteout := strings.CutPrefix(base, ".wh."); isWhiteout {
			err = r.remove(filepath.Join(dir, hidden))
		} else {
			added[path] = true
			made = append(made, path)
			if header.Typeflag == tar.TypeDir {
				modified[path] = header.ModTime
			}
			err = r.create(path, at, header, archive, buffer)
		}
		if err != nil {
			return nil, fmt.Errorf("extracting %s: %w", path, err)
		}
	}
	for path, at := range modified {
		_ = setModified(filepath.Join(r.root, path), at)
	}
	return made, nil
}

func (r *rootfs) create(path, at string, header *tar.Header, content io.Reader, buffer []byte) error {
	full := filepath.Join(r.root, path)
	there, err := os.Lstat(full)
	if err != nil {
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
	} else if !there.IsDir() || header.Typeflag != tar.TypeDir {
		if err := r.remove(path); err != nil {
			return err
		}
	}
	mode := header.FileInfo().Mode()
	switch header.Typeflag {
	case tar.TypeDir:
		if err := os.Mkdir(full, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case tar.TypeReg:
		file, err := os.OpenFile(full, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		// without its ReadFrom, which would not use the buffer
		_, err = io.CopyBuffer(struct{ io.Writer }{file}, content, buffer)
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
	case tar.TypeLink:
		return os.Link(filepath.Join(r.root, at, filepath.Clean("/"+header.Linkname)), full)
	case tar.TypeSymlink:
		if err := os.Symlink(header.Linkname, full); err != nil {
			return err
		}
	default: // devices and pipes need more than a build has
		return nil
	}
	if err := os.Lchown(full, header.Uid, header.Gid); err != nil {
		return err
	}
	if header.Typeflag != tar.TypeSymlink {
		if err := os.Chmod(full, mode); err != nil {
			return err
		}
	}
	for key, value := range header.PAXRecords {
		if attribute, isAttribute := strings.CutPrefix(key, "SCHILY.xattr."); isAttribute {
			_ = unix.Lsetxattr(full, attribute, []byte(value), 0) // not every file system has them
		}
	}
	return setModified(full, header.ModTime)
}

func setModified(full string, at time.Time) error {
	stamp := unix.NsecToTimespec(at.UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, full, []unix.Timespec{stamp, stamp}, unix.AT_SYMLINK_NOFOLLOW)
}

// remove takes path away, except for what is ignored.
func (r *rootfs) remove(path string) error {
	if r.isIgnored(path) {
		return nil
	}
	if r.holdsIgnored(path) {
		return r.clear(path, nil)
	}
	return os.RemoveAll(filepath.Join(r.root, path))
}

// clear takes away what lies in the folder path, except for what is ignored or kept.
func (r *rootfs) clear(path string, kept map[string]bool) error {
	entries, err := os.ReadDir(filepath.Join(r.root, path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		if child := filepath.Join(path, entry.Name()); !kept[child] {
			if err := r.remove(child); err != nil {
				return err
			}
		}
	}
	return nil
}

// moveTo empties the file system into the folder to, which a later stage may copy from. What is ignored stays.
func (r *rootfs) moveTo(to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return r.move("/", to)
}

func (r *rootfs) move(path, to string) error {
	entries, err := os.ReadDir(filepath.Join(r.root, path))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		child := filepath.Join(path, entry.Name())
		from, target := filepath.Join(r.root, child), filepath.Join(to, entry.Name())
		if r.isIgnored(child) {
			continue
		}
		if !r.holdsIgnored(child) && os.Rename(from, target) == nil {
			continue
		}
		// a mount lies in it, or (overlayfs) it comes from the executor's own image
		if !entry.IsDir() {
			return fmt.Errorf("cannot move %s away", child)
		}
		if err := os.Mkdir(target, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := r.move(child, target); err != nil {
			return err
		}
	}
	return nil
}
