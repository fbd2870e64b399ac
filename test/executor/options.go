package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
)

// options are the flags of the Kaniko executor that this one knows, by their documented names.
type options struct {
	dockerfile, context, contextSubPath, target         string
	destinations, buildArgs, labels, ignorePaths        []string
	cache, noPushCache, cacheCopyLayers, cacheRunLayers bool
	cacheRepo                                           string
	cacheTTL                                            time.Duration
	registryMirrors, insecureRegistries                 []string
	skipTLSVerifyRegistries                             []string
	insecure, insecurePull                              bool
	skipTLSVerify, skipTLSVerifyPull                    bool
	skipDefaultRegistryFallback                         bool
	registryCertificates, registryClientCerts           []string
	digestFile, imageNameDigestFile                     string
	pushRetry, imageDownloadRetry, compressionLevel     int
	snapshotMode, customPlatform                        string
	verbosity, logFormat                                string
	logTimestamp, cleanup, singleSnapshot, noPush       bool
	skipPushPermissionCheck, reproducible               bool
}

func (o *options) register(f *pflag.FlagSet) {
	f.StringVarP(&o.dockerfile, "dockerfile", "f", "Dockerfile", "Path to the dockerfile to be built.")
	f.StringVarP(&o.context, "context", "c", "/workspace/", "Path to the dockerfile build context.")
	f.StringVar(&o.contextSubPath, "context-sub-path", "", "Sub path within the given context.")
	f.StringVar(&o.target, "target", "", "Set the target build stage to build")
	f.StringArrayVarP(&o.destinations, "destination", "d", nil, "Registry the final image should be pushed to. Set it repeatedly for multiple destinations.")
	f.StringArrayVar(&o.buildArgs, "build-arg", nil, "Pass in ARG values at build time; without a value it is taken from the environment.")
	f.StringArrayVar(&o.labels, "label", nil, "Set metadata for an image.")
	f.StringArrayVar(&o.ignorePaths, "ignore-path", nil, "Ignore these paths when taking a snapshot.")
	f.BoolVar(&o.cache, "cache", false, "Use cache when building image")
	f.BoolVar(&o.noPushCache, "no-push-cache", false, "Do not push the cache layers to the registry")
	f.BoolVar(&o.cacheCopyLayers, "cache-copy-layers", false, "Caches copy layers")
	f.BoolVar(&o.cacheRunLayers, "cache-run-layers", true, "Caches run layers")
	f.StringVar(&o.cacheRepo, "cache-repo", "", "Specify a repository to use as a cache, otherwise one will be inferred from the destination provided")
	f.DurationVar(&o.cacheTTL, "cache-ttl", 336*time.Hour, "Cache timeout, requires value and unit of duration -> ex: 6h.")
	f.StringArrayVar(&o.registryMirrors, "registry-mirror", nil, "Registry mirror to use as pull-through cache instead of docker.io.")
	f.StringArrayVar(&o.insecureRegistries, "insecure-registry", nil, "Insecure registry using plain HTTP to push and pull.")
	f.StringArrayVar(&o.skipTLSVerifyRegistries, "skip-tls-verify-registry", nil, "Insecure registry ignoring TLS verify to push and pull.")
	f.BoolVar(&o.insecure, "insecure", false, "Push to insecure registry using plain HTTP")
	f.BoolVar(&o.insecurePull, "insecure-pull", false, "Pull from insecure registry using plain HTTP")
	f.BoolVar(&o.skipTLSVerify, "skip-tls-verify", false, "Push to insecure registry ignoring TLS verify")
	f.BoolVar(&o.skipTLSVerifyPull, "skip-tls-verify-pull", false, "Pull from insecure registry ignoring TLS verify")
	f.BoolVar(&o.skipDefaultRegistryFallback, "skip-default-registry-fallback", false, "If an image is not found on any mirrors do not fallback to the default registry.")
	f.StringArrayVar(&o.registryCertificates, "registry-certificate", nil, "'my.registry.url=/path/to/the/server/certificate'.")
	f.StringArrayVar(&o.registryClientCerts, "registry-client-cert", nil, "'my.registry.url=/path/to/client/cert,/path/to/client/key'.")
	f.StringVar(&o.digestFile, "digest-file", "", "Specify a file to save the digest of the built image to.")
	f.StringVar(&o.imageNameDigestFile, "image-name-with-digest-file", "", "Specify a file to save the image name w/ digest of the built image to.")
	f.IntVar(&o.pushRetry, "push-retry", 0, "Number of retries for the push operation")
	f.IntVar(&o.imageDownloadRetry, "image-download-retry", 0, "Number of retries for downloading the remote image")
	f.IntVar(&o.compressionLevel, "compression-level", -1, "Compression level")
	f.StringVar(&o.snapshotMode, "snapshot-mode", "full", "Change the file attributes inspected during snapshotting")
	f.StringVar(&o.customPlatform, "custom-platform", "", "Specify the build platform if different from the current host")
	f.StringVarP(&o.verbosity, "verbosity", "v", "info", "Log level (trace, debug, info, warn, error, fatal, panic)")
	f.StringVar(&o.logFormat, "log-format", "color", "Log format (text, color, json)")
	f.BoolVar(&o.logTimestamp, "log-timestamp", false, "Timestamp in log output")
	f.BoolVar(&o.cleanup, "cleanup", false, "Clean the filesystem at the end")
	f.BoolVar(&o.singleSnapshot, "single-snapshot", false, "Take a single snapshot at the end of the build.")
	f.BoolVar(&o.noPush, "no-push", false, "Do not push the image to the registry")
	f.BoolVar(&o.skipPushPermissionCheck, "skip-push-permission-check", false, "Skip check of the push permission")
	f.BoolVar(&o.reproducible, "reproducible", false, "Strip timestamps out of the image to make it reproducible")
	// Known and without effect here: none of them changes what is built.
	for _, name := range []string{"force", "use-new-run", "compressed-caching", "ignore-var-run", "skip-unused-stages", "push-ignore-immutable-tag-errors"} {
		f.Bool(name, false, "Accepted, without effect.")
	}
	f.Int("image-fs-extract-retry", 0, "Accepted, without effect.")
	f.String("cache-dir", "/cache", "Accepted, without effect.")
}

// resolve checks the flags and turns the context and the Dockerfile into absolute paths.
func (o *options) resolve() error {
	if err := configureLog(o); err != nil {
		return err
	}
	for i, arg := range o.buildArgs {
		if !strings.Contains(arg, "=") {
			o.buildArgs[i] = arg + "=" + os.Getenv(arg)
		}
	}
	if !o.noPush && len(o.destinations) == 0 {
		return errors.New("you must provide --destination, or use --no-push")
	}
	if o.cache && o.cacheRepo == "" && o.noPush {
		return errors.New("cache flags invalid: if using cache with --no-push, specify cache repo with --cache-repo")
	}
	if o.customPlatform == "" {
		o.customPlatform = defaultPlatform
	}
	if _, err := v1.ParsePlatform(o.customPlatform); err != nil {
		return fmt.Errorf("Invalid platform %q: %w", o.customPlatform, err)
	}
	if scheme, path, found := strings.Cut(o.context, "://"); found {
		if scheme != "dir" {
			return fmt.Errorf("error resolving source context: unknown build context prefix provided %s://", scheme)
		}
		o.context = path
	}
	context, err := filepath.Abs(filepath.Join(o.context, o.contextSubPath))
	if err != nil {
		return fmt.Errorf("error resolving source context: %w", err)
	}
	o.context = context
	for _, candidate := range []string{o.dockerfile, filepath.Join(o.context, o.dockerfile)} {
		if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() {
			o.dockerfile, err = filepath.Abs(candidate)
			return err
		}
	}
	return errors.New("error resolving dockerfile path: please provide a valid path to a Dockerfile within the build context with --dockerfile")
}

func configureLog(o *options) error {
	level, err := logrus.ParseLevel(o.verbosity)
	if err != nil {
		return fmt.Errorf("parsing log level: %w", err)
	}
	logrus.SetLevel(level)
	switch o.logFormat {
	case "text":
		logrus.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: o.logTimestamp})
	case "color":
		logrus.SetFormatter(&logrus.TextFormatter{ForceColors: true, FullTimestamp: o.logTimestamp})
	case "json":
		logrus.SetFormatter(&logrus.JSONFormatter{})
	default:
		return fmt.Errorf("not a valid log format: %q. Please specify one of (text, color, json)", o.logFormat)
	}
	return nil
}
