package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/sirupsen/logrus"
)

// runStep runs the command of a RUN in the file system as it is, as the user that the stage has set.
func runStep(step *instructions.RunCommand, s *state) (err error) {
	for _, flag := range step.FlagsUsed {
		if flag != "mount" {
			logrus.Warnf("#969 kaniko does not support '--%s' flags in RUN statements - relying on unsupported flags can lead to invalid builds", flag)
		}
	}
	if len(step.FlagsUsed) > 0 {
		if err := step.Expand(s.word); err != nil {
			return err
		}
		for _, mount := range instructions.GetMounts(step) {
			if mount.Type != instructions.MountTypeCache {
				logrus.Warnf("Kaniko does not support '--mount=type=%s' flags in RUN statements - relying on unsupported flags can lead to invalid builds", mount.Type)
				continue
			}
			takeAway, mountErr := mountCache(mount)
			if mountErr != nil {
				return mountErr
			}
			defer func() { err = errors.Join(err, takeAway()) }()
		}
	}
	words := step.CmdLine
	if step.PrependShell {
		line := strings.Join(step.CmdLine, " ")
		if len(step.Files) == 1 && line == "<<"+step.Files[0].Name {
			line += " sh"
		}
		for _, file := range step.Files {
			line += "\n" + file.Data + file.Name
		}
		words = append(slices.Clone(s.shell()), line)
	}
	return execute(words, s)
}

func execute(words []string, s *state) error {
	env := s.env()
	if at := find(env, "PATH"); at >= 0 {
		_ = os.Setenv("PATH", strings.TrimPrefix(env[at], "PATH=")) // where the program is looked for
	}
	logrus.Infof("Cmd: %s", words[0])
	logrus.Infof("Args: %s", words[1:])
	command := exec.Command(words[0], words[1:]...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if info, err := os.Stat(s.config.WorkingDir); err == nil && info.IsDir() {
		command.Dir = s.config.WorkingDir
	}
	who, err := s.word(s.config.User)
	if err != nil {
		return fmt.Errorf("resolving user %s: %w", s.config.User, err)
	}
	homeDir := "/root"
	if who != "" {
		uid, gid, dir, err := lookup(who)
		if err != nil {
			return fmt.Errorf("credentials: %w", err)
		}
		homeDir = dir
		command.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: groups(who)}
	}
	if find(env, "HOME") < 0 {
		env = append(env, "HOME="+homeDir)
	}
	command.Env = env
	logrus.Infof("Running: %s", command.Args)
	if err := command.Start(); err != nil {
		return fmt.Errorf("starting command: %w", err)
	}
	if err := command.Wait(); err != nil {
		return fmt.Errorf("waiting for process to exit: %w", err)
	}
	// what it has left in the background
	if err := syscall.Kill(-command.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// lookup finds the ids of USER or --chown: names or numbers, with or without a group.
func lookup(spec string) (uid, gid int, homeDir string, err error) {
	name, group, hasGroup := strings.Cut(spec, ":")
	homeDir = "/"
	found, err := user.Lookup(name)
	if err != nil {
		found, err = user.LookupId(name)
	}
	if err == nil {
		homeDir = found.HomeDir
		uid, _ = strconv.Atoi(found.Uid)
		gid, _ = strconv.Atoi(found.Gid)
	} else if uid, err = strconv.Atoi(name); err != nil {
		return 0, 0, "", fmt.Errorf("user %v is not a uid and does not exist on the system", name)
	} else {
		gid = uid
	}
	if hasGroup {
		if found, lookupErr := user.LookupGroup(group); lookupErr == nil {
			group = found.Gid
		}
		if gid, err = strconv.Atoi(group); err != nil {
			return 0, 0, "", err
		}
	}
	return uid, gid, homeDir, nil
}

func groups(spec string) []uint32 {
	name, _, hasGroup := strings.Cut(spec, ":")
	found, err := user.Lookup(name)
	if hasGroup || err != nil {
		return nil
	}
	ids, _ := found.GroupIds()
	var all []uint32
	for _, id := range ids {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			all = append(all, uint32(n))
		}
	}
	return all
}

// mountCache puts the folder of a cache mount in its place for the time of a step; it is never in a layer.
func mountCache(mount *instructions.Mount) (takeAway func() error, err error) {
	id := mount.CacheID
	if id == "" {
		id = filepath.Clean(mount.Target)
	}
	kept := filepath.Join(home, "caches", fmt.Sprintf("%x", sha256.Sum256([]byte(id))))
	aside := kept + ".aside"
	if err := os.MkdirAll(kept, 0o755); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(mount.Target), 0o755); err != nil {
		return nil, err
	}
	covers := os.Rename(mount.Target, aside) == nil
	if err := os.Rename(kept, mount.Target); err != nil {
		return nil, err
	}
	uid, gid := 0, 0
	if mount.UID != nil {
		uid = int(*mount.UID)
	}
	if mount.GID != nil {
		gid = int(*mount.GID)
	}
	if err := os.Lchown(mount.Target, uid, gid); err != nil {
		return nil, err
	}
	return func() error {
		err := os.Rename(mount.Target, kept)
		if covers {
			err = errors.Join(err, os.Rename(aside, mount.Target))
		}
		return err
	}, nil
}
