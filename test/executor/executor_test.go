package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/patternmatcher"
	"github.com/spf13/pflag"
)

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for path, content := range files {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func names(t *testing.T, layer v1.Layer) []string {
	t.Helper()
	content, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	var all []string
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, header.Name)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func expect(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestALayerHasWhatAStepChangedAndWhiteoutsOfWhatItRemoved(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"kept": "1", "changed": "1", "gone/a": "1", "gone/b": "1", "dir/gone": "1", "ignored/x": "1"})
	r := &rootfs{root: root, ignored: []string{"/ignored"}}
	s := &snapshotter{fs: r, mode: "full", level: -1, folder: t.TempDir()}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	write(t, root, map[string]string{"changed": "2", "new/file": "1", "ignored/y": "1"})
	if err := errors.Join(os.RemoveAll(root+"/gone"), os.Remove(root+"/dir/gone")); err != nil {
		t.Fatal(err)
	}
	layer, err := s.changes(types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, names(t, layer), []string{".wh.gone", "changed", "dir/", "dir/.wh.gone", "new/", "new/file"})

	other := t.TempDir()
	write(t, other, map[string]string{"changed": "1", "gone/a": "1", "dir/gone": "1", "dir/stays": "1"})
	if err := (&rootfs{root: other}).extract(layer); err != nil {
		t.Fatal(err)
	}
	if got := read(t, other+"/changed"); got != "2" {
		t.Errorf("changed is %q", got)
	}
	read(t, other+"/dir/stays")
	for _, path := range []string{"/gone", "/dir/gone"} {
		if _, err := os.Lstat(other + path); !isMissing(err) {
			t.Errorf("%s is still there", path)
		}
	}
	again, err := s.changes(types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, names(t, again), nil)
}

func TestWhatIsIgnoredIsNeitherWrittenNorRemoved(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"etc/hosts": "mounted", "etc/other": "1"})
	r := &rootfs{root: root, ignored: []string{"/etc/hosts"}}
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	for _, name := range []string{"etc/hosts", "../../outside", ".wh.etc"} {
		if err := archive.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, ModTime: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.untar(&layer, "/"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, root+"/etc/hosts"); got != "mounted" {
		t.Errorf("etc/hosts is %q", got)
	}
	if _, err := os.Lstat(root + "/etc/other"); !isMissing(err) {
		t.Error("etc/other is still there")
	}
	read(t, root+"/outside")
}

func TestCopyingTakesWildcardsFoldersAndLinksButNotWhatIsIgnored(t *testing.T) {
	context, root := t.TempDir(), t.TempDir()
	write(t, context, map[string]string{"a.js": "a", "b.js": "b", "node_modules/x": "x", "lib/c.js": "c", "lib/secret.env": "s"})
	if err := os.Symlink("a.js", context+"/link.js"); err != nil {
		t.Fatal(err)
	}
	ignore, err := patternmatcher.New([]string{"node_modules", "**/*.env"})
	if err != nil {
		t.Fatal(err)
	}
	from := &tree{root: context, ignore: ignore, ownedBy: &[2]int{os.Getuid(), os.Getgid()}}
	copied := func(dest string, sources ...string) []string {
		t.Helper()
		step := &copyStep{from: from, paths: instructions.SourcesAndDest{SourcePaths: sources, DestPath: dest}}
		s := newState(v1.Config{WorkingDir: "/app"}, &options{customPlatform: defaultPlatform}, nil)
		made, err := step.run(s, &rootfs{root: root})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(made)
		return slices.Compact(made)
	}
	expect(t, copied("./", "*.js"), []string{"/app", "/app/a.js", "/app/b.js", "/app/link.js"})
	if got := read(t, root+"/app/link.js"); got != "a" {
		t.Errorf("link.js is %q", got)
	}
	expect(t, copied("/all", "."), []string{"/all", "/all/a.js", "/all/b.js", "/all/lib", "/all/lib/c.js", "/all/link.js"})
	expect(t, copied("/renamed", "a.js"), []string{"/renamed"})
	step := &copyStep{from: from, paths: instructions.SourcesAndDest{SourcePaths: []string{"a.js", "b.js"}, DestPath: "/file"}}
	if _, err := step.run(newState(v1.Config{}, &options{customPlatform: defaultPlatform}, nil), &rootfs{root: root}); err == nil {
		t.Error("two files were copied to one")
	}
}

func TestAnArgHasTheFlagsValueElseItsDefaultElseTheGlobalOne(t *testing.T) {
	o := &options{customPlatform: "linux/amd64", buildArgs: []string{"GIVEN=flag", "HTTPS_PROXY=http://p", "UNDECLARED=x"}}
	s := newState(v1.Config{Env: []string{"FROM_BASE=base"}}, o, []string{"GLOBAL=global"})
	fallback := "default"
	for _, arg := range []instructions.KeyValuePairOptional{
		{Key: "GIVEN", Value: &fallback}, {Key: "DEFAULTED", Value: &fallback}, {Key: "GLOBAL"}, {Key: "TARGETARCH"}, {Key: "FROM_BASE", Value: &fallback}, {Key: "UNSET"},
	} {
		if err := s.declare(arg); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, s.env(), []string{"FROM_BASE=base", "HTTPS_PROXY=http://p", "GIVEN=flag", "DEFAULTED=default", "GLOBAL=global", "TARGETARCH=amd64"})
}

func TestOnlyStagesThatTheTargetNeedsArePlanned(t *testing.T) {
	context := t.TempDir()
	write(t, context, map[string]string{"Dockerfile": `ARG V=1
FROM base:$V AS one
FROM missing:1 AS unused
FROM base:2 AS two
COPY --from=ONE /a /b
FROM two
`})
	var pulled []string
	pull := func(image string) (v1.Image, error) {
		pulled = append(pulled, image)
		return emptyImage(), nil
	}
	o := &options{dockerfile: context + "/Dockerfile", customPlatform: defaultPlatform, buildArgs: []string{"V=3"}}
	p, err := readPlan(o, pull)
	if err != nil {
		t.Fatal(err)
	}
	var built []string
	for _, s := range p.stages {
		built = append(built, s.name)
	}
	expect(t, built, []string{"one", "two", ""})
	slices.Sort(pulled)
	expect(t, pulled, []string{"base:2", "base:3"})
	o.target = "nowhere"
	if _, err := readPlan(o, pull); err == nil || err.Error() != `error finding target stage: "nowhere" is not a valid target build stage` {
		t.Errorf("got %v", err)
	}
	write(t, context, map[string]string{"Dockerfile": "FROM base\nRUNN x\n"})
	if _, err := readPlan(o, pull); err == nil || !strings.HasPrefix(err.Error(), "parsing dockerfile: dockerfile parse error on line 2: unknown instruction: RUNN") {
		t.Errorf("got %v", err)
	}
}

func TestABuildArgWithoutValueIsTakenFromTheEnvironment(t *testing.T) {
	context := t.TempDir()
	write(t, context, map[string]string{"sub/Dockerfile": "FROM scratch\n"})
	t.Setenv("TOKEN", "s=3")
	var o options
	flags := pflag.NewFlagSet("executor", pflag.ContinueOnError)
	o.register(flags)
	if err := flags.Parse([]string{"--context=dir://" + context, "--dockerfile=sub/Dockerfile", "-d", "r/x:1", "--build-arg", "TOKEN", "--build-arg=A=b,c"}); err != nil {
		t.Fatal(err)
	}
	if err := o.resolve(); err != nil {
		t.Fatal(err)
	}
	expect(t, o.buildArgs, []string{"TOKEN=s=3", "A=b,c"})
	expect(t, []string{o.dockerfile, o.context}, []string{context + "/sub/Dockerfile", context})
	if err := flags.Parse([]string{"--nope"}); err == nil || err.Error() != "unknown flag: --nope" {
		t.Errorf("got %v", err)
	}
}

func TestCacheKeysDependOnNamesModesAndContentsOnly(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	write(t, one, map[string]string{"d/a": "1"})
	write(t, two, map[string]string{"d/a": "1"})
	if err := os.Chtimes(two+"/d/a", time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	hash := func(root string) string {
		h, err := hashFiles(root, []source{{root + "/d", "d"}}, func(string) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	if hash(one) != hash(two) {
		t.Error("two checkouts of one tree differ")
	}
	write(t, two, map[string]string{"d/a": "2"})
	if hash(one) == hash(two) {
		t.Error("a changed file makes no difference")
	}
	if cacheKey("k").with("ab", "c") == cacheKey("k").with("a", "bc") {
		t.Error("keys run together")
	}
}
