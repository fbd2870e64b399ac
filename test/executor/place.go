package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// placer puts files into the file system and remembers which.
type placer struct {
	r     *rootfs
	from  *tree
	owner *[2]int // nil: as the source has it
	mode  *uint64 // nil: as the source has it
	made  []string
}

// real is the path that path means, its links followed as far as it exists.
func (p *placer) real(path string) (string, error) {
	missing := ""
	for at := path; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(p.r.root, at)); err == nil {
			resolved, err := resolveBelow(p.r.root, filepath.Join(p.r.root, at))
			if err != nil {
				return "", err
			}
			return filepath.Join("/", resolved[len(filepath.Clean(p.r.root)):], missing), nil
		} else if !isMissing(err) {
			return "", err
		}
		missing = filepath.Join(filepath.Base(at), missing)
	}
}

// parents makes the folders that path lies in, as root.
func (p *placer) parents(path string) error {
	dir := filepath.Dir(path)
	if _, err := os.Stat(filepath.Join(p.r.root, dir)); err == nil {
		return nil
	}
	if err := p.parents(dir); err != nil {
		return err
	}
	p.made = append(p.made, dir)
	return os.Mkdir(filepath.Join(p.r.root, dir), 0o755)
}

// folder copies what lies in source into the folder dest.
func (p *placer) folder(source, dest string) error {
	return filepath.WalkDir(source, func(full string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(p.from.root, full)
		if err != nil {
			return err
		}
		if p.from.excludes(relative) {
			if entry.IsDir() && !p.from.ignore.Exclusions() {
				return fs.SkipDir
			}
			if !entry.IsDir() {
				return nil
			}
			// something below it may be included again, and then makes it
			return nil
		}
		below, err := filepath.Rel(source, full)
		if err != nil {
			return err
		}
		path := filepath.Join(dest, below)
		if p.r.isIgnored(path) {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return p.directory(path, info)
		}
		return p.file(full, path, info)
	})
}

func (p *placer) directory(path string, info fs.FileInfo) error {
	full := filepath.Join(p.r.root, path)
	if there, err := os.Stat(full); err == nil && there.IsDir() {
		return nil
	}
	if err := p.parents(path); err != nil {
		return err
	}
	if err := p.r.remove(path); err != nil {
		return err
	}
	if err := os.Mkdir(full, 0o755); err != nil {
		return err
	}
	p.made = append(p.made, path)
	mode := info.Mode()
	if p.mode != nil { // a folder that may be read may be entered
		mode = fs.FileMode(*p.mode | (*p.mode&0o444)>>2)
	}
	return p.finish(full, info, mode)
}

func (p *placer) file(source, path string, info fs.FileInfo) error {
	if info.Mode()&fs.ModeSymlink == 0 {
		if !info.Mode().IsRegular() {
			return nil
		}
		content, err := os.Open(source)
		if err != nil {
			return err
		}
		defer content.Close()
		return p.write(path, content, info.Mode(), info)
	}
	target, err := os.Readlink(source)
	if err != nil {
		return err
	}
	if err := p.clearFor(path); err != nil {
		return err
	}
	full := filepath.Join(p.r.root, path)
	if err := os.Symlink(target, full); err != nil {
		return err
	}
	return p.finish(full, info, info.Mode())
}

// clearFor makes room for a file.
func (p *placer) clearFor(path string) error {
	if err := p.parents(path); err != nil {
		return err
	}
	p.made = append(p.made, path)
	return p.r.remove(path)
}

func (p *placer) write(path string, content io.Reader, mode fs.FileMode, info fs.FileInfo) error {
	if err := p.clearFor(path); err != nil {
		return err
	}
	full := filepath.Join(p.r.root, path)
	out, err := os.OpenFile(full, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if p.mode != nil {
		mode = fs.FileMode(*p.mode)
	}
	return p.finish(full, info, mode)
}

// finish sets owner, mode and time; info is the source's, nil where it has none.
func (p *placer) finish(full string, info fs.FileInfo, mode fs.FileMode) error {
	owner := p.owner
	if owner == nil {
		owner = &[2]int{0, 0}
		if info != nil {
			stat := info.Sys().(*syscall.Stat_t)
			owner = &[2]int{int(stat.Uid), int(stat.Gid)}
		}
	}
	if err := os.Lchown(full, owner[0], owner[1]); err != nil {
		return err
	}
	if mode&fs.ModeSymlink == 0 {
		if err := os.Chmod(full, mode); err != nil {
			return err
		}
	}
	if info == nil {
		return nil
	}
	return setModified(full, info.ModTime())
}
